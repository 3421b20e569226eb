"""Ciphertext in a folder.

`partial/<name>` grows while an upload lasts; `sealed/<first two digits>/<name>.age` is final.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from coordinator.store.ciphertext import ACKNOWLEDGE_EVERY, CHUNK
from shared.durable import move, reporting_full_disk, sync_folder
from shared.errors.transport import UploadInterrupted
from shared.ids import Sha256


class CiphertextFolder:
    """A `CiphertextStore` of files. A writer locks its file, so processes on one host may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._partial = folder / "partial"
        self._sealed = folder / "sealed"
        for subfolder in (self._partial, *(self._sealed / f"{first:02x}" for first in range(256))):
            subfolder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sync_folder(self._sealed)

    def durable(self, name: Sha256) -> int:
        """The size of its file, synced."""
        for path in self._paths(name):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_size
        return 0

    def arrived(self, name: Sha256) -> int:
        """The size of its file."""
        for path in self._paths(name):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    @contextmanager
    def open_partial(self, name: Sha256) -> Iterator["PartialFile"]:
        """Lock the file, not its name: the lock lasts through `finalise` until the block ends, and so the commit."""
        partial, final = self._paths(name)
        opened: BinaryIO
        try:
            path, opened = final, final.open("rb")
        except FileNotFoundError:
            path, opened = partial, partial.open("ab+")
        with opened as file:
            if not _locked(file) or not _is_at(file, path):
                raise UploadInterrupted("another upload of the same study is under way")
            if path == partial and final.exists():  # made final since it was asked for, and this file is new
                path.unlink()
                raise UploadInterrupted("another upload of the same study ended")
            with reporting_full_disk("the coordinator's folder of sealed studies"):
                yield PartialFile(file, path, final)

    def is_final(self, name: Sha256) -> bool:
        """By its place."""
        return self._paths(name)[1].exists()

    def read(self, name: Sha256, start: int = 0) -> Iterator[bytes]:
        """In pieces of 1 MiB."""
        with self._paths(name)[1].open("rb") as file:
            file.seek(start)
            yield from iter(lambda: file.read(CHUNK), b"")

    def delete(self, name: Sha256) -> bool:
        """Under the lock."""
        for path in self._paths(name):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if not _locked(file):
                    return False
                path.unlink()
        return True

    def _paths(self, name: Sha256) -> tuple[Path, Path]:
        """Where it grows, and where it is final. It only moves from the first to the second: look in this order."""
        return self._partial / name, self._sealed / name[:2] / f"{name}.age"


def _locked(file: BinaryIO) -> bool:
    """Lock an open file; `False` when another holds the lock. The kernel releases it however the holder ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether `path` still names the open file: it may have been made final between opening and locking."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class PartialFile:
    """A locked file, of which the part that is there is read again for the digest of the whole."""

    def __init__(self, file: BinaryIO, path: Path, final: Path) -> None:
        self._file = file
        self._path = path
        self._final = final
        self._hash = hashlib.sha256()
        file.seek(0)
        for part in iter(lambda: file.read(CHUNK), b""):
            self._hash.update(part)
        self.size = file.tell()

    def write(self, chunks: Iterable[bytes]) -> Iterator[int]:
        """Append."""
        since = 0
        for chunk in chunks:
            self._file.write(chunk)
            self._hash.update(chunk)
            self.size += len(chunk)
            since += len(chunk)
            if since >= ACKNOWLEDGE_EVERY:
                since = 0
                self._sync()
                yield self.size

    def discard(self) -> None:
        """Remove its name."""
        self._path.unlink(missing_ok=True)

    def finalise(self, digest: Sha256) -> bool:
        """Move the file, if it was not moved before."""
        if self._hash.hexdigest() != digest:
            self.discard()
            return False
        if self._path != self._final:
            self._sync()
            move(self._path, self._final)
            self._path = self._final
        sync_folder(self._final.parent)  # also where a kill came between the two
        return True

    def _sync(self) -> None:
        self._file.flush()
        os.fdatasync(self._file.fileno())
