import os
import stat
from pathlib import Path

import pytest

from shared.durable import clear_unfinished, new_file, replacing, write_whole
from shared.errors.storage import DiskFull


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
