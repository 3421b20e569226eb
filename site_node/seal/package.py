"""Write a validated study into the outbox: tar -> zstd -> age, streamed, then the signed manifest.

The outbox holds `<contents digest>.age` and `<contents digest>.manifest.json`; the manifest is written last, so a
study is sealed when its manifest is there. Sealing a study again finds it by its contents digest.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom
from pydantic import ValidationError
from pydicom.errors import InvalidDicomError

from shared.crypto.archive import ArchiveWriter, Compressor
from shared.crypto.contents import CONTENTS_NAME, Contents, ContentsClinical, ContentsInstance
from shared.crypto.payload import Writable
from shared.crypto.sealing import seal_writer
from shared.crypto.signing import SigningKey, sign_manifest, verify_manifest
from shared.durable import clear_unfinished, replacing, write_whole
from shared.errors.studies import ManifestInvalid
from shared.errors.trust import SignatureInvalid
from shared.ids import AgreementId, Sha256, SiteId, StudyKey, Uid
from shared.manifest import SignedManifest, canonical_json
from site_node.study import DeidentifiedInstance, Sealed, Validated

_PIECE = 1 << 20  # bytes
_MODALITY = re.compile(r"[A-Z0-9_ ]{1,16}")  # a DICOM code string (PS3.5 section 6.2); it travels in clear


def seal(
    study: Validated,
    *,
    outbox: Path,
    site_id: SiteId,
    agreement: AgreementId,
    agreement_version: int,
    recipient: str,
    protocol_digest: Sha256,
    sequence: int,
    signing_key: SigningKey,
) -> Sealed:
    """Encrypt a study to `recipient`, the curator the agreement names, and sign its manifest.

    A study sealed before, under the same agreement, protocol and recipient, is returned as it is, with the sequence
    number it had. Raises `ManifestInvalid` when the study is another site's or an instance is no longer what was
    validated, `InvalidIdentifier` for an invalid `recipient`, `DiskFull`. On any error the outbox is as before.
    """
    if study.study.site_id != site_id:
        raise ManifestInvalid(problem="the study was de-identified for another site")
    clinical = None if study.study.clinical is None else canonical_json(study.study.clinical)
    modalities, compressible = _read_headers(study)
    contents = _contents(
        study,
        clinical,
        modalities=modalities,
        agreement=agreement,
        agreement_version=agreement_version,
        protocol_digest=protocol_digest,
    )
    previous = load_sealed(outbox, contents.digest, key=study.key)
    if previous is not None and _is_reusable(previous, recipient, signing_key):
        return previous
    manifest_file, ciphertext = _files(outbox, contents.digest)
    measured = _encrypt(study, contents, clinical, ciphertext, recipient, compress=compressible)
    manifest = contents.manifest(
        ciphertext_sha256=measured.sha256, ciphertext_size=measured.size, recipient=recipient, sequence=sequence
    )
    signed = sign_manifest(manifest, signing_key)
    write_whole(manifest_file, canonical_json(signed))
    return Sealed(key=study.key, ciphertext=ciphertext, manifest=signed)


def load_sealed(outbox: Path, contents_sha256: Sha256, *, key: StudyKey) -> Sealed | None:
    """A study that was sealed before; `None` unless its manifest exists and its file has the size that it states."""
    manifest_file, ciphertext = _files(outbox, contents_sha256)
    try:
        signed = SignedManifest.model_validate_json(manifest_file.read_bytes())
        size = ciphertext.stat().st_size
    except (OSError, ValidationError):
        return None
    if size != signed.manifest.ciphertext_size or signed.manifest.contents_sha256 != contents_sha256:
        return None
    return Sealed(key=key, ciphertext=ciphertext, manifest=signed)


def _contents(
    study: Validated,
    clinical: bytes | None,
    *,
    modalities: tuple[str, ...],
    agreement: AgreementId,
    agreement_version: int,
    protocol_digest: Sha256,
) -> Contents:
    return Contents(
        site_id=study.study.site_id,
        agreement=agreement,
        agreement_version=agreement_version,
        protocol_digest=protocol_digest,
        profile_digest=study.study.profile_digest,
        study=study.study.study_instance_uid,
        patient=study.study.patient,
        modalities=modalities,
        instances=tuple(_listing(instance, study.digests) for instance in _ordered(study)),
        clinical=None if clinical is None else ContentsClinical(size=len(clinical), sha256=_digest(clinical)),
        accepted=study.study.accepted,
    )


def _is_reusable(previous: Sealed, recipient: str, signing_key: SigningKey) -> bool:
    """Whether what was sealed before is whole, for this recipient and signed with this key."""
    try:
        manifest = verify_manifest(previous.manifest, signing_key.public)
    except SignatureInvalid:
        return False
    with previous.ciphertext.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest() == manifest.ciphertext_sha256
    return whole and manifest.recipient == recipient


class _MeasuringWriter:
    """Counts and hashes the bytes that it passes on to a file."""

    def __init__(self, target: Writable) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        self._target.write(data)

    @property
    def sha256(self) -> Sha256:
        return Sha256(self._hash.hexdigest())


def _read_headers(study: Validated) -> tuple[tuple[str, ...], bool]:
    """The study's modalities, and whether compressing it is worthwhile; both are the same throughout a series."""
    first = {instance.series_instance_uid: instance.path for instance in reversed(_ordered(study))}
    headers = [_read_header(path) for path in first.values()]
    return tuple(sorted({modality for modality, _ in headers})), not all(encapsulated for _, encapsulated in headers)


