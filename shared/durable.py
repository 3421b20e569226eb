"""Files that are whole or not there: written under a temporary name, fsynced, renamed, the folder fsynced."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shared.errors import DiskFull

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def replacing(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a new file that replaces `path` when the block ends well, and is removed when it does not.

    Raises `DiskFull` where there is no space. The folder must exist.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with new_file(temporary, mode=mode) as file:
            yield file
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_file(path: Path, *, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Yield a file that did not exist before. When the block ends its bytes are durable, its name is not yet.

    Raises `DiskFull` where there is no space, `FileExistsError`.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask may have cleared bits
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _translated(error, path.parent) from error


def write_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path`, all of it or nothing, durably."""
    with replacing(path, mode=mode) as file:
        file.write(data)


def clear_unfinished(path: Path) -> None:
    """Remove a killed process's temporary files of `path`; only for the one program that writes it."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is lost with the power until its folder is fsynced."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _translated(error: OSError, folder: Path) -> Exception:
    return DiskFull(folder=str(folder)) if error.errno in _FULL else error
