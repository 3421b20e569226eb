"""What the verbs share: the home, and how a run is shown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.cli import HOME_VARIABLE
from coordinator.research.federation import Federation
from coordinator.research.home import ResearcherHome
from coordinator.research.run import Run
from shared.errors.inputs import InvalidArgument
from shared.terminal import print_json, print_line

AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON for scripts.")]
RunName = Annotated[str, typer.Argument(help="The run's id, or a beginning.")]
TensorBoard = Annotated[
    Path | None, typer.Option(help="The folder of TensorBoard's event files, for figures by round (extra `tracking`).")
]
MlFlow = Annotated[Path | None, typer.Option("--mlflow", help="The same, as MLflow's file store.")]
PlanFile = Annotated[Path, typer.Argument(help="The plan, as TOML, or as JSON where its name ends so.")]


def home_of(context: typer.Context) -> ResearcherHome:
    """The home that `--home` or the environment names; raises `InvalidArgument` when neither does."""
    folder = context.find_root().obj
    if not isinstance(folder, Path):
        raise InvalidArgument(name="--home", problem=f"name the home folder, or set {HOME_VARIABLE}")
    return ResearcherHome(folder)


def federation_of(context: typer.Context) -> Federation:
    """The federation of the home; raises `NotEnrolled`."""
    return Federation(home_of(context))


def show_files(files: Sequence[Path], *, as_json: bool) -> None:
    """The files that were written, one a line."""
    if as_json:
        print_json([str(file) for file in files])
    else:
        for file in files:
            print_line(str(file))


def show_run(run: Run, *, as_json: bool) -> None:
    """A run in a line."""
    if as_json:
        print_json({"id": run.id, "state": run.state, "aim": run.aim, "news": run.news})
    else:
        print_line(f"{run.id} {run.news}")
