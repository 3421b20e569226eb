"""Input files: opened where they lie, stamped, scanned, hashed. A source is never changed."""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from shared.durable import new_file
from shared.errors import DicomUnreadable
from site_node.dicom.attributes import read_attributes
from site_node.dicom.header import Header
from site_node.dicom.reading import looks_like_dicom, read_header
from site_node.dicom.unreadable import unreadable
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.screen.patient import years_between, years_of
from site_node.standalone.tasks import FileFacts, FileLocation, Stamp

ADULT = 18  # years; the only criterion that de-identification without a home applies
_OLDEST = 130  # years; a greater age is an error of the birth date
_BLOCK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


class Archives:
    """Opens zip archives; the last one stays open, since its members follow each other."""

    def __init__(self) -> None:
        self._stamp: Stamp | None = None
        self._archive: zipfile.ZipFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive that is open."""
        if self._archive is not None:
            self._archive.close()
        self._archive = self._stamp = None

    def open(self, path: str) -> tuple[zipfile.ZipFile, Stamp]:
        """The archive at `path`, and its stamp."""
        now = _stamp(Path(path).stat())
        if self._archive is None or self._stamp != now or self._archive.filename != path:
            self.close()
            self._archive, self._stamp = zipfile.ZipFile(path), now
        return self._archive, now


@contextmanager
def open_input(location: FileLocation, archives: Archives) -> Iterator[tuple[BinaryIO, Stamp, int]]:
    """An input file, its stamp (for a member, its archive's) and its size; raises `DicomUnreadable`."""
    try:
        if location.member is None:
            with _open_plain(location.path) as file:
                state = os.fstat(file.fileno())
                yield file, _stamp(state), state.st_size
            return
        archive, stamp = archives.open(location.path)
        info = archive.infolist()[location.member]
        with archive.open(info) as member:
            yield cast("BinaryIO", member), stamp, info.file_size
    except _DAMAGED:
        raise unreadable("archive-damaged" if location.member is not None else "corrupt") from None
    except (OSError, IndexError):
        raise unreadable("unreadable") from None


def _open_plain(path: str) -> BinaryIO:
    """Open a plain file, without blocking on one that became a pipe meanwhile."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise unreadable("not-a-file")
    return os.fdopen(file, "rb")


def stamp_of(path: Path) -> Stamp | None:
    """A file's stamp, which differs after a change; `None` where the file does not exist."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(state: os.stat_result) -> Stamp:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def scan_file(
    location: FileLocation, archives: Archives, pseudonyms: Pseudonyms, *, assign_broken: bool = False
) -> FileFacts:
    """The facts of one file, under new identifiers; `assign_broken` looks for the study of a broken file too."""
    stamp: Stamp | None = None
    try:
        with open_input(location, archives) as (file, stamp, size):
            try:
                header = read_header(file, size)
            except DicomUnreadable as error:
                study = _study_uid(file) if assign_broken else ""
                key = pseudonyms.study_key(study) if study else None
                return FileFacts(location.number, stamp, refusal=error.fields["reason"], study=key)
    except DicomUnreadable as error:
        return FileFacts(location.number, stamp, refusal=error.fields["reason"])
    key, uid = pseudonyms.study_key(header.study_instance_uid), pseudonyms.uid(header.sop_instance_uid)
    return FileFacts(location.number, stamp, study=key, instance=uid, minor=is_minor(header))


def unpack(file: BinaryIO, target: Path) -> None:
    """Copy a member of an archive, readable by its owner only; a member that does not start like DICOM is not copied.

    Raises `DicomUnreadable`, `DiskFull`.
    """
    start = file.read(_BLOCK)
    if not looks_like_dicom(start):
        raise unreadable("not-dicom" if start else "empty-file")
    with new_file(target, mode=0o600) as copy:
        copy.write(start)
        shutil.copyfileobj(file, copy, _BLOCK)


def _study_uid(file: BinaryIO) -> str:
    """The StudyInstanceUID of a broken file, if it can be read from its start."""
    try:
        file.seek(0)
    except (OSError, *_DAMAGED):
        return ""
    return read_attributes(file, "StudyInstanceUID").get("StudyInstanceUID", "")


def is_minor(header: Header) -> bool:
    """Whether the birth date at the study, or the age, says under 18; `False` where neither can be read."""
    ages = [_age(header.birth_date, header.study_date), years_of(header.age)]
    return any(age is not None and age < ADULT for age in ages)


def _age(birth: date | None, day: date | None) -> int | None:
    age = years_between(birth, day) if birth and day else None
    return age if age is not None and 0 <= age <= _OLDEST else None
