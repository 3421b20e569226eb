"""Receive a source into the spool: copy every file under an opaque name, read the copy, and group files by study.

The copy is made before it is read, so a file that changes meanwhile counts as it was copied. Its final name is the
digest of its data: receiving the same source again after a kill gives the same names. All copies become
durable together, before they count as received.
"""

import hashlib
import os
import shutil
import stat
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple, Protocol
from zipfile import BadZipFile

from pydantic import Field

from shared.durable import file_to_sync, move, sync_filesystem
from shared.errors.inputs import NoDicomFound
from shared.errors.storage import DiskFull
from shared.errors.studies import DicomUnreadable
from shared.frozen import Frozen
from shared.ids import Sha256, StudyKey
from site_node.dicom.attributes import read_attributes
from site_node.dicom.data_digest import data_digest
from site_node.dicom.differences import differences
from site_node.dicom.header import Header
from site_node.dicom.reading import looks_like_dicom, read_header
from site_node.dicom.unreadable import unreadable
from site_node.reasons import reason_for
from site_node.receive.refusals import RefusedFile, refused
from site_node.receive.source import Candidate, candidates
from site_node.study import FileStamp, Instance, Reason, Received

_BLOCK = 1 << 20
_ARRIVING = "arriving"
_NAME_CHARACTERS = 32  # of a digest
_NAMES = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
NO_IMAGE = frozenset({"not-dicom"})  # lies beside images in an export
InstanceName = tuple[StudyKey, str]  # the study, and the opaque name of an instance in it
NO_DICOM = frozenset(  # a source in which every file is refused for one of these holds no DICOM
    {"not-dicom", "empty-file", "link-outside", "link-loop", "link-broken", "not-a-file", "path-outside", "unreadable"}
)

NO_PATIENT_ID = reason_for("no-patient-id", attribute="PatientID")
MIXED_PATIENTS = reason_for("mixed-patients", attribute="PatientID")


class StudyKeys(Protocol):
    """The part of `KeyedNames` that this stage needs."""

    def study_key(self, study_uid: str) -> StudyKey:
        """The site's own opaque name for a study."""


class Reception(Frozen):
    """The result of receiving a source. `held` has the studies that a person must see before they go on, and why."""

    studies: tuple[Received, ...]
    held: dict[StudyKey, Reason] = Field(default_factory=dict)
    refused: tuple[RefusedFile, ...]
    conflicts: tuple[Received, ...] = ()  # versions of images that differ; all of them are in `refused`, too
    duplicates: int  # further copies of an image, in the same encoding or another
    names: tuple[str, ...] = Field(default=(), repr=False)  # of all files, in the source's order: PHI
    sources: dict[str, InstanceName] = Field(default_factory=dict, repr=False)  # what each accepted file became


class _FileRead(NamedTuple):
    """One file that was read: our copy of it, or the file where it lies."""

    source: str
    header: Header
    instance: Instance
    known: bool = False  # the same data was in the spool before

    @property
    def is_new_copy(self) -> bool:
        """Whether this reception put the file into the spool."""
        return self.instance.stamp is None and not self.known

    @property
    def version(self) -> str:
        """The digest of the data, which differs between two files of an instance that are no copies of each other."""
        if self.instance.stamp is None:
            return self.instance.name
        try:
            with self.instance.path.open("rb") as stream:
                return data_digest(stream, self.header)[:_NAME_CHARACTERS]
        except OSError:  # removed meanwhile
            return str(self.instance.stamp)


def receive_folder(
    source: Path,
    spool: Path,
    pseudonyms: StudyKeys,
    *,
    in_place: bool = False,
    on_file: Callable[[], object] = lambda: None,
) -> Reception:
    """Receive a folder, a zip archive, a DICOMDIR or one file into `spool/<study key>/<digest of its data>.dcm`.

    With `in_place` only members of archives are copied; other files are read where they lie, and their stamps noted.
    `on_file` is called after each file. A DICOMDIR is an index, so it is no file of the source.

    Raises `SourceMissing`, `NoDicomFound` when no file in it is DICOM, and `DiskFull`.
    """
    arriving = spool / _ARRIVING
    shutil.rmtree(arriving, ignore_errors=True)  # left by a killed run
    arriving.mkdir(parents=True, mode=0o700)
    files: list[_FileRead] = []
    refusals: list[RefusedFile] = []
    names: list[str] = []
    for candidate in candidates(source):
        try:
            if in_place and candidate.path is not None and candidate.member is None:
                files.append(_read_in_place(candidate.name, candidate.path, pseudonyms))
            else:
                files.append(_receive_file(candidate, spool, pseudonyms))
        except DicomUnreadable as error:
            if error.fields["reason"] == "dicomdir":
                continue
            refusals.append(_refused(candidate, error.fields["reason"], in_place=in_place))
        names.append(candidate.name)
        on_file()
    arriving.rmdir()
    if not files and all(file.reason.code in NO_DICOM for file in refusals):
        raise NoDicomFound(source=str(source))
    try:
        if not in_place:
            sync_filesystem(spool)
    except DiskFull:
        for file in files:
            if file.is_new_copy:
                file.instance.path.unlink(missing_ok=True)
        raise
    return _reception(files, refusals, pseudonyms).model_copy(update={"names": tuple(names)})


def _refused(candidate: Candidate, code: str, *, in_place: bool) -> RefusedFile:
    """The record of a refused file; of one that stays where it lies, with the study that it names."""
    names: dict[str, str] = {}
    if in_place and code not in NO_IMAGE and candidate.open is not None:
        with suppress(Exception), candidate.open() as stream:  # it is refused already
            names = read_attributes(stream, *_NAMES)
    study, series, instance = (names.get(name, "") for name in _NAMES)
    return refused(candidate.name, code).model_copy(update={"study": study, "series": series, "instance": instance})


