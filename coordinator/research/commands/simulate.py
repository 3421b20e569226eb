"""`simulate`: try a plan on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.commands.options import AsJson, PlanFile, show_files
from coordinator.research.plans import check_plan, read_plan
from coordinator.research.results import write_results
from coordinator.research.simulation import simulate as simulate_plan
from shared.errors.inputs import InvalidArgument


def simulate(
    file: PlanFile,
    site: Annotated[list[str], typer.Option(help="NAME=FOLDER of a hospital's studies; again for each.")],
    to: Annotated[Path, typer.Option(help="The folder to write to; it is made.")],
    *,
    policy: Annotated[Path | None, typer.Option(help="Every hospital's policy; else that of a new site node.")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster that reaches the same folders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try a plan over folders on this machine, each as a hospital; what comes out is what a run over them would show.

    A folder holds a library of `ricord-site`, or DICOM files and `clinical.csv`, whose column StudyInstanceUID,
    AccessionNumber or PatientID says which studies a row is of. Nothing is sent.
    """
    request = read_plan(file)
    check_plan(request)
    folders = dict(map(_named, site))
    if len(folders) < len(site):
        raise InvalidArgument(name="--site", problem="two folders have one name")
    files = write_results(simulate_plan(request, folders, policy=policy, address=address), to)
    show_files(files, as_json=as_json)


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not (name and separator and folder):
        raise InvalidArgument(name="--site", problem="it is NAME=FOLDER")
    return name, Path(folder).expanduser()
