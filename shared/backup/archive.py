"""The file of a backup: tar in zstd in age v1, written and read as a stream, in constant memory.

First comes `backup.json`, which says what it is of, last `SHA256SUMS`, as sha256sum(1) reads it, of every member
between the two. Without our programs: `age -d -i KEY FILE | zstd -d | tar -x`, then `sha256sum -c SHA256SUMS`.
"""

import hashlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, NamedTuple, cast

from backports.zstd import ZstdError, ZstdFile
from pydantic import ValidationError

from shared.agreement import Moment
from shared.crypto.archive import BOUNDED, Compressor
from shared.crypto.recipients import AgeIdentity
from shared.crypto.sealing import open_chunks, seal_writer
from shared.durable import file_to_sync, replacing
from shared.errors.inputs import InvalidArgument, SourceMissing
from shared.errors.storage import BackupInvalid
from shared.errors.studies import SealedFileInvalid
from shared.errors.trust import ClockWrong
from shared.frozen import Frozen
from shared.manifest import canonical_json

Program = Literal["ricord-site", "ricord-coordinator", "ricord-curator"]

_FACTS, _SUMS = "backup.json", "SHA256SUMS"
_LARGEST_FACTS = 1 << 16  # bytes
_SKEW = timedelta(hours=1)  # by which clocks may differ
_DAMAGED = "it is cut or changed"


class BackupFacts(Frozen):
    """What a backup is of: a home of `program`, whose database has `schema_version`, made by a release of `version`.

    `name` is the SITEID or the federation, `fingerprint` that of the home's signing key.
    """

    format: Literal["ricord-backup/1"] = "ricord-backup/1"
    program: Program
    version: str
    schema_version: str
    name: str
    fingerprint: str
    made_at: Moment

    def check(self, file: Path, program: Program, now: datetime, *, is_known: bool) -> None:
        """Raise unless a release of `program` that knows the schema, or does not, can restore it at that moment.

        Raises `BackupInvalid`, and `ClockWrong` where the backup is of a later day than this machine's clock says.
        """
        if self.program != program:
            raise BackupInvalid(file=str(file), problem=f"it is of a {self.program}")
        if not is_known:
            raise BackupInvalid(file=str(file), problem=f"release {self.version} made it, which is newer than this one")
        if self.made_at > now + _SKEW:
            evidence = f"the backup was made at {self.made_at:%Y-%m-%d %H:%M} UTC"
            raise ClockWrong(says=f"{now:%Y-%m-%d %H:%M} UTC", evidence=evidence)


class Member(NamedTuple):
    """A file of the backup: its path below the home, and where it is read from."""

    name: str
    source: Path


def write_backup(file: Path, recipient: str, facts: BackupFacts, members: Iterable[Member]) -> int:
    """Write a backup whole or not at all, for its owner only; returns how many members it has.

    Each member is asked for once the one before is written; one that is no longer there is left out. Raises
    `InvalidArgument` where `file` exists, `InvalidIdentifier` for the recipient, `SourceMissing`, `DiskFull`.
    """
    if file.exists():
        raise InvalidArgument(name="The file of the backup", problem="it exists, and a backup replaces no other file")
    if not file.parent.is_dir():
        raise SourceMissing(source=str(file.parent))
    count = 0
    with replacing(file, mode=0o600) as target, tempfile.TemporaryFile(dir=file.parent) as sums:
        sink = Compressor(seal_writer([recipient], target))
        with tarfile.open(mode="w|", fileobj=cast("BinaryIO", sink), format=tarfile.PAX_FORMAT) as tar:
            _add_bytes(tar, _FACTS, canonical_json(facts))
            for member in members:
                with suppress(FileNotFoundError), member.source.open("rb") as source:
                    sums.write(_line(_add(tar, member.name, source), member.name))
                    count += 1
            sums.seek(0)
            _add(tar, _SUMS, sums)
        sink.finish()
    return count


