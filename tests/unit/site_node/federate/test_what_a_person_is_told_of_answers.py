"""A person reads how the snapshot and the node stand, and gives a reason of one line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.inputs import InvalidArgument
from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.federate.person import one_line
from site_node.federate.questions import SnapshotStanding, affected
from site_node.federate.state import StateFile
from site_node.home.snapshots import ListedStudy
from site_node.home.withdrawals import Level, Withdrawn

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
STUDIES = {
    Uid(f"1.2.{number}"): ListedStudy(PatientPseudonym(f"100001-{number // 2:06}"), Sha256(f"{number:064}"))
    for number in range(6)
}


def of(level: Level, name: str, study: str = "") -> Withdrawn:
    return Withdrawn(level=level, name=name, study=study, event=1)


@pytest.mark.parametrize(
    ("taken", "answered", "missing", "same", "said"),
    [
        (False, True, 0, False, "answered from the library of that moment"),
        (True, True, 0, True, "which is the present library"),
        (True, True, 0, False, "the next one can be taken now"),
        (True, True, 1, False, "once 1 more patient has changed"),
        (True, True, 7, False, "once 7 more patients have changed"),
        (True, False, 7, False, "was withdrawn or made anew; questions are answered again once 7 more patients"),
        (True, False, 0, False, "questions are answered again now"),
    ],
)
def test_a_snapshot_says_from_what_is_answered(
    taken: bool, answered: bool, missing: int, same: bool, said: str
) -> None:
    """Or why not, and from when on again."""
    standing = SnapshotStanding(taken_at=AT if taken else None, answered=answered, missing=missing, is_library=same)
    assert said in standing.words
    assert ("2026-11-01" in standing.words) == taken


@pytest.mark.parametrize(
    ("withdrawn", "places"),
    [
        ([], []),
        ([of(Level.STUDY, "1.2.3")], [3]),
        ([of(Level.INSTANCE, "9.9", "1.2.4")], [4]),
        ([of(Level.PATIENT, "100001-000001")], [2, 3]),
        ([of(Level.SITE, "100001")], [0, 1, 2, 3, 4, 5]),
        ([of(Level.STUDY, "100001-000001"), of(Level.PATIENT, "1.2.3")], []),
    ],
)
def test_a_withdrawal_touches_what_it_names(withdrawn: list[Withdrawn], places: list[int]) -> None:
    """A study, that of an image, all of a patient, or everything; a name of another level names nothing."""
    assert affected(withdrawn, STUDIES) == {Uid(f"1.2.{place}") for place in places}


@given(st.text(max_size=250))
def test_a_reason_is_a_line_of_words_or_refused(text: str) -> None:
    """White space becomes one space; what is empty, too long or no text of a line is refused."""
    words = " ".join(text.split())
    if words and words.isprintable() and len(words) <= 200:
        assert one_line(text) == words
    else:
        with pytest.raises(InvalidArgument):
            one_line(text)


def test_a_reason_has_at_most_two_hundred_letters() -> None:
    """To the last."""
    assert one_line("a" * 200) == "a" * 200
    for wrong in ("a" * 201, "", " \n ", "a\x07b"):
        with pytest.raises(InvalidArgument):
            one_line(wrong)


def test_a_state_is_written_where_it_is_another(tmp_path: Path) -> None:
    """With the moment since when, which stays while it is the same; only its owner reads it."""
    file = StateFile(tmp_path / "federation")
    assert file.read() is None
    file.say("waiting")
    first = file.read()
    assert first is not None
    assert (first.doing, first.problem, first.offline) == ("waiting", "", True)
    file.say("waiting")
    assert file.read() == first
    for change in ({"problem": "the disk is full."}, {"offline": False}, {}):
        file.say("waiting", **change)
        state = file.read()
        assert state is not None
        assert state.since >= first.since
        assert ("; the disk is full" in state.words) == ("problem" in change)
        assert not state.words.endswith(".")
        assert ("does not close the network" in state.words) == ("offline" in change)
    assert (tmp_path / "federation").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "federation" / "state.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "federation" / "state.json").write_text("{")
    assert file.read() is None
