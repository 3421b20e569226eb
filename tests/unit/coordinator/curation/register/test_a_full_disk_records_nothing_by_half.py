"""On a full disk an act or a read is not recorded and says so; with room again the same is recorded, once."""

from pathlib import Path

import pytest

from coordinator.curation.reading.labels import reads_of
from coordinator.curation.reading.reads import FilmRead
from shared.errors.storage import DiskFull
from tests.factories.reading import CURATOR, Room, reading_room

LONG = FilmRead(appearance="negative", note="x" * 500)


def fill(room: Room) -> None:
    """Use up what room the file's last pages have."""
    for _ in range(200):
        with room.register.changing() as change:
            change.note(CURATOR, "note", "x" * 200, "x" * 200)


def test_a_full_disk_records_nothing_by_half(tmp_path: Path) -> None:
    """The file may grow no more: a reader hears it, the log and the reads stay as they were, and later all is well."""
    with reading_room(tmp_path, count=1) as room:
        reader = room.desk.reader("reader 0")
        (name,) = room.desk.left(reader)
        with room.register.reading() as reading:
            before = [event.digest for event in reading.events()]
            pages = reading.db.execute("pragma page_count").fetchone()[0]
        with room.register.file.reading() as db:
            db.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(DiskFull):
            fill(room)
        with room.register.reading() as reading:
            filled = [event.digest for event in reading.events()]
        assert filled[: len(before)] == before
        with pytest.raises(DiskFull):
            room.desk.submit(reader, name, LONG)
        with room.register.reading() as reading:
            assert [event.digest for event in reading.events()] == filled
            assert not reads_of(reading, reading.cases()[0]).numbers
        with room.register.file.reading() as db:
            db.execute("pragma max_page_count = 1000000")
        room.desk.submit(reader, name, LONG)
        with room.register.reading() as reading:
            assert len(reads_of(reading, reading.cases()[0]).numbers) == 1
            assert reading.verified().intact


def test_a_clock_that_is_set_back_orders_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last read counts by its number: a correction made under an earlier clock is the one that is voted on."""
    with reading_room(tmp_path, count=1) as room:
        reader = room.desk.reader("reader 0")
        (name,) = room.desk.left(reader)
        room.desk.submit(reader, name, LONG)
        monkeypatch.setattr("coordinator.curation.reading.desk._now", lambda: "1999-12-31T00:00:00+00:00")
        room.desk.submit(reader, name, FilmRead(appearance="typical", grade="mild"), "wrong key")
        with room.register.reading() as reading:
            reads = reads_of(reading, reading.cases()[0])
        assert [read.appearance for read in reads.by_reader.values()] == ["typical"]
