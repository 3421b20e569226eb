"""Files and folders are there whole, once, with the mode asked for, and what a killed process left goes."""

import errno
import io
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.durable import (
    LONGEST_PAUSE,
    append,
    claim,
    clear_folder,
    clear_unfinished,
    clear_unfinished_folders,
    denial_of,
    is_full_disk,
    link_or_copy,
    move,
    new_file,
    publish_folder,
    remove_folder,
    replacing,
    unfinished_folder,
    write_whole,
)
from shared.errors.storage import DiskFull


def new_through_replacing(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("a text")
    error.sqlite_errorname = name
    return error


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first")
    with replacing(path, mode=0o600) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"first")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"second", None])  # type: ignore[list-item]  # a defect in the middle of writing
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "file", b"", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.durable.os.fsync", full)
    with pytest.raises(DiskFull):
        write_whole(tmp_path / "file", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_takes_anothers_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"first")
    with pytest.raises(FileExistsError), new_file(tmp_path / "file") as file:
        file.write(b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_only_what_a_killed_process_left_of_this_file_is_cleared(tmp_path: Path) -> None:
    for name in (".a.0011.tmp", ".b.0011.tmp", "a", ".a"):
        (tmp_path / name).touch()
    clear_unfinished(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a", ".b.0011.tmp", "a"]


@pytest.mark.parametrize("write", [write_whole, append, new_through_replacing])
def test_without_a_mode_a_file_is_its_owners_to_write_and_everybodys_to_read(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    """0644, and no bit more."""
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_a_claim_is_its_owners_alone(tmp_path: Path) -> None:
    """Of two callers one succeeds."""
    claim(tmp_path / "claim")
    assert stat.S_IMODE((tmp_path / "claim").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        claim(tmp_path / "claim")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_second_name_is_of_what_is_there_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """It has the same bytes; a source that is not there is said so, and where there are links no name is taken over."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"bytes")
    if not has_links:

        def refuse(*_: object) -> NoReturn:
            raise OSError(errno.EPERM, "no links")

        monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, target)
    assert (target.read_bytes(), target.samefile(source)) == (b"bytes", has_links)
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing", tmp_path / "other")
    assert not (tmp_path / "other").exists()
    if has_links:
        source.write_bytes(b"newer")
        (tmp_path / "taken").write_bytes(b"another's")
        with pytest.raises(FileExistsError):
            link_or_copy(source, tmp_path / "taken")
        assert (tmp_path / "taken").read_bytes() == b"another's"


@given(data=st.binary(max_size=50), piece=st.integers(1, 7))
def test_an_append_goes_on_where_the_system_wrote_a_part(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, piece: int
) -> None:
    """However few bytes one write takes, all are there once, behind what was."""
    path = tmp_path_factory.mktemp("log") / "log"
    append(path, b"before")

    class Slow(io.FileIO):
        def write(self, part: Any, /) -> int:
            return super().write(bytes(part)[:piece])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.durable.os.fdopen", lambda handle, *_, **__: Slow(handle, "ab"))
        append(path, data)
    assert path.read_bytes() == b"before" + data


@pytest.mark.parametrize(("age", "spared"), [(3601, False), (3500, True), (-60, True)])
def test_what_others_write_is_spared_for_an_hour(tmp_path: Path, age: float, spared: bool) -> None:
    """A temporary file that nobody wrote to for longer is cleared; without that bound every one; others never."""
    now = time.time()
    for name in (".a.0011.tmp", "a.tmp", "a"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, times=(0, now - age))
    clear_folder(tmp_path, unchanged_for=LONGEST_PAUSE)
    assert (tmp_path / ".a.0011.tmp").exists() == spared
    if age > 0:
        clear_folder(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.tmp"]
    clear_folder(tmp_path / "missing")


def test_unfinished_folders_are_cleared_and_published_ones_stay(tmp_path: Path) -> None:
    """A folder is its mode's, hidden until it is published, and removed with what it replaced."""
    before = os.umask(0)
    try:
        with unfinished_folder(tmp_path / "kept") as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o755
            assert folder.name.startswith(".")
            write_whole(folder / "file", b"1")
            publish_folder(folder, tmp_path / "kept")
    finally:
        os.umask(before)
    (tmp_path / ".left.unfinished").mkdir()
    (tmp_path / ".left.unfinished" / "file").touch()
    clear_unfinished_folders(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    shutil.copytree(tmp_path / "kept", tmp_path / ".kept.earlier")
    remove_folder(tmp_path / "kept")
    remove_folder(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_replacement_that_fails_is_undone_or_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    """After any number of its two renames, there is the old folder or the new one, whole, and nothing beside it."""
    target, done = tmp_path / "target", list[Path]()

    def make(content: bytes) -> None:
        with unfinished_folder(target) as folder:
            write_whole(folder / "file", content)
            publish_folder(folder, target)

    make(b"old")

    def move_some(path: Path, to: Path) -> None:
        if path.is_dir() and "earlier" not in path.name:
            if len(done) == renamed:
                raise InterruptedError
            done.append(path)
        move(path, to)

    monkeypatch.setattr("shared.durable.move", move_some)
    with pytest.raises(InterruptedError) if renamed < 2 else nullcontext():
        make(b"new")
    assert (target / "file").read_bytes() == (b"new" if renamed == 2 else b"old")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize(
    ("error", "denied"),
    [
        (OSError(errno.EROFS, ""), "EROFS"),
        (OSError(errno.EACCES, ""), "EACCES"),
        (OSError(errno.EPERM, ""), "EPERM"),
        (OSError(errno.ENOENT, ""), ""),
        (ValueError("EROFS"), ""),
        (sqlite_error("SQLITE_READONLY_DIRECTORY"), "SQLITE_READONLY_DIRECTORY"),
        (sqlite_error("SQLITE_CANTOPEN"), "SQLITE_CANTOPEN"),
        (sqlite_error("SQLITE_BUSY"), ""),
    ],
)
def test_what_the_system_does_not_allow_is_named(error: Exception, denied: str) -> None:
    """By the system's name or SQLite's; any other error is none."""
    assert denial_of(error) == denied


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, ""), OSError(errno.EDQUOT, ""), DiskFull(folder="/x")])
def test_a_share_that_is_used_up_is_a_full_disk(full: Exception) -> None:
    """Whoever saw it first; and no other error is."""
    assert is_full_disk(full)
    assert not is_full_disk(OSError(errno.EIO, ""))
    assert not is_full_disk(ValueError(errno.ENOSPC))
