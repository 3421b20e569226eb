"""Input files: opened where they lie, stamped, hashed, looked at. Nothing of a source is ever changed."""

import hashlib
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from shared.durable import new_file
from shared.errors import DicomUnreadable
from shared.ids import Sha256
from site_node.dicom.attributes import read_attributes
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.receive.reading import Header, looks_like_dicom, read_header, unreadable
from site_node.screen.facts import day_of
from site_node.screen.patient import years_between, years_of
from site_node.standalone.tasks import FileLocation, Seen, Stamp

ADULT = 18  # years; the one criterion that de-identification alone applies
_OLDEST = 130  # an age above is an error of the birth date
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_AGE_TAGS = ("PatientBirthDate", "PatientAge", *_DATES)
_BLOCK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)


class Archives:
    """Zip archives as they are asked for; the last one stays open, since its members follow each other."""

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
        """Let the last archive go."""
        if self._archive is not None:
            self._archive.close()
        self._archive = self._stamp = None

    def at(self, path: str) -> tuple[zipfile.ZipFile, Stamp]:
        """The archive at `path`, and its stamp."""
        now = _stamp(Path(path).stat())
        if self._archive is None or self._stamp != now or self._archive.filename != path:
            self.close()
            self._archive, self._stamp = zipfile.ZipFile(path), now
        return self._archive, now


@contextmanager
def opened(place: FileLocation, archives: Archives) -> Iterator[tuple[BinaryIO, Stamp, int]]:
    """An input file, its stamp (a member's is its archive's) and its size; raises `DicomUnreadable`."""
    try:
        if place.member is None:
            with _plain(place.path) as file:
                state = os.fstat(file.fileno())
                yield file, _stamp(state), state.st_size
            return
        archive, stamp = archives.at(place.path)
        info = archive.infolist()[place.member]
        with archive.open(info) as member:
            yield cast("BinaryIO", member), stamp, info.file_size
    except _DAMAGED:
        raise unreadable("archive-damaged" if place.member is not None else "corrupt") from None
    except (OSError, IndexError):
        raise unreadable("unreadable") from None


def _plain(path: str) -> BinaryIO:
    """A plain file; one that became a pipe meanwhile does not make us wait."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise unreadable("not-a-file")
    return os.fdopen(file, "rb")


def stamp_of(path: Path) -> Stamp | None:
    """What tells a file from itself after a change; `None` where it is gone."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(state: os.stat_result) -> Stamp:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def look(place: FileLocation, archives: Archives, pseudonyms: Pseudonyms, *, insist: bool = False) -> Seen:
    """What one file says of itself, under new identifiers; `insist` looks for the study of a broken file too."""
    stamp: Stamp | None = None
    try:
        with opened(place, archives) as (file, stamp, size):
            try:
                header = read_header(file, size)
            except DicomUnreadable as error:
                study = _attributes(file, "StudyInstanceUID").get("StudyInstanceUID") if insist else None
                key = pseudonyms.study_key(str(study)) if study else None
                return Seen(place.number, stamp, refusal=error.fields["reason"], study=key)
            minor = is_minor(_attributes(file, *_AGE_TAGS))
    except DicomUnreadable as error:
        return Seen(place.number, stamp, refusal=error.fields["reason"])
    key, uid = pseudonyms.study_key(header.study_instance_uid), pseudonyms.uid(header.sop_instance_uid)
    return Seen(place.number, stamp, study=key, instance=uid, minor=minor)


def read(file: BinaryIO, size: int) -> tuple[Header, Sha256]:
    """Who a file is, and its digest; raises `DicomUnreadable`."""
    header = read_header(file, size)
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return header, Sha256(digest.hexdigest())


def unpack(file: BinaryIO, target: Path) -> None:
    """Copy a member of an archive for its owner alone; what does not start like DICOM is not copied.

    Raises `DicomUnreadable`, `DiskFull`.
    """
    start = file.read(_BLOCK)
    if not looks_like_dicom(start):
        raise unreadable("not-dicom" if start else "empty-file")
    with new_file(target, mode=0o600) as copy:
        copy.write(start)
        shutil.copyfileobj(file, copy, _BLOCK)


def _attributes(file: BinaryIO, *keywords: str) -> dict[str, str]:
    """Attributes from the start of a file, as far as they can be read."""
    try:
        file.seek(0)
    except (OSError, *_DAMAGED):
        return {}
    return read_attributes(file, *keywords)


def is_minor(said: Mapping[str, str]) -> bool:
    """Whether the birth date at the study, or the age, says under 18; what says nothing says no."""
    texts = {name: value.upper() for name, value in said.items()}
    birth = day_of(texts.get("PatientBirthDate", ""))
    day = next((found for name in _DATES if (found := day_of(texts.get(name, "")))), None)
    ages = [_age(birth, day), years_of(texts.get("PatientAge", ""))]
    return any(age is not None and age < ADULT for age in ages)


def _age(birth: date | None, day: date | None) -> int | None:
    age = years_between(birth, day) if birth and day else None
    return age if age is not None and 0 <= age <= _OLDEST else None
