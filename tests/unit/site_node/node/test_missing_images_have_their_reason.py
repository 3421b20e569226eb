"""A PACS that answers in part or unreliably: missing images have their reason, and the others go on."""

import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.errors.transport import PacsFailed
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger, State
from site_node.home.retrieve_requests import Part, RequestEntry
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve
from site_node.network.query import Fetch, Outcome, Query, SeriesMatch, StudyMatch
from site_node.node.acquisition import Acquisition
from site_node.node.fetch import _made_before
from site_node.node.retrieval import Retrieval, work
from site_node.pseudonyms.names import KeyedNames
from site_node.receive.request_lists import StudyRequest
from site_node.settings.dimse import PacsSettings
from tests.factories.dicom import make_ct, write_file

GENTLE = PacsSettings(host="x", port=104, ae_title="PACS", attempts=3, retry_seconds=0)
HALF = Outcome(reason="pacs-sent-in-part", completed=2, failed=2)
STUDIES = {name: make_ct(slices=4, rows=8, study=name, PatientID=name, AccessionNumber=name) for name in ("A1", "A2")}


@dataclass
class HalfPacs(QueryRetrieve):
    """Finds and announces everything, and of the studies in `halved` never sends the second half."""

    folder: Path
    halved: frozenset[str] = frozenset({"A1"})
    outcome: Outcome = HALF
    breaks: list[str] = field(default_factory=list)  # accession numbers whose query breaks off once
    holds: frozenset[str] = frozenset(STUDIES)
    overlooks: bool = False  # ignores the UID of a query and returns everything, first a study of one image

    def echo(self) -> None:
        """It answers."""

    def studies(self, query: Query) -> tuple[StudyMatch, ...]:
        if query.accession in self.breaks:
            self.breaks.remove(query.accession)
            raise PacsFailed(operation="C-FIND", problem="the answers end without a status")
        other = (make_ct(slices=1, rows=8, study="A3"),) if self.overlooks and query.study_uid else ()
        return tuple(
            StudyMatch(
                study_uid=str(slices[0].StudyInstanceUID), accession=name, patient_id=name, issuer="", date="",
                modalities="CT", instances=len(slices), series=1,
            )
            for name, slices in (*(("A3", slices) for slices in other), *STUDIES.items())
            if query.accession == name or self.overlooks or query.study_uid == slices[0].StudyInstanceUID
            if name in self.holds or other
        )  # fmt: skip

    def series(self, study_uid: str) -> tuple[SeriesMatch, ...]:
        raise NotImplementedError

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        (slices,) = (study for study in STUDIES.values() if study[0].StudyInstanceUID == study_uid)
        return {str(slices[0].SeriesInstanceUID): frozenset(str(dataset.SOPInstanceUID) for dataset in slices)}

    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        del reserve
        ((name, slices),) = ((n, study) for n, study in STUDIES.items() if study[0].StudyInstanceUID == asked.study_uid)
        for dataset in slices[: 2 if name in self.halved else None]:
            content = write_file(dataset, self.folder / "one.dcm").read_bytes()
            arrivals.store(asked.study_uid, str(dataset.SOPInstanceUID), content)
        return self.outcome if name in self.halved else Outcome()


@pytest.fixture
def acquisition(tmp_path: Path) -> Acquisition:
    home = init_home(tmp_path / "home", name="General")
    return Acquisition(home, home.load(), KeyedNames(home.pseudonym_key.read_bytes()))


@pytest.fixture
def ledger(acquisition: Acquisition) -> Iterator[Ledger]:
    ledger = Ledger(acquisition.home.ledger)
    ledger.requests.add(acquisition.lists.add([StudyRequest(accession=name) for name in STUDIES]))
    yield ledger
    ledger.close()


