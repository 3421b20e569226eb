"""Receive a source into the spool: copy every file under an opaque name, read the copy, and group files by study.

The copy is made before it is read, so a file that changes meanwhile counts as it was copied. A copy is durable before
it has its final name, which is its data's digest: receiving the same source again after a kill gives the same names.
"""

import hashlib
import shutil
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol
from zipfile import BadZipFile

from pydantic import Field

from shared.durable import new_file, sync_folder
from shared.errors import DicomUnreadable, NoDicomFound
from shared.frozen import Frozen
from shared.ids import Sha256, StudyKey
from site_node.reasons import reason_for
from site_node.receive.reading import (
    Header,
    RefusedFile,
    data_digest,
    looks_like_dicom,
    read_header,
    refused,
    unreadable,
)
from site_node.receive.source import Candidate, candidates
from site_node.study import Instance, Reason, Received

_BLOCK = 1 << 20
_ARRIVING = "arriving"
NO_DICOM = frozenset(  # a source in which every file is refused for one of these holds no DICOM
    {"not-dicom", "empty-file", "link-outside", "link-loop", "link-broken", "not-a-file", "path-outside", "unreadable"}
)

NO_PATIENT_ID = reason_for("no-patient-id", attribute="PatientID")
MIXED_PATIENTS = reason_for("mixed-patients", attribute="PatientID")


class StudyKeys(Protocol):
    """The part of `Pseudonyms` that this stage needs."""

    def study_key(self, study_uid: str) -> StudyKey:
        """The site's own opaque name for a study."""


class Reception(Frozen):
    """The result of receiving a source. `held` has the studies that a person must see before they go on, and why."""

    studies: tuple[Received, ...]
    held: dict[StudyKey, Reason] = Field(default_factory=dict)
    refused: tuple[RefusedFile, ...]
    conflicts: tuple[Received, ...] = ()  # versions of images that differ; all of them are in `refused`, too
    duplicates: int  # further copies of an instance, the data byte for byte the same
    sources: dict[str, Path] = Field(default_factory=dict, repr=False)  # name in the source -> file in the spool: PHI


class _SpooledFile(Frozen):
    """One file in the spool with its header."""

    source: str
    header: Header
    instance: Instance
    known: bool  # the same data was in the spool before


def receive_folder(source: Path, spool: Path, pseudonyms: StudyKeys) -> Reception:
    """Receive a folder, a zip archive, a DICOMDIR or one file into `spool/<study key>/<digest of its data>.dcm`.

    Raises `SourceMissing`, `NoDicomFound` when no file in it is DICOM, and `DiskFull`.
    """
    arriving = spool / _ARRIVING
    shutil.rmtree(arriving, ignore_errors=True)  # left by a killed run
    arriving.mkdir(parents=True, mode=0o700)
    spooled: list[_SpooledFile] = []
    refusals: list[RefusedFile] = []
    for candidate in candidates(source):
        try:
            spooled.append(_receive_file(candidate, spool, pseudonyms))
        except DicomUnreadable as error:
            refusals.append(refused(candidate.name, error.fields["reason"]))
    arriving.rmdir()
    if not spooled and all(file.reason.code in NO_DICOM for file in refusals):
        raise NoDicomFound(source=str(source))
    return _reception(spooled, refusals, pseudonyms)


def _receive_file(candidate: Candidate, spool: Path, pseudonyms: StudyKeys) -> _SpooledFile:
    """Copy one file and read the copy; raises `DicomUnreadable`, and then leaves no copy."""
    copy = spool / _ARRIVING / "file"
    try:
        size, digest = _copy(candidate, copy)
        with copy.open("rb") as stream:
            header = read_header(stream, size)
            name = data_digest(stream, header)[:32]
        path = spool / pseudonyms.study_key(header.study_instance_uid) / f"{name}.dcm"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if known := path.exists():  # the same data, perhaps with other file meta information: the recorded file stays
            size, digest = _size_and_digest(path)
        else:
            copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)
    instance = Instance(
        path=path,
        size=size,
        sha256=digest,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        transfer_syntax_uid=header.transfer_syntax_uid,
    )
    return _SpooledFile(source=candidate.name, header=header, instance=instance, known=known)


def _size_and_digest(path: Path) -> tuple[int, Sha256]:
    with path.open("rb") as file:
        return path.stat().st_size, Sha256(hashlib.file_digest(file, "sha256").hexdigest())


def _copy(candidate: Candidate, target: Path) -> tuple[int, Sha256]:
    """Copy durably and hash on the way; a file that does not start like DICOM is not copied. Raises `DiskFull`."""
    digest, size = hashlib.sha256(), 0
    with _opened(candidate) as source, new_file(target, mode=0o600) as file:
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


def _reception(spooled: Sequence[_SpooledFile], refusals: Sequence[RefusedFile], pseudonyms: StudyKeys) -> Reception:
    """Group by study; copies of an instance count once, and versions that differ are all quarantined."""
    versions: dict[str, set[str]] = defaultdict(set)
    for file in spooled:
        versions[file.header.sop_instance_uid].add(file.instance.path.stem)
    studies: dict[str, dict[str, _SpooledFile]] = defaultdict(dict)
    conflicts: dict[str, list[_SpooledFile]] = defaultdict(list)
    for file in spooled:
        if len(versions[file.header.sop_instance_uid]) > 1:
            conflicts[file.header.study_instance_uid].append(file)
        else:
            studies[file.header.study_instance_uid].setdefault(file.header.sop_instance_uid, file)
    built = [_study(uid, list(files.values()), pseudonyms) for uid, files in sorted(studies.items())]
    for study, _ in built:
        sync_folder(study.instances[0].path.parent)
    accepted_paths = {instance.path for study, _ in built for instance in study.instances}
    conflicting = [file for files in conflicts.values() for file in files]
    for file in conflicting:
        if not file.known:  # a person finds it in the source; a file that was here before may belong to a study
            file.instance.path.unlink(missing_ok=True)
    return Reception(
        studies=tuple(study for study, _ in built),
        held={study.key: reason for study, reason in built if reason is not None},
        refused=(*refusals, *(refused(file.source, "other-bytes") for file in conflicting)),
        conflicts=tuple(_study(uid, files, pseudonyms)[0] for uid, files in sorted(conflicts.items())),
        sources={file.source: file.instance.path for file in spooled if file.instance.path in accepted_paths},
        duplicates=len(spooled) - len(conflicting) - sum(len(study.instances) for study, _ in built),
    )


def _study(uid: str, files: Sequence[_SpooledFile], pseudonyms: StudyKeys) -> tuple[Received, Reason | None]:
    """One study and, if a person must see it first, why. A study of two patients has no identity."""
    patients = {file.header.identity for file in files}
    reason = MIXED_PATIENTS if len(patients) > 1 else NO_PATIENT_ID if patients == {None} else None
    study = Received(
        key=pseudonyms.study_key(uid),
        study_instance_uid=uid,
        identity=files[0].header.identity if reason is None else None,
        instances=tuple(sorted((file.instance for file in files), key=lambda instance: instance.path.name)),
    )
    return study, reason
