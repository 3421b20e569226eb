"""A PACS that answers half, or only when it wants to: what is missing has its reason, and the rest goes on."""

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors import PacsFailed
from site_node.home.folder import init_home
from site_node.home.ledger import Ledger, State
from site_node.home.retrieve_requests import Part
from site_node.network.arrivals import Arrivals
from site_node.network.interface import QueryRetrieve
from site_node.network.query import Fetch, Outcome, Query, SeriesFound, StudyFound
from site_node.node.acquisition import Acquisition
from site_node.node.composition import NOT_ENROLLED
from site_node.node.retrieval import Retrieval, work
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.request_lists import Wanted
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
    said: Outcome = HALF
    breaks: list[str] = field(default_factory=list)  # accession numbers for which the question breaks off once
    holds: frozenset[str] = frozenset(STUDIES)
    overlooks: bool = False  # by UID it finds everything, first a study of one image

    def echo(self) -> None:
        """It is there."""

    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        if query.accession in self.breaks:
            self.breaks.remove(query.accession)
            raise PacsFailed(operation="C-FIND", problem="the answers end without a status")
        other = (make_ct(slices=1, rows=8, study="A3"),) if self.overlooks and query.study_uid else ()
        return tuple(
            StudyFound(
                study_uid=str(made[0].StudyInstanceUID), accession=name, patient_id=name, issuer="", date="",
                modalities="CT", instances=len(made), series=1,
            )
            for name, made in (*(("A3", one) for one in other), *STUDIES.items())
            if query.accession == name or self.overlooks or query.study_uid == made[0].StudyInstanceUID
            if name in self.holds or other
        )  # fmt: skip

    def series(self, study_uid: str) -> tuple[SeriesFound, ...]:
        raise NotImplementedError

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        (made,) = (one for one in STUDIES.values() if one[0].StudyInstanceUID == study_uid)
        return {str(made[0].SeriesInstanceUID): frozenset(str(one.SOPInstanceUID) for one in made)}

    def retrieve(self, asked: Fetch, arrivals: Arrivals, reserve: int = 0) -> Outcome:
        del reserve
        ((name, made),) = ((name, one) for name, one in STUDIES.items() if one[0].StudyInstanceUID == asked.study_uid)
        for one in made[: 2 if name in self.halved else None]:
            content = write_file(one, self.folder / "one.dcm").read_bytes()
            arrivals.store(asked.study_uid, str(one.SOPInstanceUID), content)
        return self.said if name in self.halved else Outcome()


@pytest.fixture
def acquisition(tmp_path: Path) -> Acquisition:
    home = init_home(tmp_path / "home", name="General")
    return Acquisition(home, home.load(), Pseudonyms(home.pseudonym_key.read_bytes(), NOT_ENROLLED))


@pytest.fixture
def ledger(acquisition: Acquisition) -> Iterator[Ledger]:
    opened = Ledger(acquisition.home.ledger)
    opened.requests.add(acquisition.wanted.add([Wanted(accession=name) for name in STUDIES]))
    yield opened
    opened.close()


def retrieval(acquisition: Acquisition, ledger: Ledger, pacs: HalfPacs) -> Retrieval:
    return Retrieval(pacs, GENTLE, ledger.requests, acquisition.wanted, acquisition.arrivals)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (HALF, "pacs-sent-in-part"),
        (Outcome(completed=4, failed=0), "not-arrived"),  # it says that it sent all
        (Outcome(reason="no-answer"), "no-answer"),
    ],
)
def test_half_a_study_fails_with_its_reason_and_waits_for_a_person(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, said: Outcome, reason: str
) -> None:
    """Whatever the PACS claims, what counts is what came; the other study is whole, and both are accounted for."""
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, said=said)), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed, counts.reasons) == (8, 6, 2, {reason: 1})
    assert {one.attempts for one in ledger.requests.all() if one.reason} == {GENTLE.attempts - 1}
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    ends = {entry.state: [one.code for one in entry.reasons] for entry in ledger.studies()}
    assert ends == {State.QUARANTINED: ["incomplete-retrieval"], State.RECEIVED: []}
    ledger.requests.reopen()
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, halved=frozenset())), threading.Event(), patience=0)
    acquisition.receive_arrivals(ledger, quiet_seconds=0)
    assert {entry.state for entry in ledger.studies()} == {State.RECEIVED}
    assert sum(ledger.instance_counts().values()) == 8


