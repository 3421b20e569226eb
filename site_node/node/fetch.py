"""Fetch what a list asks for: enter requests, work on them unless a running node does, report how each row ended."""

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
from site_node.receive.accessions import AccessionList, Problem
from site_node.receive.request_lists import Wanted

NOTHING_NEW = AccessionList(wanted=(), rows=(), problems=())  # work on what was asked for before
_PATIENCE = 60.0  # seconds that a command waits for its next attempt; `ricord-site run` waits longer


class RetrieveReport(Frozen):
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


class Fetched(NamedTuple):
    """The report, and whether the requests were left to a node that is running."""

    report: RetrieveReport
    left_to_service: bool


def fetch(home: SiteHome, listed: AccessionList, *, again: bool = False) -> Fetched:
    """Enter requests and, unless a running node does, work on them; `again` asks also for what came before.

    Raises `InvalidSetting` where no PACS can be asked, before anything is entered.
    """
    with ExitStack() as stack:
        try:
            node, busy = stack.enter_context(open_node(home)), False
        except HomeBusy:
            node, busy = stack.enter_context(open_node(home, writing=False)), True
        acquisition = Acquisition(node.home, node.settings, node.stages.pseudonyms)
        acquisition.pacs()
        listed, rows = _enter(acquisition, node.ledger, listed, again=again)
        intakes = () if busy else _work(acquisition, node.ledger)
        entries = [entry for entry in node.ledger.requests.all() if entry.id in rows or not listed.wanted]
        return Fetched(_report(entries, listed.problems, rows, intakes), busy)


def _enter(
    acquisition: Acquisition, ledger: Ledger, listed: AccessionList, *, again: bool
) -> tuple[AccessionList, dict[str, int]]:
    """Enter what is not asked for already; what is left of the list, and each request's row."""
    known = _known(acquisition, ledger)
    new: list[tuple[Wanted, int]] = []
    before: list[Problem] = []
    for wanted, row in zip(listed.wanted, listed.rows, strict=True):
        number = wanted.accession
        if again or not number or not (number in known or acquisition.came(ledger, number)):
            new.append((wanted, row))
        else:
            before.append(Problem(row=row, code="asked-before"))
    ids: tuple[str, ...] = ()
    if new:
        ids = acquisition.wanted.add([wanted for wanted, _ in new])
        ledger.requests.add(ids)
    rows = dict(zip(ids, (row for _, row in new), strict=True))
    return listed.model_copy(update={"problems": (*listed.problems, *before)}), rows


def _known(acquisition: Acquisition, ledger: Ledger) -> set[str]:
    """Accession numbers that are on their way or wholly here."""
    settled = {entry.id for entry in ledger.requests.all() if entry.is_open or not entry.reason}
    return {wanted.accession for name, wanted in acquisition.wanted.all() if name in settled}


def _work(acquisition: Acquisition, ledger: Ledger) -> tuple[Intake, ...]:
    with acquisition.listening():
        acquisition.work(ledger, threading.Event(), patience=_PATIENCE)
    intakes = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    acquisition.forget(ledger, datetime.now(UTC))
    return intakes


def _report(
    entries: Sequence[RequestEntry], problems: Sequence[Problem], rows: dict[str, int], intakes: Sequence[Intake]
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