def retrieval(acquisition: Acquisition, ledger: Ledger, pacs: HalfPacs) -> Retrieval:
    return Retrieval(pacs, GENTLE, ledger.requests, acquisition.lists, acquisition.arrivals)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (HALF, "pacs-sent-in-part"),
        (Outcome(completed=4, failed=0), "not-arrived"),  # it claims to have sent all
        (Outcome(reason="no-answer"), "no-answer"),
    ],
)
def test_half_a_study_fails_with_its_reason_and_waits_for_a_person(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, outcome: Outcome, reason: str
) -> None:
    """Whatever the PACS claims, only arrivals count; the other study is whole, and both are accounted for."""
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, outcome=outcome)), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed, counts.reasons) == (8, 6, 2, {reason: 1})
    assert {entry.attempts for entry in ledger.requests.all() if entry.reason} == {GENTLE.attempts - 1}
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    codes = {entry.state: [reason.code for reason in entry.reasons] for entry in ledger.studies()}
    assert codes == {State.QUARANTINED: ["incomplete-retrieval"], State.RECEIVED: []}
    ledger.requests.reopen()
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, halved=frozenset())), threading.Event(), patience=0)
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert {entry.state for entry in ledger.studies()} == {State.RECEIVED}
    assert sum(ledger.instance_counts().values()) == 8


def test_a_failure_for_good_ends_at_once_unless_it_brought_something(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The rest is asked for once more without a wait, as the PACS may have stopped at an image that it cannot send."""
    for_good = Outcome(reason="pacs-status-c000")
    gentle = GENTLE.model_copy(update={"retry_seconds": 3600, "attempts": 8})
    pacs = HalfPacs(tmp_path, outcome=for_good)
    work(
        Retrieval(pacs, gentle, ledger.requests, acquisition.lists, acquisition.arrivals),
        threading.Event(),
        patience=0,
    )
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed, counts.reasons) == (8, 6, 2, {for_good.reason: 1})
    assert {entry.attempts for entry in ledger.requests.all()} == {0, 1}


class TwoStudies(HalfPacs):
    """Has both studies under one accession number, and counts how often each is retrieved."""

    retrieved: tuple[str, ...] = ()

    def studies(self, query: Query) -> tuple[StudyMatch, ...]:
        matches = [match for name in STUDIES for match in super(TwoStudies, self).studies(Query(accession=name))]
        matches = [match.model_copy(update={"accession": "A1", "patient_id": "P"}) for match in matches]
        return tuple(match for match in matches if query.study_uid in {"", match.study_uid})

    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        self.retrieved += (asked.study_uid,)
        return super().retrieve(asked, arrivals, reserve)


def test_a_whole_study_goes_on_while_the_other_of_its_request_waits(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """It is received after the attempt that completed it, and neither fetched nor counted again."""
    first, second = ledger.requests.all()
    name = acquisition.lists.get(first.id)
    waiting, other = (first, second) if name is not None and name.accession == "A1" else (second, first)
    ledger.requests.refuse(other.id, "unknown-accession")
    pacs = TwoStudies(tmp_path)
    entry = retrieval(acquisition, ledger, pacs).attempt(waiting)
    assert entry.is_open
    (intake,) = acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert (intake.studies, intake.instances) == (1, 4)
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    whole = str(STUDIES["A2"][0].StudyInstanceUID)
    assert pacs.retrieved.count(whole) == 1
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (8, 6, 2)


def test_a_query_that_breaks_off_is_repeated(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """An incomplete answer does not count: no accession number is unknown because of it."""
    pacs = HalfPacs(tmp_path, halved=frozenset(), breaks=["A1", "A2", "A1"])
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    assert ledger.requests.counts().states == {"reconciled": 2}
    assert ledger.requests.counts().reasons == {}


def test_without_space_nothing_is_requested_and_no_attempt_is_used_up(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The requests wait until there is space."""
    full = Retrieval(
        HalfPacs(tmp_path), GENTLE, ledger.requests, acquisition.lists, acquisition.arrivals, has_space=lambda: False
    )
    assert work(full, threading.Event(), patience=60) == 0
    assert {(entry.state, entry.attempts) for entry in ledger.requests.all()} == {("waiting", 0)}
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, halved=frozenset())), threading.Event(), patience=0)
    assert ledger.requests.counts().states == {"reconciled": 2}


