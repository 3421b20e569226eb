"""`pacs`, and `receive --accessions`: ask the PACS, and fetch what is wanted."""

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import AccessionListInvalid, ClinicalSheetInvalid, ExitCode, HomeBusy, InvalidArgument
from shared.frozen import Frozen
from shared.terminal import make_app, print_json, print_line, print_table
from site_node.clinical.table import read_table
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import RequestEntry, RequestState
from site_node.network.query import Query
from site_node.node.acquisition import Acquisition
from site_node.node.intake import Intake
from site_node.node.open import Json, Node, open_node
from site_node.node.retrieval import REASONS
from site_node.receive.accessions import (
    PROBLEMS,
    WORKBOOKS,
    AccessionList,
    Place,
    Problem,
    of_text,
    read_accessions,
)
from site_node.receive.request_lists import Wanted
from site_node.receive.zero_padding import padded_cells

pacs_app = make_app(
    "Ask the PACS that `[pacs]` or `[dicomweb]` in the settings names, or send to one, all inside the hospital."
)
_MOST_COLUMNS = 16_384  # of a sheet
_PATIENCE = 60.0  # seconds that a command waits for its next attempt; `ricord-site run` waits longer

Accession = Annotated[str, typer.Option(help="An accession number, whole.")]
PatientId = Annotated[str, typer.Option(help="A patient ID, whole.")]
Dates = Annotated[str, typer.Option(help="Study dates: 20200301, or 20200301-20200430.")]
Modality = Annotated[str, typer.Option(help="CT, CR, DX …")]


class Asked(Frozen):
    """What became of the requests of one command. Rows, codes and counts; no value of a list."""

    requests: int
    reconciled: int
    waiting: int
    announced: int
    arrived: int
    failed: int
    reasons: dict[str, int]
    rows: dict[int, str]  # rows of the list that ended with a reason
    studies: int
    instances: int


@pacs_app.command(name="test")
def echo(context: typer.Context, as_json: Json = False) -> None:
    """Ask the PACS whether it is there and lets us in (C-ECHO; over the web a search for one study).

    Example: `ricord-site pacs test`
    """
    with open_node(context, writing=False) as node:
        settings = _acquisition(node).pacs_settings()
        _acquisition(node).pacs().echo()
    if as_json:
        print_json({"answered": True, **settings.model_dump(include={"host", "port", "ae_title", "url"})})
    else:
        print_line(f"{settings.peer} answers.")


@pacs_app.command()
def find(
    context: typer.Context,
    *,
    accession: Accession = "",
    patient_id: PatientId = "",
    dates: Dates = "",
    modality: Modality = "",
    as_json: Json = False,
) -> None:
    """List the studies that fit (C-FIND, QIDO-RS). The answer is patient data: it is for the hospital's screen only.

    Example: `ricord-site pacs find --dates 20200301-20200331 --modality CT`
    """
    with open_node(context, writing=False) as node:
        found = _acquisition(node).pacs().studies(_query(accession, patient_id, dates, modality))
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    rows = [(one.accession, one.patient_id, one.date, one.modalities, one.series, one.instances) for one in found]
    print_table("Studies", ["Accession", "Patient", "Date", "Modalities", "Series", "Images"], rows)


@pacs_app.command()
def get(  # typer makes options of them
    context: typer.Context,
    *,
    accession: Accession = "",
    patient_id: PatientId = "",
    dates: Dates = "",
    modality: Modality = "",
    as_json: Json = False,
) -> None:
    """Fetch the studies that fit, one request a study, until what was announced is here or failed with a reason.

    Example: `ricord-site pacs get --accession 2024-0173`
    """
    query = _query(accession, patient_id, dates, modality)
    if accession and not (patient_id or dates or modality):
        fetch(context, of_text(accession), as_json=as_json, again=True)
        return
    with open_node(context, writing=False) as node:
        found = _acquisition(node).pacs().studies(query)
    wanted = tuple(Wanted(study_uid=one.study_uid, patient_id=one.patient_id) for one in found)
    rows = tuple(range(1, len(wanted) + 1))
    fetch(context, AccessionList(wanted=wanted, rows=rows, problems=()), as_json=as_json, again=True)


@pacs_app.command()
def retry(context: typer.Context, as_json: Json = False) -> None:
    """Ask again for everything that ended with something missing.

    Example: `ricord-site pacs retry`
    """
    with open_node(context, writing=False) as node:
        _acquisition(node).pacs_settings()
        count = node.ledger.requests.reopen()
    if not as_json:
        print_line(f"{count} requests are made again.")
    fetch(context, AccessionList(wanted=(), rows=(), problems=()), as_json=as_json)


def fetch_list(context: typer.Context, source: str, *, column: str, patient_column: str, as_json: bool) -> None:
    """Ask for every accession number of a list; `-` is standard input."""
    if source == "-":
        listed = of_text(sys.stdin.read())
    else:
        file = Path(source)
        listed = read_accessions(file, column=column, patient_column=patient_column, spoilt=_spoilt(file))
    if not listed.wanted and not listed.problems:
        raise InvalidArgument(name="--accessions", problem="the list is empty")
    fetch(context, listed, as_json=as_json)


