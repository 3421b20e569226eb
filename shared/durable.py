"""Files and folders that are whole or not there, and stay so after a power cut.

A file is written under a temporary name, fsynced, renamed, and its folder fsynced; a folder is made under a hidden name
and renamed. All writing goes through here (`tests/laws/test_every_write_is_whole_and_durable.py` lists what does not),
so that a full disk is `DiskFull` everywhere, which blocks a program and ends no study.
"""

import ctypes
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from shared.errors.storage import DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_TEMPORARY, _UNFINISHED = ".tmp", ".unfinished"
LONGEST_PAUSE = timedelta(hours=1)  # of a process that writes, between two writes


def is_full_disk(error: BaseException) -> bool:
    """Whether an error says that a disk, or the user's share of it, is full."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)


def denial_of(error: BaseException) -> str:
    """The system's or SQLite's name for being let read or write nothing there; empty for another error."""
    if isinstance(error, OSError) and error.errno in _DENIED:
        return errno.errorcode[error.errno]
    name = str(getattr(error, "sqlite_errorname", ""))
    return name if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")) else ""


def damage_of(error: BaseException) -> str:
    """SQLite's name for a file that is no whole database; empty for another error."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return name if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) else ""


@contextmanager
def reporting_full_disk(folder: Path | str) -> Iterator[None]:
    """Raise `DiskFull`, naming `folder`, for a full disk that the block meets; other errors pass."""
    try:
        yield
    except OSError as error:
        if is_full_disk(error):
            raise DiskFull(folder=str(folder)) from error
        raise


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` when the block ends well, and is removed when it does not.

    Raises `DiskFull` where there is no space. The folder must exist.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_TEMPORARY}")
    try:
        with new_file(temporary, mode=mode) as file:
            yield file
        move(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a file that did not exist before. When the block ends its bytes are durable, its name is not yet.

    Raises `DiskFull` where there is no space, `FileExistsError`.
    """
    with file_to_sync(path, mode=mode) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def file_to_sync(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a file that did not exist before; neither it nor its name is durable before `sync_filesystem`.

    Raises `DiskFull` where there is no space, `FileExistsError`.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with reporting_full_disk(path.parent), os.fdopen(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # the umask may have cleared bits
        yield file


def sync_filesystem(folder: Path) -> None:
    """Make everything durable that was written to the file system of `folder`: one call for a study's many files.

    syncfs(2), which Python does not wrap; where the C library lacks it, sync(2). Raises `DiskFull`, `OSError`.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with reporting_full_disk(folder):
            if syncfs(handle) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, all of it or nothing, durably."""
    with replacing(path, mode=mode) as file:
        file.write(data)


def append(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Append `data` durably; an error leaves what was there, a kill may leave a part of `data` behind it.

    Only for a file that one process writes. Raises `DiskFull`.
    """
    with reporting_full_disk(path.parent):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode), "ab", buffering=0) as file:
            before = file.tell()
            try:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(before)
                raise
        if not before:
            sync_folder(path.parent)


def claim(path: Path) -> None:
    """Make the empty file `path`, durably, for its owner only; of several callers one succeeds.

    It has no bytes to sync: with its name in the folder it is there. Raises `FileExistsError` for the others,
    `DiskFull`.
    """
    with file_to_sync(path, mode=0o600):
        pass
    sync_folder(path.parent)


def link_or_copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    """Give a durable file a second name, or copy it where the file system has no links.

    The name is durable after `sync_folder`. Raises `FileExistsError` (a copy replaces `target`), `FileNotFoundError`,
    `DiskFull`.
    """
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        with source.open("rb") as original, replacing(target, mode=mode) as copy:
            shutil.copyfileobj(original, copy)


def move(path: Path, target: Path) -> None:
    """Rename a durable file or folder; the new name is durable after `sync_folder`. Raises `DiskFull`, `OSError`."""
    with reporting_full_disk(target.parent):
        path.replace(target)


@contextmanager
def unfinished_folder(target: Path, *, mode: int = 0o755) -> Iterator[Path]:
    """Yield a new hidden folder beside `target`, which is removed when the block ends unless it was published.

    What a killed process left of the same target is removed first. Raises `DiskFull`.
    """
    folder = target.with_name(f".{target.name}{_UNFINISHED}")
    recover_folder(target)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with reporting_full_disk(target.parent):
            folder.mkdir(parents=True, mode=mode)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish_folder(folder: Path, target: Path) -> None:
    """Give a folder of `unfinished_folder`, full of durable files, its name, durably; a previous `target` is replaced.

    A folder cannot be replaced in one step: the previous one is renamed, then removed. After a kill between the two
    it is hidden until the next `unfinished_folder` of that name brings it back. Raises `DiskFull`.
    """
    for where, _, _ in os.walk(folder):
        sync_folder(Path(where))
    aside = _aside(target)
    if target.exists():
        move(target, aside)
    try:
        move(folder, target)
        sync_folder(target.parent)
    except BaseException:
        recover_folder(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def remove_folder(target: Path) -> None:
    """Remove a folder of `publish_folder`, and the one that it replaced, which a kill may have left, if they exist.

    That is durable after `sync_folder` of its parent.
    """
    for folder in (target, _aside(target)):
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is lost with the power until its folder is fsynced."""
    with reporting_full_disk(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def clear_unfinished(path: Path) -> None:
    """Remove a killed process's temporary files of `path`; only for the one program that writes it."""
    for leftover in path.parent.glob(f".{path.name}.*{_TEMPORARY}"):
        leftover.unlink(missing_ok=True)


def clear_folder(folder: Path, *, unchanged_for: timedelta = timedelta()) -> None:
    """Remove the temporary files in a folder that killed processes left; it need not exist.

    Where other processes may be writing now, `unchanged_for`, as `LONGEST_PAUSE`, spares what they write.
    """
    before = time.time() - unchanged_for.total_seconds()
    for leftover in folder.glob(f".*{_TEMPORARY}"):
        with suppress(FileNotFoundError):  # it got its name, or was removed
            if leftover.stat().st_mtime <= before:
                leftover.unlink()


def clear_unfinished_folders(parent: Path) -> None:
    """Remove the folders of `unfinished_folder` in `parent` that killed processes left; nobody may make one now."""
    for leftover in parent.glob(f".*{_UNFINISHED}"):
        shutil.rmtree(leftover, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.earlier")


def recover_folder(target: Path) -> None:
    """Complete or undo a replacement of `target` that a kill cut short."""
    if target.exists():
        shutil.rmtree(_aside(target), ignore_errors=True)
    elif _aside(target).exists():
        move(_aside(target), target)
