"""Fetch the studies of a list: enter requests, work on them unless a running node does, report how each row ended."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from shared.errors.settings import HomeBusy
from shared.frozen import Frozen
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.retrieve_requests import Pace, RequestEntry, RequestState
from site_node.node.acquisition import Acquisition
from site_node.node.intake import Intake
from site_node.node.open import open_node
from site_node.receive.accessions import ASKED_BEFORE, AccessionList, RowProblem
from site_node.receive.request_lists import StudyRequest

NO_NEW_REQUESTS = AccessionList(requests=(), rows=(), problems=())  # to work on the open requests only
_POLL_SECONDS = 0.5
_RETURN_SECONDS = 60.0  # for a node that ended to be started again
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


class FetchProgress(NamedTuple):
    """How far the requests of one command have come."""

    rows: int
    ended: int
    images: int
    next_try: datetime | None  # where nothing is due now


Show = Callable[[Callable[[], FetchProgress]], AbstractContextManager[None]]


def fetch(
    home: SiteHome,
    listed: AccessionList,
    *,
    again: bool = False,
    pace: Pace = Pace.SOON,
    show: Show = lambda _: nullcontext(),
) -> FetchResult:
    """Enter requests and, unless a running node does, work on them; `again` also requests studies that already came.

    `show` shows the progress meanwhile, which it may read in another thread.
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
        ids = rows.keys() if listed.requests else {entry.id for entry in node.ledger.requests.all()}
        intakes: list[Intake] = []
        if pace is not Pace.QUEUE and (pace is Pace.WAIT or not busy):
            with show(partial(_progress, acquisition, frozenset(ids))):
                if busy:
                    busy = not _wait(node.home, node.ledger, ids, stack)
                if not busy:
                    intakes = _work(acquisition, node.ledger, math.inf if pace is Pace.WAIT else _WAIT_SECONDS)
        entries = [entry for entry in node.ledger.requests.all() if entry.id in ids]
        return FetchResult(_report(entries, listed.problems, rows, intakes), busy)


def _enter(
    acquisition: Acquisition, ledger: Ledger, listed: AccessionList, *, again: bool
) -> tuple[AccessionList, dict[str, int]]:
    """Enter the requests of a list; return it with further problems, and the row of each request by its name.

    A request made before is not made twice: the earlier one counts, and is opened again if something was missing.
    """
    settled, failed = _made_before(acquisition, ledger)
    rows: dict[str, int] = {}
    new: list[tuple[StudyRequest, int]] = []
    repeated: list[RowProblem] = []
    for request, row in zip(listed.requests, listed.rows, strict=True):
        number = request.accession
        name = None if again else settled.get(number) or failed.get(request)
        if name is not None:
            rows[name] = row
        elif not again and acquisition.has_arrived(ledger, number):
            repeated.append(RowProblem(row=row, code=ASKED_BEFORE))
        else:
            new.append((request, row))
    ledger.requests.reopen(rows)
    if new:
        ids = acquisition.lists.add([request for request, _ in new])
        ledger.requests.add(ids)
        rows |= zip(ids, (row for _, row in new), strict=True)
    return listed.model_copy(update={"problems": (*listed.problems, *repeated)}), rows


def _made_before(acquisition: Acquisition, ledger: Ledger) -> tuple[dict[str, str], dict[StudyRequest, str]]:
    """The names of the requests that are open or ended whole, by accession number; of the others, by request."""
    entries = {entry.id: entry for entry in ledger.requests.all()}
    settled: dict[str, str] = {}
    failed: dict[StudyRequest, str] = {}
    for name, request in acquisition.lists.all():
        if name in entries and (entries[name].is_open or not entries[name].reason):
            settled |= {request.accession: name} if request.accession else {}
        elif name in entries:
            failed[request] = name
    return settled, failed


def _work(acquisition: Acquisition, ledger: Ledger, patience: float) -> list[Intake]:
    """Work on all open requests; what is whole is received after each attempt, the rest at the end."""
    intakes: list[Intake] = []

    def receive(entry: RequestEntry) -> None:
        keys = {part.key for part in entry.parts}
        intakes.extend(acquisition.receive_arrivals(ledger, quiet_seconds=0, of=keys) if keys else ())

    with acquisition.listening():
        acquisition.work(ledger, threading.Event(), patience=patience, attempted=receive)
    intakes += acquisition.receive_arrivals(ledger, quiet_seconds=0)
    acquisition.forget(ledger, datetime.now(UTC))
    return intakes


def _wait(home: SiteHome, ledger: Ledger, ids: Collection[str], stack: ExitStack) -> bool:
    """Wait until the running node has ended these requests: `False`.

    Where it ends and none comes back, take the home's lock instead, until `stack` ends: `True`.
    """
    served_at = time.monotonic()
    while (progress := ledger.requests.progress(ids)).ended < progress.rows:
        time.sleep(_POLL_SECONDS)
        if home.is_served():
            served_at = time.monotonic()
        elif time.monotonic() - served_at > _RETURN_SECONDS:
            with suppress(HomeBusy):  # another command works on them
                stack.enter_context(home.writing())
                return True
    return False


def _progress(acquisition: Acquisition, ids: Collection[str]) -> FetchProgress:
    """Read the progress in any thread, with what is arriving at this moment."""
    with closing(Ledger(acquisition.home.ledger)) as ledger:
        noted = ledger.requests.progress(ids)
    arrivals = acquisition.arrivals
    arriving = sum(max(0, arrivals.count_by_key(part.key) - part.arrived) for part in noted.expected)
    is_due = noted.next_due is None or noted.next_due <= datetime.now(UTC)
    return FetchProgress(noted.rows, noted.ended, noted.arrived + arriving, None if is_due else noted.next_due)


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
