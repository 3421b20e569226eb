"""`deidentify`: the home's screened studies, or a folder without a home."""

from pathlib import Path
from typing import Annotated

import typer

from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.ids import SiteId
from shared.terminal import print_json, print_line
from site_node.commands.options import Json
from site_node.standalone.alone import EngineChoice, EngineName, run_standalone, warn_disabled_checks
from site_node.standalone.job import DEIDENTIFIED, Job


def deidentify(
    context: typer.Context,
    source: Annotated[Path | None, typer.Argument(help="A folder, zip archive or DICOMDIR, without a home.")] = None,
    out: Annotated[Path | None, typer.Argument(help="Where the de-identified studies go.")] = None,
    *,
    site_id: Annotated[str, typer.Option(help="SITEID for the new identifiers.")] = "",
    key_file: Annotated[Path | None, typer.Option(help="The pseudonym secret: 32 bytes, mode 0600.")] = None,
    profile: Annotated[
        str, typer.Option(help="The de-identification profile: ricord, ricord-2020 or tcia.")
    ] = "ricord",
    workers: Annotated[int, typer.Option(min=1, help="Processes that work on studies side by side.")] = 1,
    engine: Annotated[EngineName, typer.Option(help="Where the workers are: here, or on a Ray cluster.")] = (
        EngineName.PROCESS
    ),
    ray_address: Annotated[
        str, typer.Option(help="host:port of a Ray cluster; `local` starts one here. A remote one needs Ray's TLS.")
    ] = "",
    report: Annotated[Path | None, typer.Option(help="JSON Lines, one for each input file; PHI, mode 0600.")] = None,
    validate_too: Annotated[bool, typer.Option("--validate/--no-validate", help="Look again with other eyes.")] = True,
    pixel_check: Annotated[bool, typer.Option(help="Look for text burned into pixels; without, it may remain.")] = True,
    whole_studies: Annotated[
        bool, typer.Option("--whole-studies", help="Leave a study out if a file of it is.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Replace and remove what identifies the patient, by the protocol's profile.

    Without SOURCE the home's screened studies are de-identified and moved on. With SOURCE and OUT it works alone: under
    18 is excluded, a missing PatientID quarantined, and nothing else screened; OUT then holds
    `patient/study/series/instance.dcm`, all new identifiers. Interrupted, the same command goes on where it stopped.

    Exit code 3: some file was left out; the report says which and why.

    Example: `ricord-site deidentify /archive/export /clean --site-id 123456 --key-file pseudonym.key --workers 8`
    """
    if source is None:
        from site_node.commands.advance import advance
        from site_node.home.ledger import State

        advance(context, State.DEIDENTIFIED, as_json=as_json)
        return
    if out is None or key_file is None or not site_id:
        raise InvalidArgument(name="deidentify SOURCE", problem="it also needs OUT, --site-id and --key-file")
    job = Job(
        site_id=SiteId(site_id),
        key_file=key_file.absolute(),
        profile=profile,
        out=out.absolute(),
        validated=validate_too,
        pixel_check=pixel_check,
        whole_studies=whole_studies,
    )
    warn_disabled_checks(job)
    run_report = run_standalone(source, job, EngineChoice(engine, workers, ray_address), report)
    if as_json:
        print_json(run_report.counts)
    else:
        print_line(", ".join(f"{count} {outcome}" for outcome, count in run_report.counts.items()) + ".")
    if set(run_report.counts) != {DEIDENTIFIED}:
        raise typer.Exit(ExitCode.PARTIAL)
