"""Fetch the studies of a list: enter requests, work on them unless a running node does, report how each row ended."""

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

from shared.errors import HomeBusy
from shared.frozen import Frozen
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import RequestEntry, RequestState
from site_node.node.acquisition import Acquisition
from site_node.node.intake import Intake
from site_node.node.open import open_node
from site_node.receive.accessions import AccessionList, RowProblem
from site_node.receive.request_lists import StudyRequest

NO_NEW_REQUESTS = AccessionList(requests=(), rows=(), problems=())  # to work on the open requests only
_WAIT_SECONDS = 60.0  # for the next attempt of a command; `ricord-site run` waits longer


class RetrieveReport(Frozen):
    """How the requests of one command ended. Rows, codes and counts; no value of a list."""

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


class FetchResult(NamedTuple):
    """The report, and whether the requests were left to a running node."""

    report: RetrieveReport
    left_to_service: bool


def fetch(home: SiteHome, listed: AccessionList, *, again: bool = False) -> FetchResult:
    """Enter requests and, unless a running node does, work on them; `again` also requests studies that already came.

    Raises `InvalidSetting` where the settings name no PACS, before anything is entered.
    """
    with ExitStack() as stack:
        try:
            node, busy = stack.enter_context(open_node(home)), False
        except HomeBusy:
            node, busy = stack.enter_context(open_node(home, writing=False)), True
        acquisition = Acquisition(node.home, node.settings, node.stages.names)
        acquisition.pacs()
        listed, rows = _enter(acquisition, node.ledger, listed, again=again)
        intakes = () if busy else _work(acquisition, node.ledger)
        entries = [entry for entry in node.ledger.requests.all() if entry.id in rows or not listed.requests]
        return FetchResult(_report(entries, listed.problems, rows, intakes), busy)


def _enter(
    acquisition: Acquisition, ledger: Ledger, listed: AccessionList, *, again: bool
) -> tuple[AccessionList, dict[str, int]]:
    """Enter new requests; return the list with rows requested before as problems, and the row of each request."""
    known = _known(acquisition, ledger)
    new: list[tuple[StudyRequest, int]] = []
    repeated: list[RowProblem] = []
    for request, row in zip(listed.requests, listed.rows, strict=True):
        number = request.accession
        if again or not number or not (number in known or acquisition.has_arrived(ledger, number)):
            new.append((request, row))
        else:
            repeated.append(RowProblem(row=row, code="asked-before"))
    ids: tuple[str, ...] = ()
    if new:
        ids = acquisition.lists.add([request for request, _ in new])
        ledger.requests.add(ids)
    rows = dict(zip(ids, (row for _, row in new), strict=True))
    return listed.model_copy(update={"problems": (*listed.problems, *repeated)}), rows


def _known(acquisition: Acquisition, ledger: Ledger) -> set[str]:
    """Accession numbers whose request is open, or ended with everything arrived."""
    settled = {entry.id for entry in ledger.requests.all() if entry.is_open or not entry.reason}
    return {request.accession for name, request in acquisition.lists.all() if name in settled}


def _work(acquisition: Acquisition, ledger: Ledger) -> tuple[Intake, ...]:
    with acquisition.listening():
        acquisition.work(ledger, threading.Event(), patience=_WAIT_SECONDS)
    intakes = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    acquisition.forget(ledger, datetime.now(UTC))
    return intakes


def _report(
    entries: Sequence[RequestEntry], problems: Sequence[RowProblem], rows: dict[str, int], intakes: Sequence[Intake]
) -> RetrieveReport:
    parts = [part for entry in entries for part in entry.parts]
    ended = {rows[entry.id]: entry.reason for entry in entries if entry.id in rows and entry.reason}
    ended.update({problem.row: problem.code for problem in problems})
    return RetrieveReport(
        requests=len(entries),
        reconciled=sum(entry.state is RequestState.RECONCILED for entry in entries),
        waiting=sum(entry.is_open for entry in entries),
        announced=sum(part.announced for part in parts),
        arrived=sum(part.arrived for part in parts),
        failed=sum(part.failed for part in parts),
        reasons=dict(sorted(Counter(ended.values()).items())),
        rows=dict(sorted(ended.items())),
        studies=sum(intake.studies for intake in intakes),
        instances=sum(intake.instances for intake in intakes),
    )
