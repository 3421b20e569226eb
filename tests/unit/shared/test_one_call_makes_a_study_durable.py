"""One system call makes the files of a study durable, and what it reports is not lost."""

import ctypes
import errno
from pathlib import Path

import pytest

from shared.durable import file_to_sync, sync_filesystem, sync_folder
from shared.errors.storage import DiskFull


def test_it_syncs_the_file_system_of_the_folder(tmp_path: Path) -> None:
    with file_to_sync(tmp_path / "file", mode=0o600) as file:
        file.write(b"content")
    sync_filesystem(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"content"
    with pytest.raises(OSError, match="No such file"):
        sync_filesystem(tmp_path / "missing")


@pytest.mark.parametrize(("code", "raised"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, OSError)])
def test_what_the_kernel_reports_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    """A full disk as such, another error as itself."""

    class Library:
        def __init__(self, _name: None, *, use_errno: bool) -> None:
            assert use_errno

        def syncfs(self, _handle: int) -> int:
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    with pytest.raises(raised):
        sync_filesystem(tmp_path)


def test_without_that_call_every_file_system_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older C library has no syncfs(2); then sync(2) is called, and only then."""
    synced = list[None]()
    monkeypatch.setattr("shared.durable.os.sync", lambda: synced.append(None))
    sync_filesystem(tmp_path)
    assert synced == []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    sync_filesystem(tmp_path)
    assert synced == [None]


def test_no_handle_stays_open(tmp_path: Path) -> None:
    """Of studies that come by the thousand."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        sync_filesystem(tmp_path)
        sync_folder(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
