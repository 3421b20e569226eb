"""A read stands as it was given: a correction is another read with a reason, and nobody reads or decides for two."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from coordinator.curation.opening import list_opened
from coordinator.curation.reading.labels import all_labels, reads_of
from coordinator.curation.reading.readers import ReaderRole, remove_reader
from coordinator.curation.reading.reads import Draft, FilmRead
from coordinator.curation.register.acts import Act
from shared.errors.inputs import ActRefused, InvalidArgument, NotFound, ReadingRefused
from shared.errors.storage import HomeFailed
from tests.factories.reading import CURATOR, DEFINITION, Room, reading_room

TYPICAL = FilmRead(appearance="typical", grade="mild")
NEGATIVE = FilmRead(appearance="negative")
SEVERE = FilmRead(appearance="atypical", grade="severe")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with reading_room(tmp_path, count=1) as room:
        yield room


def submit(room: Room, reader_name: str, read: FilmRead, reason: str = "") -> None:
    reader = room.desk.reader(reader_name)
    (name,) = (*room.desk.left(reader), *room.desk.submitted(reader))
    room.desk.submit(reader, name, read, reason)


def rows(room: Room, table: str) -> int:
    counts = {"reads": "select count(*) from reads", "adjudications": "select count(*) from adjudications"}
    with room.register.reading() as reading:
        return int(reading.db.execute(counts[table]).fetchone()[0])


def state(room: Room) -> str:
    with room.register.reading() as reading:
        return reading.cases()[0].state


def test_the_same_read_twice_is_one_read(room: Room) -> None:
    """Sent again, as after a kill between read and answer, a read changes nothing."""
    submit(room, "reader 0", TYPICAL)
    submit(room, "reader 0", TYPICAL, "sent again")
    assert rows(room, "reads") == 1


def test_a_correction_needs_a_reason_and_hides_no_read(room: Room) -> None:
    """In a second tab another read is refused without a reason; with one both stay, and the last is voted on."""
    submit(room, "reader 0", TYPICAL)
    with pytest.raises(ReadingRefused):
        submit(room, "reader 0", SEVERE)
    with pytest.raises(InvalidArgument):
        submit(room, "reader 0", SEVERE, "two\nlines")
    submit(room, "reader 0", SEVERE, "wrong key")
    assert rows(room, "reads") == 2
    with room.register.reading() as reading:
        reads = reads_of(reading, reading.cases()[0])
    assert list(reads.by_reader.values()) == [SEVERE]
    assert reads.numbers == (2,)


def test_the_file_keeps_every_read(room: Room) -> None:
    """The register's file refuses to change or delete a read."""
    submit(room, "reader 0", TYPICAL)
    for statement in ("delete from reads", "update reads set answers = '{}'"):
        with pytest.raises((sqlite3.IntegrityError, HomeFailed)), room.register.changing() as change:
            change.db.execute(statement)


def test_a_fourth_person_has_no_read(room: Room) -> None:
    """Three persons read a film; a fourth, and an adjudicator, find no study of theirs under any name."""
    name = room.desk.left(room.desk.reader("reader 0"))[0]
    for other in (room.add("reader 3"), room.desk.reader("dora"), room.desk.reader("reader 1")):
        with pytest.raises(NotFound):
            room.desk.submit(other, name, TYPICAL)
    assert not room.desk.left(room.add("reader 4"))
    assert rows(room, "reads") == 0


def test_three_reads_make_a_label_and_a_correction_takes_it_back(room: Room) -> None:
    """Two who agree decide; where a correction leaves it undecided the film is no longer labelled, and asks again."""
    for who, read in enumerate((TYPICAL, TYPICAL, SEVERE)):
        assert state(room) == "accepted"
        submit(room, f"reader {who}", read)
    assert state(room) == "labelled"
    with room.register.reading() as reading:
        (label,) = all_labels(reading, DEFINITION)
    assert (label.result.appearance.term, label.result.appearance.ratio, label.result.policy) == (
        "typical",
        "2:1",
        "apart",
    )
    assert all(pseudonym.startswith("R-") for pseudonym in label.reads)
    submit(room, "reader 0", NEGATIVE, "the wrong film")
    assert state(room) == "accepted"
    assert len(room.desk.disputed(room.desk.reader("dora"))) == 1


def test_an_adjudication_counts_for_the_reads_that_it_saw(room: Room) -> None:
    """After a correction the adjudicator decides again; both decisions stay."""
    for who, read in enumerate((TYPICAL, NEGATIVE, SEVERE)):
        submit(room, f"reader {who}", read)
    dora = room.desk.reader("dora")
    (name,) = room.desk.disputed(dora)
    with pytest.raises(ReadingRefused):
        room.desk.adjudicate(dora, name, appearance=None, grade="mild")
    room.desk.adjudicate(dora, name, appearance="typical", grade="mild")
    assert state(room) == "labelled"
    with pytest.raises(NotFound):
        room.desk.adjudicate(dora, name, appearance="atypical", grade="mild")
    with room.register.reading() as reading:
        (label,) = all_labels(reading, DEFINITION)
    assert (label.result.appearance.how, label.adjudicator) == ("adjudicated", dora.pseudonym)
    submit(room, "reader 2", FilmRead(appearance="indeterminate", grade="severe"), "wrong key")
    assert room.desk.disputed(dora) == (name,)
    room.desk.adjudicate(dora, name, appearance="atypical", grade="severe")
    assert rows(room, "adjudications") == 2


