"""The ledger remembers every study and instance, and never learns PHI."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors.inputs import NotFound
from site_node.home.ledger import Ledger, State
from site_node.study import Ending, Severity
from tests.factories.pipeline import key_of, reason

FIRST, SECOND = key_of("one"), key_of("two")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


def test_a_study_moves_and_its_instances_end_with_it(ledger: Ledger) -> None:
    """Instances left out end at once, the others with the study; each is in exactly one place."""
    ledger.add_study(FIRST, ["a", "b", "c"], state=State.RECEIVED)
    ledger.advance(FIRST, State.INCLUDED, left_out=[("a", Ending.EXCLUDED, "scout")])
    assert ledger.instance_counts() == {"excluded": 1, "waiting": 2}
    ledger.advance(FIRST, State.SUBMITTED, receipt="r.json")
    assert ledger.instance_counts() == {"excluded": 1, "submitted": 2}
    entry = ledger.study(FIRST)
    assert (entry.state, entry.receipt, entry.state.ending) == (State.SUBMITTED, "r.json", Ending.SUBMITTED)


def test_the_gravest_reason_leads(ledger: Ledger) -> None:
    ledger.add_study(FIRST, ["a"], state=State.RECEIVED)
    ledger.advance(FIRST, State.EXCLUDED, reasons=[reason("slight", Severity.WARN), reason("grave"), reason("later")])
    assert ledger.study(FIRST).lead == "grave"


def test_reopening_sends_the_whole_study_back_and_adds_to_what_was_released(ledger: Ledger) -> None:
    ledger.add_study(FIRST, ["a", "b"], state=State.QUARANTINED, reasons=[reason("look", Severity.REVIEW)])
    assert ledger.instance_counts() == {"quarantined": 2}
    ledger.reopen(FIRST, ["look"], ["a", "b"])
    ledger.reopen(FIRST, ["again"], ["a", "b"])
    assert ledger.study(FIRST).released == {"look", "again"}
    assert ledger.study(FIRST).state is State.RECEIVED
    assert ledger.instance_counts() == {"waiting": 2}


def test_numbers_are_assigned_once(ledger: Ledger) -> None:
    """A patient keeps the number, a study its sequence, and no number is assigned twice."""
    assert [ledger.number(bytes([token])) for token in (7, 8, 7, 9, 8)] == [1, 2, 1, 3, 2]
    for key in (FIRST, SECOND):
        ledger.add_study(key, ["a"], state=State.VALIDATED)
    assert [ledger.sequence(key) for key in (SECOND, FIRST, SECOND)] == [1, 2, 1]


def test_an_unknown_study_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        ledger.study(FIRST)
    assert not ledger.has_study(FIRST)


def test_everything_is_there_after_reopening_the_file(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add_study(FIRST, ["a"], state=State.RECEIVED)
    ledger.add_files([("DOE/letter.txt", Ending.REFUSED, "not-dicom")])
    ledger.inbox_entries.add("DOE")
    ledger.accession_numbers.add("A1")
    ledger.audit("someone", "release", FIRST, "because")
    ledger.number(b"token")
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.study(FIRST) == ledger.study(FIRST)
    assert ["DOE" in again.inbox_entries, "A1" in again.inbox_entries] == [True, False]
    assert ["DOE" in again.accession_numbers, "A1" in again.accession_numbers] == [False, True]
    assert [event.detail for event in again.events()] == ["because"]
    assert again.number(b"token") == 1
    again.add_files([("DOE/letter.txt", Ending.REFUSED, "not-dicom")])
    assert again.file_counts() == {("refused", "not-dicom"): 1}
    again.close()


def test_a_failed_change_changes_nothing(ledger: Ledger) -> None:
    """One transaction: a row that cannot be written rolls back its whole change."""
    ledger.add_study(FIRST, ["a"], state=State.RECEIVED)
    with pytest.raises((sqlite3.Error, TypeError)):
        ledger.advance(FIRST, State.INCLUDED, left_out=[("a", Ending.EXCLUDED, object())])  # type: ignore[list-item]  # on purpose
    assert ledger.study(FIRST).state is State.RECEIVED
    ledger.add_study(SECOND, ["a"], state=State.RECEIVED)


def test_no_name_reaches_the_file(ledger: Ledger, tmp_path: Path) -> None:
    """File names and patients are kept as digests only; the file is the owner's."""
    ledger.add_files([("DOE^JANE.dcm", Ending.REFUSED, "truncated")])
    ledger.inbox_entries.add("DOE^JANE")
    ledger.accession_numbers.add("DOE^JANE")
    ledger.close()
    for path in tmp_path.glob("ledger.sqlite*"):
        assert b"DOE" not in path.read_bytes()
    assert (tmp_path / "ledger.sqlite").stat().st_mode & 0o077 == 0


def test_an_instance_held_alone_stays_held(ledger: Ledger) -> None:
    """Its study may be reopened or entered again; an instance that is late or in conflict stays in quarantine."""
    ledger.add_study(FIRST, ["a"], state=State.RECEIVED)
    ledger.hold_instances(FIRST, ["b"], "other-bytes")
    ledger.reopen(FIRST, [], ["a", "b"])
    ledger.add_study(FIRST, ["a", "c"], state=State.RECEIVED)
    assert ledger.instance_counts() == {"quarantined": 1, "waiting": 2}
