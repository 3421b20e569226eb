"""Ciphertext on disk: unfinished and complete uploads.

`partial/<name>` grows while an upload lasts; `sealed/<first two digits>/<name>.age` is final. A name is a digest, so
nothing here says whose study a file holds.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from shared.durable import move, reporting_full_disk, sync_folder
from shared.errors import ManifestInvalid, UploadInterrupted
from shared.ids import Sha256

CHUNK = 1 << 20  # bytes
ACKNOWLEDGE_EVERY = 8 << 20  # bytes


class Blobs:
    """A folder of sealed files."""

    def __init__(self, folder: Path) -> None:
        self._partial = folder / "partial"
        self._sealed = folder / "sealed"
        for subfolder in (self._partial, self._sealed):
            subfolder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def durable(self, name: Sha256, *, committed: Callable[[], bool]) -> int:
        """How many bytes of `name` have arrived and survive a power cut; 0 when none have.

        A final file whose row was never committed (the process died in between) becomes partial again; one that an
        uploader still locks is being committed now and stays in place. `committed` is called under the lock and tells
        whether the row exists after all.
        """
        path = self._partial / name
        with contextlib.suppress(FileNotFoundError), self.path(name).open("rb") as sealed:
            if not _locked(sealed) or committed():
                return os.fstat(sealed.fileno()).st_size
            move(self.path(name), path)
        if not path.exists():
            return 0
        with path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    @contextmanager
    def open_partial(self, name: Sha256) -> Iterator["PartialBlob"]:
        """Open the partial file of `name` for one writer; raises `UploadInterrupted` when there is another.

        The lock is on the file, not its name: it lasts through `finalise` until the block ends, and so the commit.
        """
        path = self._partial / name
        with path.open("ab+") as file:
            if not _locked(file) or not _is_at(file, path):
                raise UploadInterrupted("another upload of the same study is under way")
            with reporting_full_disk("the coordinator's blob folder"):
                yield PartialBlob(file)

    def unfinished(self, name: Sha256) -> int:
        """How many bytes of `name`, which has no row yet, are here: it may have been made final before."""
        return sum(path.stat().st_size for path in (self._partial / name, self.path(name)) if path.exists())

    def drop_stale(self, before: datetime) -> None:
        """Remove partial files that were not written since `before` and are not open for writing."""
        for path in self._partial.iterdir():
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_mtime < before.timestamp() and _locked(file):
                    path.unlink()

    def discard(self, name: Sha256) -> None:
        """Delete what arrived of `name` and is not final."""
        (self._partial / name).unlink(missing_ok=True)

    def drop(self, name: Sha256) -> bool:
        """Delete what arrived of `name`, final or not, unless it is open for writing; whether nothing is left."""
        for path in (self._partial / name, self.path(name)):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if not _locked(file):
                    return False
                path.unlink()
        return True

    def withdraw(self, name: Sha256) -> None:
        """Make a final file partial again, for the uploader that holds its lock and whose commit was refused."""
        move(self.path(name), self._partial / name)

    def finalise(self, name: Sha256) -> Path:
        """Make a whole partial file final; the name is durable when this returns."""
        path = self.path(name)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        move(self._partial / name, path)
        sync_folder(path.parent)
        sync_folder(self._sealed)
        return path

    def path(self, name: Sha256) -> Path:
        """The path of the sealed file `name`, whether or not it exists."""
        return self._sealed / name[:2] / f"{name}.age"


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


class PartialBlob:
    """A partial file that grows; written by one upload at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        file.seek(0)
        for part in iter(lambda: file.read(CHUNK), b""):
            self._hash.update(part)
        self.size = file.tell()

    def write(self, chunks: Iterable[bytes], *, expected: int) -> Iterator[int]:
        """Append chunks; yields the durable size every 8 MiB and at the end.

        Raises `ManifestInvalid` when more than `expected` bytes in all arrive.
        """
        since = 0
        for chunk in chunks:
            self.size += len(chunk)
            since += len(chunk)
            if self.size > expected:
                raise ManifestInvalid(problem="more bytes arrived than the manifest names")
            self._file.write(chunk)
            self._hash.update(chunk)
            if since >= ACKNOWLEDGE_EVERY:
                since = 0
                yield self._sync()
        yield self._sync()

    @property
    def sha256(self) -> Sha256:
        """The digest of everything that has arrived."""
        return Sha256(self._hash.hexdigest())

    def _sync(self) -> int:
        self._file.flush()
        os.fdatasync(self._file.fileno())
        return self.size