def test_a_question_that_breaks_off_is_asked_again(acquisition: Acquisition, ledger: Ledger, tmp_path: Path) -> None:
    """Half an answer is none: nothing is taken for unknown because of it."""
    pacs = HalfPacs(tmp_path, halved=frozenset(), breaks=["A1", "A2", "A1"])
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    assert ledger.requests.counts().states == {"reconciled": 2}
    assert ledger.requests.counts().reasons == {}


def test_without_room_nothing_is_asked_and_no_attempt_is_used_up(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """The requests wait, and are made when there is room."""
    full = Retrieval(
        HalfPacs(tmp_path), GENTLE, ledger.requests, acquisition.wanted, acquisition.arrivals, has_room=lambda: False
    )
    assert work(full, threading.Event(), patience=60) == 0
    assert {(one.state, one.attempts) for one in ledger.requests.all()} == {("waiting", 0)}
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, halved=frozenset())), threading.Event(), patience=0)
    assert ledger.requests.counts().states == {"reconciled": 2}


def test_a_study_that_the_pacs_lost_half_way_is_not_taken_for_whole(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """Half of it came, then the PACS knows it no more: the rest has failed and a person looks, also later."""
    half = retrieval(acquisition, ledger, HalfPacs(tmp_path))
    entry = ledger.requests.next_due(datetime.now(UTC))
    assert entry is not None
    ledger.requests.refuse(next(one.id for one in ledger.requests.all() if one.id != entry.id), "unknown-accession")
    half.attempt(entry)
    gone = retrieval(acquisition, ledger, HalfPacs(tmp_path, holds=frozenset()))
    for _ in range(2):
        work(gone, threading.Event(), patience=0)
        counts = ledger.requests.counts()
        assert (counts.announced, counts.arrived, counts.failed, counts.expected) == (4, 2, 2, 0)
        assert set(counts.reasons) == {"unknown-accession"}
        acquisition.receive_arrivals(ledger, quiet_seconds=0)
        ((state, lead),) = ((one.state, one.lead) for one in ledger.studies())
        assert (state, lead) == (State.QUARANTINED, "incomplete-retrieval")
        ledger.requests.reopen()


def test_what_came_before_a_kill_is_counted_though_the_pacs_is_gone(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """All of it came and nobody noted it; then nothing can be asked: announced is what arrived."""
    first, second = (one.id for one in ledger.requests.all())
    ledger.requests.refuse(second, "unknown-accession")
    name = acquisition.wanted.get(first)
    assert name is not None
    uid = str(STUDIES[name.accession][0].StudyInstanceUID)
    ledger.requests.found(first, [Part(key=acquisition.arrivals.key(uid), announced=4)])
    HalfPacs(tmp_path, halved=frozenset()).retrieve(Fetch(study_uid=uid), acquisition.arrivals)
    pacs = HalfPacs(tmp_path, breaks=[name.accession] * GENTLE.attempts)
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (4, 4, 0)


def test_who_answers_with_other_studies_is_not_believed(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path
) -> None:
    """A PACS that overlooks the study asked for: how much that is, is not what the first of its answers counts."""
    pacs = HalfPacs(tmp_path, overlooks=True)
    work(retrieval(acquisition, ledger, pacs), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (8, 6, 2)


class OddPacs(HalfPacs):
    """What it answers about one study, nobody foresaw."""

    def instances(self, study_uid: str) -> dict[str, frozenset[str]]:
        raise RecursionError(study_uid)


def test_a_defect_with_one_request_ends_that_one(
    acquisition: Acquisition, ledger: Ledger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others go on, and the log does not say what was asked."""
    work(retrieval(acquisition, ledger, OddPacs(tmp_path)), threading.Event(), patience=0)
    counts = ledger.requests.counts()
    assert (counts.announced, counts.arrived, counts.failed) == (8, 6, 2)
    assert counts.states == {"reconciled": 2}
    said = capsys.readouterr().out
    assert "pacs.defect" in said
    assert not [uid for made in STUDIES.values() if (uid := str(made[0].StudyInstanceUID)) in said]


def test_requests_are_worked_on_again_after_a_problem_of_the_machine(
    acquisition: Acquisition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk under the ledger, say: the service asks the PACS again without a restart."""
    settings = acquisition.settings.model_copy(update={"pacs": GENTLE, "poll_seconds": 0.01})
    tries, again = iter([sqlite3.OperationalError("database or disk is full")]), threading.Event()

    def fails_once(_: Acquisition, __: Ledger, stop: threading.Event) -> int:
        for problem in tries:
            raise problem
        again.set()
        stop.wait()
        return 0

    monkeypatch.setattr(Acquisition, "work", fails_once)
    with Acquisition(acquisition.home, settings, acquisition.pseudonyms).running(threading.Event()):
        assert again.wait(10)