def unpack_backup(
    file: Path, identity: AgeIdentity, folder: Path, check: Callable[[BackupFacts], object]
) -> BackupFacts:
    """Unpack a backup into a folder, every file for its owner only, and check each digest.

    `check` sees the facts before anything is written. Raises `BackupInvalid` for another identity, and for what is cut,
    changed or no backup; then `folder` may hold a part, which the caller discards. `SourceMissing`, `DiskFull`.
    """
    try:
        with file.open("rb") as source, _reading(source, identity) as tar:
            facts = _facts(tar)
            check(facts)
            unpacked = hashlib.sha256()
            while (info := _next(tar)) is not None and info.name != _SUMS:
                unpacked.update(_line(_unpack(tar, info, folder), info.name))
            if info is None or not _holds(tar, info, unpacked.digest()) or _next(tar) is not None:
                raise BackupInvalid(file=str(file), problem=_DAMAGED)
            return facts
    except SealedFileInvalid as error:
        raise BackupInvalid(file=str(file), problem=error.fields["problem"]) from error
    except (tarfile.TarError, ZstdError, EOFError, ValueError, FileExistsError, NotADirectoryError) as error:
        raise BackupInvalid(type(error).__name__, file=str(file), problem=_DAMAGED) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise SourceMissing(source=str(file)) from error


@contextmanager
def _reading(source: BinaryIO, identity: AgeIdentity) -> Iterator[tarfile.TarFile]:
    plain = io.BufferedReader(_Joined(open_chunks(identity, source)))
    with ZstdFile(plain, options=dict(BOUNDED)) as frame, tarfile.open(mode="r|", fileobj=frame) as tar:
        yield tar


class _Joined(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # typeshed: a wider Buffer
        """As `io.RawIOBase.readinto`."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _facts(tar: tarfile.TarFile) -> BackupFacts:
    info = _next(tar)
    if info is None or info.name != _FACTS or info.size > _LARGEST_FACTS:
        raise tarfile.ReadError("no backup of ours")
    try:
        return BackupFacts.model_validate_json(_content(tar, info).read())
    except ValidationError as error:
        raise tarfile.ReadError("facts of another form") from error


def _next(tar: tarfile.TarFile) -> tarfile.TarInfo | None:
    """The next member; the list of those before, which tarfile keeps, is not needed in a stream."""
    info = tar.next()
    tar.members.clear()  # type: ignore[attr-defined]  # typeshed lacks it
    return info


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> io.BufferedReader:
    content = tar.extractfile(info) if info.isreg() else None
    if content is None:
        raise tarfile.ReadError("not a plain file")
    return cast("io.BufferedReader", content)


def _holds(tar: tarfile.TarFile, info: tarfile.TarInfo, digest: bytes) -> bool:
    """Whether the content of a member has that digest."""
    return hashlib.file_digest(_content(tar, info), "sha256").digest() == digest


def _line(digest: str, name: str) -> bytes:
    """A member as SHA256SUMS lists it."""
    return f"{digest}  {name}\n".encode(errors="surrogateescape")


def _unpack(tar: tarfile.TarFile, info: tarfile.TarInfo, folder: Path) -> str:
    """Write a member below `folder`; returns its digest. A name that leads elsewhere is no name of ours."""
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts or "\n" in info.name:
        raise tarfile.ReadError("a name that leads out of the home")
    target, digest, content = folder / path, hashlib.sha256(), _content(tar, info)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with file_to_sync(target, mode=0o600) as file:
        while piece := content.read(1 << 20):
            digest.update(piece)
            file.write(piece)
    os.utime(target, (info.mtime, info.mtime))
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, source: BinaryIO) -> str:
    """Add what an open file holds now, and return its digest; what is appended meanwhile stays out."""
    info, state, counted = tarfile.TarInfo(name), os.fstat(source.fileno()), _Hashed(source)
    info.size, info.mtime, info.mode = state.st_size, int(state.st_mtime), 0o600
    tar.addfile(info, counted)
    tar.members.clear()  # type: ignore[attr-defined]
    return counted.digest.hexdigest()


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


class _Hashed:
    """A file of which what is read is hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        """As a file's."""
        data = self._file.read(size)
        self.digest.update(data)
        return data