def _spoilt(file: Path) -> dict[Place, str]:
    """Cells of a workbook whose value says nothing for sure, each with its code. Raises `AccessionListInvalid`."""
    if file.suffix.lower() not in WORKBOOKS or not file.is_file():
        return {}
    try:
        table = read_table(file)
    except ClinicalSheetInvalid as error:  # the reader's own word for a workbook that it cannot read
        raise AccessionListInvalid(error.private, problem=error.fields["problem"]) from None
    merged = (
        (row, column)
        for (top, left), (bottom, right) in table.merged
        for row in range(top, min(bottom, len(table.rows) - 1) + 1)
        for column in range(left, min(right, _MOST_COLUMNS) + 1)
    )
    padded = dict.fromkeys(padded_cells(file), "zero-padded")
    return padded | dict.fromkeys(merged, "merged") | dict.fromkeys(table.formulas, "formula")


def fetch(context: typer.Context, listed: AccessionList, *, as_json: bool, again: bool = False) -> None:
    """Enter requests and, unless a running node does, work on them; then say how each row ended."""
    with ExitStack() as stack:
        try:
            node, free = stack.enter_context(open_node(context)), True
        except HomeBusy:
            node, free = stack.enter_context(open_node(context, writing=False)), False
        acquisition = _acquisition(node)
        acquisition.pacs()  # settings that cannot work are told before anything is entered
        listed, rows = _enter(acquisition, node.ledger, listed, again=again)
        intakes = _work(acquisition, node.ledger) if free else ()
        entries = [one for one in node.ledger.requests.all() if one.id in rows or not listed.wanted]
        asked = _asked(entries, listed.problems, rows, intakes)
    _tell(asked, busy=not free, as_json=as_json)


def _enter(
    acquisition: Acquisition, ledger: Ledger, listed: AccessionList, *, again: bool
) -> tuple[AccessionList, dict[str, int]]:
    """Enter what is not asked for already; what is left of the list, and each request's row."""
    known = _known(acquisition, ledger)
    new: list[tuple[Wanted, int]] = []
    before: list[Problem] = []
    for one, row in zip(listed.wanted, listed.rows, strict=True):
        if again or not one.accession or not (one.accession in known or acquisition.came(ledger, one.accession)):
            new.append((one, row))
        else:
            before.append(Problem(row=row, code="asked-before"))
    if not new:
        return listed.model_copy(update={"problems": (*listed.problems, *before)}), {}
    ids = acquisition.wanted.add([one for one, _ in new])
    ledger.requests.add(ids)
    return listed.model_copy(update={"problems": (*listed.problems, *before)}), dict(
        zip(ids, (row for _, row in new), strict=True)
    )


def _known(acquisition: Acquisition, ledger: Ledger) -> set[str]:
    """Accession numbers that are on their way or wholly here."""
    settled = {one.id for one in ledger.requests.all() if one.is_open or not one.reason}
    return {wanted.accession for name, wanted in acquisition.wanted.all() if name in settled}


def _work(acquisition: Acquisition, ledger: Ledger) -> tuple[Intake, ...]:
    with acquisition.listening():
        acquisition.work(ledger, threading.Event(), patience=_PATIENCE)
    intakes = acquisition.take_in(ledger, quiet_seconds=0)
    acquisition.forget(ledger, datetime.now(UTC))
    return intakes


def _asked(
    entries: Sequence[RequestEntry], problems: Sequence[Problem], rows: dict[str, int], intakes: Sequence[Intake]
) -> Asked:
    parts = [part for one in entries for part in one.parts]
    ended = {rows[one.id]: one.reason for one in entries if one.id in rows and one.reason}
    ended.update({one.row: one.code for one in problems})
    return Asked(
        requests=len(entries),
        reconciled=sum(one.state is RequestState.RECONCILED for one in entries),
        waiting=sum(one.is_open for one in entries),
        announced=sum(one.announced for one in parts),
        arrived=sum(one.arrived for one in parts),
        failed=sum(one.failed for one in parts),
        reasons=dict(sorted(Counter(ended.values()).items())),
        rows=dict(sorted(ended.items())),
        studies=sum(one.studies for one in intakes),
        instances=sum(one.instances for one in intakes),
    )


def _tell(asked: Asked, *, busy: bool, as_json: bool) -> None:
    if as_json:
        print_json(asked)
    else:
        print_line(
            f"{asked.requests} requests, {asked.reconciled} reconciled: {asked.announced} images announced, "
            f"{asked.arrived} arrived, {asked.failed} failed."
        )
        for row, code in asked.rows.items():
            print_line(f"Row {row}: {REASONS.get(code) or PROBLEMS.get(code, code)} ({code}).")
        if asked.waiting:
            who = "the node that is running takes them" if busy else "`ricord-site run` goes on with them"
            print_line(f"{asked.waiting} wait for the PACS or its hours; {who}.")
    if asked.rows or asked.failed:
        raise typer.Exit(ExitCode.PARTIAL)


def _query(accession: str, patient_id: str, dates: str, modality: str) -> Query:
    """Raises `InvalidArgument`."""
    try:
        query = Query(accession=accession, patient_id=patient_id, dates=dates, modality=modality)
    except ValueError:
        raise InvalidArgument(
            name="The query", problem="write dates as 20200301 or 20200301-20200430, a modality as CT"
        ) from None
    return query.checked()


def _acquisition(node: Node) -> Acquisition:
    return Acquisition(node.home, node.settings, node.workshop.pseudonyms)