def _read_header(path: Path) -> tuple[str, bool]:
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"])
        modality, syntax = str(dataset.Modality), dataset.file_meta.TransferSyntaxUID
    except (InvalidDicomError, AttributeError, OSError) as error:
        raise ManifestInvalid("cannot read a head", problem="an instance cannot be read") from error
    if not _MODALITY.fullmatch(modality):
        raise ManifestInvalid(problem="an instance's modality is no code")
    return modality, bool(syntax.is_encapsulated)


def _encrypt(
    study: Validated, contents: Contents, clinical: bytes | None, file: Path, recipient: str, *, compress: bool
) -> _MeasuringWriter:
    paths = {instance.sop_instance_uid: instance.path for instance in study.study.instances}
    outbox = file.parent
    outbox.mkdir(parents=True, exist_ok=True)
    clear_unfinished(file)
    with replacing(file) as target:
        measured = _MeasuringWriter(target)
        sealing = seal_writer([recipient], measured)
        archive = ArchiveWriter(Compressor(sealing) if compress else sealing)
        listing = canonical_json(contents)
        archive.add(CONTENTS_NAME, len(listing), [listing])
        for instance, member in zip(contents.instances, contents.members(), strict=False):  # the clinical row is last
            archive.add(member.name, member.size, _unchanged(paths[instance.sop_instance_uid], member.sha256))
        if clinical is not None:
            archive.add(contents.members()[-1].name, len(clinical), [clinical])
        archive.finish()
        # A previous manifest belongs to the ciphertext that is replaced next: it is deleted first, in case of a crash.
        _files(outbox, contents.digest)[0].unlink(missing_ok=True)
    return measured


def _unchanged(path: Path, sha256: Sha256) -> Iterator[bytes]:
    """A file's pieces; raises `ManifestInvalid` at its end when it is not the one that was validated."""
    running = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                running.update(piece)
                yield piece
    except FileNotFoundError as error:
        raise ManifestInvalid(problem="an instance is gone since it was validated") from error
    if running.hexdigest() != sha256:
        raise ManifestInvalid(problem="an instance changed after it was validated")


def _ordered(study: Validated) -> list[DeidentifiedInstance]:
    return sorted(study.study.instances, key=lambda each: (each.series_instance_uid, each.sop_instance_uid))


def _listing(instance: DeidentifiedInstance, digests: Mapping[Uid, Sha256]) -> ContentsInstance:
    return ContentsInstance(
        series_instance_uid=instance.series_instance_uid,
        sop_instance_uid=instance.sop_instance_uid,
        size=instance.size,
        sha256=digests[instance.sop_instance_uid],
    )


def _files(outbox: Path, contents_sha256: Sha256) -> tuple[Path, Path]:
    return outbox / f"{contents_sha256}.manifest.json", outbox / f"{contents_sha256}.age"


def _digest(data: bytes) -> Sha256:
    return Sha256(hashlib.sha256(data).hexdigest())