def _read_in_place(name: str, path: Path, pseudonyms: StudyKeys) -> _FileRead:
    """Read a file's header where it lies; raises `DicomUnreadable`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe's other end is not waited for
    except OSError:
        raise unreadable("unreadable") from None
    with os.fdopen(descriptor, "rb") as stream:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise unreadable("not-a-file")
        header = read_header(stream, state.st_size)
    opaque_name = pseudonyms.study_key(header.sop_instance_uid)
    instance = header.instance(path, state.st_size, stamp=FileStamp.of(state), opaque_name=opaque_name)
    return _FileRead(name, header, instance)


def _receive_file(candidate: Candidate, spool: Path, pseudonyms: StudyKeys) -> _FileRead:
    """Copy one file and read the copy; raises `DicomUnreadable`, and then leaves no copy."""
    copy = spool / _ARRIVING / "file"
    try:
        size, digest = _copy(candidate, copy)
        with copy.open("rb") as stream:
            header = read_header(stream, size)
            name = data_digest(stream, header)[:_NAME_CHARACTERS]
        path = spool / pseudonyms.study_key(header.study_instance_uid) / f"{name}.dcm"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if known := _holds(path, header, name):  # perhaps with other file meta information: the recorded file stays
            size, digest = _size_and_digest(path)
        else:
            move(copy, path)
    finally:
        copy.unlink(missing_ok=True)
    return _FileRead(candidate.name, header, header.instance(path, size, sha256=digest), known)


def _holds(path: Path, header: Header, name: str) -> bool:
    """Whether a file has the data that its name says; after a power cut it may have lost some."""
    if not path.exists():
        return False
    with path.open("rb") as stream:
        return data_digest(stream, header)[:_NAME_CHARACTERS] == name


def _size_and_digest(path: Path) -> tuple[int, Sha256]:
    with path.open("rb") as file:
        return path.stat().st_size, Sha256(hashlib.file_digest(file, "sha256").hexdigest())


def _copy(candidate: Candidate, target: Path) -> tuple[int, Sha256]:
    """Copy and hash on the way; a file that does not start like DICOM is not copied. Raises `DiskFull`."""
    digest, size = hashlib.sha256(), 0
    with _opened(candidate) as source, file_to_sync(target, mode=0o600) as file:
        while block := _read_block(source):
            if size == 0 and not looks_like_dicom(block):
                raise unreadable("not-dicom")
            digest.update(block)
            size += file.write(block)
        if size == 0:
            raise unreadable("empty-file")
    return size, Sha256(digest.hexdigest())


def _opened(candidate: Candidate) -> IO[bytes]:
    try:
        if candidate.open is not None:
            return candidate.open()
    except (OSError, BadZipFile, RuntimeError, NotImplementedError):
        raise unreadable("unreadable") from None
    raise unreadable(candidate.refusal or "unreadable")


def _read_block(source: IO[bytes]) -> bytes:
    try:
        return source.read(_BLOCK)
    except OSError:
        raise unreadable("unreadable") from None
    except (BadZipFile, zlib.error, EOFError):
        raise unreadable("archive-damaged") from None


def _reception(files: Sequence[_FileRead], refusals: Sequence[RefusedFile], pseudonyms: StudyKeys) -> Reception:
    """Group by study; copies of an image in any encoding count once, and versions that differ are all set apart."""
    copies: dict[str, list[_FileRead]] = defaultdict(list)
    for file in files:
        copies[file.header.sop_instance_uid].append(file)
    conflicting: list[_FileRead] = []
    for same in copies.values():
        same.sort(key=lambda file: not file.known)  # the first to be received stays
        further = {file.version: file for file in same if file.version != same[0].version} if len(same) > 1 else {}
        if any(differences(same[0].instance.path, file.instance.path) for file in further.values()):
            conflicting += same
            continue
        for file in further.values():  # other encodings of the same image
            if file.is_new_copy:
                file.instance.path.unlink(missing_ok=True)
    conflicts: dict[str, list[_FileRead]] = defaultdict(list)
    for file in conflicting:
        conflicts[file.header.study_instance_uid].append(file)
        copies.pop(file.header.sop_instance_uid, None)
    studies: dict[str, list[_FileRead]] = defaultdict(list)
    for first, *_ in copies.values():
        studies[first.header.study_instance_uid].append(first)
    built = [_study(uid, members, pseudonyms) for uid, members in sorted(studies.items())]
    keys = {study.study_instance_uid: study.key for study, _ in built}
    return Reception(
        studies=tuple(study for study, _ in built),
        held={study.key: reason for study, reason in built if reason is not None},
        refused=(*refusals, *(refused(file.source, "other-bytes") for file in conflicting)),
        conflicts=tuple(_study(uid, members, pseudonyms)[0] for uid, members in sorted(conflicts.items())),
        sources={
            file.source: (keys[first.header.study_instance_uid], first.instance.name)
            for first, *further in copies.values()
            for file in (first, *further)
        },
        duplicates=len(files) - len(conflicting) - len(copies),
    )


def _study(uid: str, files: Sequence[_FileRead], pseudonyms: StudyKeys) -> tuple[Received, Reason | None]:
    """One study and, if a person must see it first, why. A study of two patients has no identity."""
    patients = {file.header.identity for file in files}
    reason = MIXED_PATIENTS if len(patients) > 1 else NO_PATIENT_ID if patients == {None} else None
    study = Received(
        key=pseudonyms.study_key(uid),
        study_instance_uid=uid,
        identity=files[0].header.identity if reason is None else None,
        instances=tuple(sorted((file.instance for file in files), key=lambda instance: instance.name)),
    )
    return study, reason
