"""`receive`: copy studies into the home, from a source or from the PACS."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from shared.counts import counted
from shared.errors.base import ExitCode
from shared.errors.inputs import InvalidArgument
from shared.progress import progress
from shared.terminal import print_json, print_line
from site_node.commands.options import Json, node_of
from site_node.home.ledger import State
from site_node.home.retrieve_requests import Pace
from site_node.node.intake import receive_source
from site_node.reasons import explanation_of
from site_node.receive.accessions import of_text, read_accessions
from site_node.receive.source import count_files

WAITS = "Another reception is under way; this one begins when it ends."


def receive(
    context: typer.Context,
    source: Annotated[Path | None, typer.Argument(help="A folder, a zip archive, a DICOMDIR or one file.")] = None,
    *,
    accessions: Annotated[
        str, typer.Option(help="Instead: a list of accession numbers to fetch from the PACS; - is standard input.")
    ] = "",
    column: Annotated[str, typer.Option(help="The column of the list, if none is called Accession.")] = "",
    patient_column: Annotated[str, typer.Option(help="A column of patient IDs to hold the answers against.")] = "",
    queue: Annotated[bool, typer.Option("--queue", help="Only enter the list, for `run` or a later command.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each row of the list has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the DICOM files of a source into the home, as studies; nothing leaves the hospital.

    The source is only read. Files that are not DICOM, cut off or contradictory are refused and listed by name in
    quarantine/files.jsonl. Receiving the same source again changes nothing.

    With --accessions, each study of the list is fetched from the PACS that the settings name, until every image it
    announced arrived or failed with a reason; an unfinished list is continued, and nothing is fetched twice. The
    command ends when nothing is due within a minute, at once with --queue, and with --wait when every row has ended.

    Example: `ricord-site receive /archive/export-2024` or `ricord-site receive --accessions list.xlsx`
    """
    pace = _pace(queue=queue, wait=wait, with_list=bool(accessions))
    if (source is None) == (not accessions):
        raise InvalidArgument(name="SOURCE", problem="name a source or --accessions, one of the two")
    if source is None:
        from site_node.commands.pacs import fetch_and_show

        if accessions == "-":
            listed = of_text(sys.stdin.read(), column=column, patient_column=patient_column)
        else:
            listed = read_accessions(Path(accessions), column=column, patient_column=patient_column)
        if not listed.requests and not listed.problems:
            raise InvalidArgument(name="--accessions", problem="the list is empty")
        fetch_and_show(context, listed, as_json=as_json, pace=pace)
        return
    with (
        node_of(context, writing=False) as node,
        progress("Receiving", partial(count_files, source)) as advance,
    ):
        intake = receive_source(node, source, on_file=advance, waits=lambda: typer.echo(WAITS, err=True))
        waiting = len(node.ledger.studies(State.QUARANTINED))
    if as_json:
        print_json(intake)
    else:
        new = f"{counted(intake.studies, 'study')} with {counted(intake.instances, 'new image')}"
        print_line(f"{new}; {counted(intake.duplicates, 'image', 'was')} there before.")
        for code, count in sorted(intake.files.items()):
            print_line(f"{counted(count, 'file', 'was')} not taken ({code}): {explanation_of(code)}")
        if intake.late:
            print_line(f"{counted(intake.late, 'image')} came after the study had left: see quarantine/arrivals.")
        if waiting:
            print_line(f"{counted(waiting, 'study', 'waits')} for a person; see `ricord-site review list`.")
    if intake.files or intake.late:
        raise typer.Exit(ExitCode.PARTIAL)


def _pace(*, queue: bool, wait: bool, with_list: bool) -> Pace:
    """The pace that the options mean; raises `InvalidArgument` for both, or either without a list."""
    if (queue or wait) and (queue == wait or not with_list):
        raise InvalidArgument(name="--queue", problem="it and --wait go with --accessions, one of the two")
    return Pace.QUEUE if queue else Pace.WAIT if wait else Pace.SOON
