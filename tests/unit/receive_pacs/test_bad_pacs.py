"""A PACS that answers half, or only when it wants to: what is missing has its reason, and the rest goes on."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.errors import PacsFailed
from site_node.acquisition import Acquisition
from site_node.config import init_home
from site_node.dimse import PacsSettings
from site_node.ledger import Ledger, State
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.answers import Fetch, Outcome, Query, SeriesFound, StudyFound
from site_node.receive.arrivals import Arrivals
from site_node.receive.interface import QueryRetrieve
from site_node.receive.retrieval import Retrieval, work
from site_node.receive.wanted import Wanted
from site_node.stages import NOT_ENROLLED
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

    def echo(self) -> None:
        """It is there."""

    def studies(self, query: Query) -> tuple[StudyFound, ...]:
        if query.accession in self.breaks:
            self.breaks.remove(query.accession)
            raise PacsFailed(operation="C-FIND", problem="the answers end without a status")
        return tuple(
            StudyFound(
                study_uid=str(made[0].StudyInstanceUID), accession=name, patient_id=name, issuer="", date="",
                modalities="CT", instances=len(made), series=1,
            )
            for name, made in STUDIES.items()
            if query.accession == name or query.study_uid == made[0].StudyInstanceUID
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
    acquisition.take_in(ledger, quiet_seconds=0)
    ends = {entry.state: [one.code for one in entry.reasons] for entry in ledger.studies()}
    assert ends == {State.QUARANTINED: ["incomplete-retrieval"], State.RECEIVED: []}
    ledger.requests.reopen()
    work(retrieval(acquisition, ledger, HalfPacs(tmp_path, halved=frozenset())), threading.Event(), patience=0)
    acquisition.take_in(ledger, quiet_seconds=0)
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