def test_a_study_that_the_pacs_lost_half_way_is_incomplete(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """Half of it arrived, then the PACS no longer knows it: the rest has failed and a person looks, also later."""
    half = retrieval(acquisition, ledger, HalfPacs(tmp_path))
    entry = ledger.requests.next_due(datetime.now(UTC))
    assert entry is not None
    ledger.requests.refuse(
        next(other.id for other in ledger.requests.all() if other.id != entry.id), "unknown-accession"
    )
    half.attempt(entry)
    without_studies = retrieval(acquisition, ledger, HalfPacs(tmp_path, holds=frozenset()))
    for _ in range(2):
        work(without_studies, threading.Event(), patience=0)
        counts = ledger.requests.counts()
        assert (counts.announced, counts.arrived, counts.failed, counts.expected) == (4, 2, 2, 0)
        assert set(counts.reasons) == {"unknown-accession"}
        acquisition.receive_arrivals(ledger, quiet_seconds=0)
        ((state, lead),) = ((entry.state, entry.lead) for entry in ledger.studies())
        assert (state, lead) == (State.QUARANTINED, "incomplete-retrieval")
        ledger.requests.reopen()


def test_arrivals_before_a_kill_are_counted_though_the_pacs_does_not_answer(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """All images arrived before a kill and were not noted; without a PACS the announced count is the arrived one."""
    first, second = (entry.id for entry in ledger.requests.all())
    ledger.requests.refuse(second, "unknown-accession")
    name = acquisition.lists.get(first)
    assert name is not None
    uid = str(STUDIES[name.accession][0].StudyInstanceUID)
    ledger.requests.announced(first, [Part(key=acquisition.arrivals.key(uid), announced=4)])
    HalfPacs(tmp_path, halved=frozenset()).retrieve(Fetch(study_uid=uid), acquisition.arrivals)
    pacs = HalfPacs(tmp_path, breaks=[name.accession] * GENTLE.attempts)
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (4, 4, 0)


def test_a_pacs_that_answers_with_other_studies_is_not_believed(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The announced count is that of the requested study, not of the first study in the answer."""
    pacs = HalfPacs(tmp_path, overlooks=True)
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (8, 6, 2)


class OddPacs(HalfPacs):
    """Raises an unforeseen error for one study."""

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        raise RecursionError(study_uid)


def test_a_defect_with_one_request_ends_that_request_only(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others go on, and the log does not name the study."""
    work(retrieval(acquisition, ledger, OddPacs(tmp_path)), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (8, 6, 2)
    assert counts.states == {"reconciled": 2}
    log = capsys.readouterr().out
    assert "pacs.defect" in log
    assert not [uid for slices in STUDIES.values() if (uid := str(slices[0].StudyInstanceUID)) in log]


def test_work_on_requests_resumes_after_a_problem_of_the_machine(
    acquisition: Acquisition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error such as a full disk under the ledger the service goes on without a restart."""
    settings = acquisition.settings.model_copy(update={"pacs": GENTLE, "poll_seconds": 0.01})
    tries, again = iter([sqlite3.OperationalError("database or disk is full")]), threading.Event()

    def fails_once(_: Acquisition, __: Ledger, stop: threading.Event) -> int:
        for problem in tries:
            raise problem
        again.set()
        stop.wait()
        return 0

    monkeypatch.setattr(Acquisition, "work", fails_once)
    with Acquisition(acquisition.home, settings, acquisition.names).running(threading.Event()):
        assert again.wait(10)


@pytest.mark.parametrize(
    ("is_open", "reason", "is_settled"), [(True, "", True), (True, "x", True), (False, "", True), (False, "x", False)]
)
def test_what_was_asked_for_is_asked_again_only_where_it_failed(is_open: bool, reason: str, is_settled: bool) -> None:
    """By its accession number, where it is open or came whole; a row that names none is another request each time."""
    request, nameless = StudyRequest(accession="A1"), StudyRequest(study_uid="1.2")
    entries = [SimpleNamespace(id=name, is_open=is_open, reason=reason) for name in ("first", "second")]
    lists = [("first", request), ("second", nameless), ("forgotten", StudyRequest(accession="A2"))]
    acquisition: Any = SimpleNamespace(lists=SimpleNamespace(all=lambda: lists))
    ledger: Any = SimpleNamespace(requests=SimpleNamespace(all=lambda: entries))
    settled, failed = _made_before(acquisition, ledger)
    assert settled == ({"A1": "first"} if is_settled else {})
    assert failed == ({} if is_settled else {request: "first", nameless: "second"})


@pytest.mark.parametrize(("count", "is_whole"), [((0, 0), False), ((1, 1), True), ((4, 4), True), ((4, 3), False)])
def test_only_a_whole_study_is_not_asked_for_again(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, count: tuple[int, int], is_whole: bool
) -> None:
    """A PACS may know a study before its images: none of none is not whole."""
    pacs = HalfPacs(tmp_path, halved=frozenset())
    (match,) = pacs.studies(Query(accession="A1"))
    before = Part(key=acquisition.arrivals.key(match.study_uid), announced=count[0], arrived=count[1])
    (part,) = retrieval(acquisition, ledger, pacs)._query_counts([match], [before])
    assert part == (
        before if is_whole else before.model_copy(update={"announced": 4, "arrived": 0, "reason": "not-arrived"})
    )


class EmptyPacs(HalfPacs):
    """Knows every study, and no image of it."""

    def announced(self, study: StudyMatch) -> int:
        del study
        return 0


def test_a_study_without_images_has_its_reason(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """Nothing was announced, so nothing failed; the request ends."""
    work(retrieval(acquisition, ledger, EmptyPacs(tmp_path)), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.states, counts.reasons) == ({"refused": 2}, {"nothing-in-study": 2})
    assert (counts.announced, counts.arrived, counts.failed) == (0, 0, 0)


def test_work_without_an_end_goes_on_until_it_is_stopped(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """A service has no patience to lose: what is entered later is worked on, too."""
    stop = threading.Event()
    ended = list[str]()
    for entry in ledger.requests.all():
        ledger.requests.retry_later(entry.id, attempts=0, seconds=0.5, reason="", parts=[])

    def attempted(entry: RequestEntry) -> None:
        ended.append(entry.id)
        if len(ended) == len(STUDIES):
            stop.set()

    alarm = threading.Timer(30, stop.set)
    alarm.start()
    pacs = HalfPacs(tmp_path, halved=frozenset())
    assert work(retrieval(acquisition, ledger, pacs), stop, attempted=attempted) == len(ended) == len(STUDIES)
    alarm.cancel()


def test_a_pacs_that_fails_each_time_is_given_up(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """After as many attempts as the settings allow; the log has each, by its number and code."""
    pacs = HalfPacs(tmp_path, breaks=[*STUDIES] * 50)
    with capture_logs() as logged:
        assert work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0) == 2 * GENTLE.attempts
    assert len(pacs.breaks) == 100 - 2 * GENTLE.attempts
    counts = ledger.requests.counts()
    reason = PacsFailed(operation="C-FIND", problem="x").reason
    assert (counts.states, counts.reasons) == ({"refused": 2}, {reason: 2})
    attempts = [entry for entry in logged if entry["event"] == "pacs.attempt"]
    assert sorted(entry["attempt"] for entry in attempts) == sorted([*range(1, GENTLE.attempts + 1)] * 2)
    assert {(entry["missing"], entry["reason"]) for entry in attempts} == {(True, reason)}


def test_outside_the_hours_nothing_is_asked(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """And no attempt is used up."""
    now = datetime.now().astimezone()
    later = [(now + timedelta(hours=hours)).strftime("%H:%M") for hours in (2, 3)]
    closed = GENTLE.model_copy(update={"hours": "-".join(later)})
    pacs = HalfPacs(tmp_path, halved=frozenset())
    asked = Retrieval(pacs, closed, ledger.requests, acquisition.lists, acquisition.arrivals)
    assert work(asked, threading.Event(), patience=60) == 0
    assert {entry.attempts for entry in ledger.requests.all()} == {0}


def test_studies_are_asked_for_at_the_rate_of_the_settings(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The second no sooner than its share of an hour after the first."""
    slow = GENTLE.model_copy(update={"studies_per_hour": 7200})
    pacs, times = HalfPacs(tmp_path, halved=frozenset()), list[float]()
    asked = Retrieval(pacs, slow, ledger.requests, acquisition.lists, acquisition.arrivals)
    work(asked, threading.Event(), patience=0, attempted=lambda _: times.append(time.monotonic()))
    assert len(times) == 2
    assert times[1] - times[0] >= 0.5


def test_who_waits_for_ever_waits_for_room_and_hours_too(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """One for whom nothing is open any more ends."""
    pacs, spaces = HalfPacs(tmp_path, halved=frozenset()), chain([False, False], repeat(True))
    requests, lists, arrivals = ledger.requests, acquisition.lists, acquisition.arrivals
    asked = Retrieval(pacs, GENTLE, requests, lists, arrivals, has_space=lambda: next(spaces))
    assert work(asked, threading.Event(), patience=math.inf) == 2
