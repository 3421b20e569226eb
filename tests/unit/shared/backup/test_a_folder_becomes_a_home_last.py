"""A database is copied whole while others write, and a folder is a home only once everything in it is there."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from shared.backup import database, restoring
from shared.backup.database import copy_sqlite, keep_copy
from shared.backup.restoring import plain_files, restored_folder
from shared.errors.settings import HomeNotEmpty
from shared.errors.storage import DiskFull, HomeFailed


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What of `shared.durable` is called, in order, with the last path that it is given."""
    calls = list[tuple[str, Path]]()

    def noting(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(*paths: Path) -> None:
            calls.append((name, paths[-1]))
            function(*paths)

        return call

    for module in (database, restoring):
        for name in ("sync_filesystem", "move", "sync_folder"):
            monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    return calls


def test_a_database_is_copied_as_of_one_moment(tmp_path: Path) -> None:
    """While another connection writes pairs of rows: the copy holds both rows of a pair, or neither, of all before."""
    source, stop, written = tmp_path / "source.sqlite", Event(), Event()
    with closing(sqlite3.connect(source)) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table pairs (number integer, side text, filler blob)")
        database.commit()

    def write() -> None:
        with closing(sqlite3.connect(source, timeout=30)) as database:
            number = 0
            while not stop.is_set():
                number += 1
                with database:
                    for side in ("left", "right"):
                        database.execute("insert into pairs values (?, ?, zeroblob(5000))", (number, side))
                written.set()

    writer = Thread(target=write)
    writer.start()
    try:
        assert written.wait(30)
        for attempt in range(5):
            copy_sqlite(source, tmp_path / f"copy-{attempt}")
            with closing(sqlite3.connect(tmp_path / f"copy-{attempt}")) as copy:
                counts = dict(copy.execute("select side, count(*) from pairs group by side").fetchall())
                assert counts["left"] == counts["right"] > 0
                assert copy.execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        stop.set()
        writer.join()
    with pytest.raises(HomeFailed):
        copy_sqlite(tmp_path / "none", tmp_path / "copy")


def test_a_copy_that_does_not_fit_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite says so of the copy, which here may have one page."""
    with closing(sqlite3.connect(tmp_path / "source")) as source, source:
        source.execute("create table filled as select zeroblob(50000)")
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.execute("pragma max_page_count = 1")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(DiskFull):
        copy_sqlite(tmp_path / "source", tmp_path / "copy")


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as opened:
        return [name for (name,) in opened.execute("select name from sqlite_schema")]


def test_the_first_kept_copy_stays(tmp_path: Path, done: list[tuple[str, Path]]) -> None:
    """It has its bytes before its name, both durable, is for its owner only, and nothing else is left beside it."""
    file, kept = tmp_path / "a.sqlite", tmp_path / "a.sqlite.before"
    for name in ("first", "second"):
        with closing(sqlite3.connect(file)) as opened, opened:
            opened.execute(f"create table {name} (x)")
        keep_copy(file, "before")
    assert tables(kept) == ["first"]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == [file, kept]
    assert done == [("sync_filesystem", tmp_path), ("move", kept), ("sync_folder", tmp_path)]


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise DiskFull(folder=str(folder))

    sqlite3.connect(tmp_path / "a.sqlite").close()
    monkeypatch.setattr(database, "sync_filesystem", fail)
    with pytest.raises(DiskFull):
        keep_copy(tmp_path / "a.sqlite", "before")
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_only_an_empty_folder_is_restored_into(tmp_path: Path) -> None:
    """What a killed restore left hidden is removed; the settings come last; an error leaves nothing."""
    home = tmp_path / "home"
    (home / ".restored.unfinished").mkdir(parents=True)
    (home / ".restored.unfinished" / "old").touch()

    def fail() -> None:
        with restored_folder(home, "site.toml") as staged:
            assert list(staged.iterdir()) == []
            (staged / "a").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(home.iterdir()) == []
    with restored_folder(home, "site.toml") as staged:
        (staged / "a").mkdir()
        (staged / "site.toml").touch()
    assert sorted(path.name for path in home.iterdir()) == ["a", "site.toml"]
    (home / ".restored.unfinished").mkdir()
    with pytest.raises(HomeNotEmpty), restored_folder(home, "site.toml"):
        pass


def test_a_folder_becomes_a_home_last(tmp_path: Path, done: list[tuple[str, Path]]) -> None:
    """The settings come once all else is durable; it, and what is staged in it, is for its owner only."""
    home = tmp_path / "new" / "home"
    with restored_folder(home, "b.toml") as staged:
        for name in ("c", "b.toml", "a"):
            (staged / name).touch()
        assert {path.stat().st_mode & 0o777 for path in (home, staged)} == {0o700}
    assert done[0] == ("sync_filesystem", staged)
    moves = [path.name for call, path in done[1::2] if call == "move"]
    assert (sorted(moves), moves[-1]) == (["a", "b.toml", "c"], "b.toml")
    assert done[2::2] == [("sync_folder", home)] * 3


def test_unfinished_and_passing_files_are_left_out(tmp_path: Path) -> None:
    """Hidden ones, those of folders that are named, and what is no file."""
    for name in ("spool/a", ".b.tmp", "c/.d.tmp", "c/.e/f", "c/spool", "c/e", "pulse"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    names = [str(path.relative_to(tmp_path)) for path in plain_files(tmp_path, without=frozenset({"spool", "pulse"}))]
    assert names == ["c/e", "c/spool"]