def test_who_read_a_film_does_not_adjudicate_it(room: Room) -> None:
    """A reader who is an adjudicator later is never asked of a film that they read."""
    for who, read in enumerate((TYPICAL, NEGATIVE, SEVERE)):
        submit(room, f"reader {who}", read)
    turned = room.add("reader 1", ReaderRole.ADJUDICATOR)
    assert room.desk.disputed(turned) == ()
    with pytest.raises(NotFound):
        room.desk.dispute(turned, room.desk.disputed(room.desk.reader("dora"))[0])
    with pytest.raises(InvalidArgument):
        room.desk.disputed(room.desk.reader("reader 0"))


@pytest.mark.parametrize("again", ["émile", "ÉMILE", "e\N{COMBINING ACUTE ACCENT}mile", "  Émile "])
@pytest.mark.parametrize("is_removed", [False, True])
def test_however_a_name_is_written_it_is_the_same_person(tmp_path: Path, again: str, is_removed: bool) -> None:
    """Nobody reads a film twice, or adjudicates what they read, by writing their name otherwise."""
    with reading_room(tmp_path, count=1, readers=2) as room:
        before = room.add("Émile")
        for who, read in (("reader 0", TYPICAL), ("reader 1", NEGATIVE), ("Émile", SEVERE)):
            submit(room, who, read)
        if is_removed:
            with room.register.changing() as change:
                remove_reader(change, "Émile")
        assert room.add(again) == before
        turned = room.add(again, ReaderRole.ADJUDICATOR)
        assert (turned.number, turned.pseudonym) == (before.number, before.pseudonym)
        assert room.desk.disputed(turned) == ()


def test_a_removed_reader_reads_no_more_and_what_was_read_stays(room: Room) -> None:
    """Removed in mid-session, a reader's next read finds nothing; films that they did not read go to others."""
    submit(room, "reader 0", TYPICAL)
    removed = room.desk.reader("reader 1")
    (name,) = room.desk.left(removed)
    room.add("reader 3")
    with room.register.changing() as change:
        remove_reader(change, "reader 0")
        remove_reader(change, "reader 1")
    for removed_name in ("reader 0", "reader 1"):
        with pytest.raises(NotFound):
            room.desk.reader(removed_name)
    with pytest.raises(NotFound):
        room.desk.submit(removed, name, SEVERE)
    for who in ("reader 2", "reader 3"):
        submit(room, who, TYPICAL)
    assert state(room) == "labelled"


def test_a_study_that_is_withdrawn_or_quarantined_is_read_no_more(room: Room) -> None:
    """While it is being read or adjudicated a study can be withdrawn: the read finds nothing and is not recorded."""
    for who, read in enumerate((TYPICAL, NEGATIVE, SEVERE)):
        submit(room, f"reader {who}", read)
    reader, dora = room.desk.reader("reader 0"), room.desk.reader("dora")
    (mine,), (disputed,) = room.desk.submitted(reader), room.desk.disputed(dora)
    (opened,) = list_opened(room.opened)
    rmtree(opened.folder)
    with pytest.raises(NotFound):
        room.desk.study(reader, mine)
    room.register.follow(list_opened(room.opened), ())
    assert state(room) == "accepted"  # its folder is away
    room.register.follow(list_opened(room.opened), {opened.submission})
    assert state(room) == "withdrawn"
    for attempt in (
        lambda: room.desk.submit(reader, mine, SEVERE, "again"),
        lambda: room.desk.keep_draft(reader, mine, Draft(note="x")),
        lambda: room.desk.adjudicate(dora, disputed, appearance="typical", grade="mild"),
        lambda: room.desk.dispute(dora, disputed),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert rows(room, "reads") == 3
    with pytest.raises(ActRefused), room.register.changing() as change:
        change.act(change.cases()[0], Act.CONFIRM, CURATOR)


def test_a_draft_outlives_the_program(tmp_path: Path) -> None:
    """What was drafted is there when the register is opened again, until the read is submitted."""
    with reading_room(tmp_path, count=1) as room:
        reader = room.desk.reader("reader 0")
        (name,) = room.desk.left(reader)
        room.desk.keep_draft(reader, name, Draft(zones=("left-mid",), note="<b>"))
    with reading_room(tmp_path, count=0) as room:
        assert room.desk.study(reader, name).draft == Draft(zones=("left-mid",), note="<b>")
        room.desk.submit(reader, name, TYPICAL)
        study = room.desk.study(reader, name)
        assert (study.draft, study.read) == (None, TYPICAL)
