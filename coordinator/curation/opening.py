"""Open a sealed study with every check, and write it out whole or not at all.

The order is: signature, protocol, recipient, ciphertext size and hash; only then is anything decrypted. Inside,
`contents.json` must have the digest that the site signed and agree with the manifest, and the members that follow must
be exactly those it lists. Names and places on disk come from checked identifiers, never from the file.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from pydantic import ValidationError

from shared.agreement import Scope
from shared.crypto.archive import ArchiveReader
from shared.crypto.contents import CLINICAL_NAME, CONTENTS_NAME, Contents, Member
from shared.crypto.sealing import AgeIdentity, open_chunks
from shared.crypto.signing import VerifyKey, verify_manifest
from shared.durable import new_file, publish_folder, unfinished_folder, write_whole
from shared.errors.inputs import SourceMissing, SubmissionSuperseded
from shared.errors.protocol import ProtocolMismatch
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.frozen import Frozen
from shared.ids import Sha256, Uid
from shared.manifest import Manifest, SignedManifest, canonical_json

MANIFEST_NAME = "manifest.json"
ARRIVAL_NAME = "arrival.json"
LARGEST_STUDY = 64 << 30  # bytes, unpacked
_LARGEST_LISTING = 32 << 20  # bytes; about 100,000 instances


class Arrival(Frozen):
    """When an opened submission arrived, and of which earlier submissions of its study it holds the place."""

    number: int = 0  # by the coordinator's count, which rises with each arrival; 0: it was not noted
    superseded: tuple[Sha256, ...] = ()  # ids, the earliest first
    withdrawn: tuple[Uid, ...] = ()  # instances of the contents that are deleted since
    scope: Scope | None = None  # what the agreement under which it came covers


class OpenedStudy(Frozen):
    """A study as it lies, opened and checked, in `folder`.

    There are its instances, `contents.json`, `manifest.json` and `arrival.json`.
    """

    folder: Path
    signed: SignedManifest
    contents: Contents
    arrival: Arrival = Arrival()

    @property
    def submission(self) -> Sha256:
        """The id of the submission that is open."""
        return self.signed.manifest.submission

    @property
    def instances(self) -> tuple[Path, ...]:
        """The DICOM files, in the order of the contents, but those that were withdrawn."""
        uids = [instance.sop_instance_uid for instance in self.contents.instances]
        return tuple(self.folder / f"{uid}.dcm" for uid in uids if uid not in self.arrival.withdrawn)

    @property
    def clinical(self) -> Path | None:
        """The de-identified clinical row, where there is one."""
        return None if self.contents.clinical is None else self.folder / CLINICAL_NAME


def open_sealed(
    ciphertext: Path,
    signed: SignedManifest,
    *,
    identity: AgeIdentity,
    site_key: VerifyKey,
    protocol_digest: Sha256,
    out: Path,
    number: int = 0,
    scope: Scope | None = None,
    largest: int = LARGEST_STUDY,
    look: Callable[[Path, Contents], None] = lambda _folder, _contents: None,
) -> OpenedStudy:
    """Open `ciphertext` into `out/<SITEID>/<study UID>`; an opening of the same submission, or an earlier, is replaced.

    `number` says when it arrived, in the order of all submissions, and `scope` what its agreement covers.

    `look` is called with the unpacked study before it lies there, and raises where it may not.

    Raises `SignatureInvalid`, `ProtocolMismatch`, `ManifestInvalid` (manifest and contents disagree, or the unpacked
    study would pass `largest` bytes), `SealedFileInvalid`, `SourceMissing`, `DiskFull`; `SubmissionSuperseded` where a
    submission of the study that arrived later is open. After any of them `out` is as
    it was: no file of this study was added, changed or removed.
    """
    manifest = verify_manifest(signed, site_key)
    if manifest.protocol_digest != protocol_digest:
        raise ProtocolMismatch(held=protocol_digest, wanted=manifest.protocol_digest)
    if manifest.recipient != identity.recipient:
        raise SealedFileInvalid(problem="it is sealed to another key")
    target = out / manifest.site_id / manifest.study
    arrival = _arrival(target, manifest.submission, number).model_copy(update={"scope": scope})
    with _opened(ciphertext) as file:
        _check_ciphertext(file, manifest)
        with _new_folder(target) as folder:
            contents = _unpack(ArchiveReader(open_chunks(identity, file)), manifest, folder, largest)
            look(folder, contents)
            write_whole(folder / MANIFEST_NAME, canonical_json(signed))
            write_whole(folder / ARRIVAL_NAME, canonical_json(arrival))
            publish_folder(folder, target)
    return OpenedStudy(folder=target, signed=signed, contents=contents, arrival=arrival)


def list_opened(out: Path) -> tuple[OpenedStudy, ...]:
    """Every study opened into `out`, by site and study."""
    return tuple(read_opened(path.parent) for path in sorted(out.glob(f"[1-9]*/[0-9]*/{MANIFEST_NAME}")))


def read_opened(folder: Path) -> OpenedStudy:
    """A study as it lies in its folder, read without checking again."""
    arrival = folder / ARRIVAL_NAME  # earlier releases wrote none
    return OpenedStudy(
        folder=folder,
        signed=SignedManifest.model_validate_json((folder / MANIFEST_NAME).read_bytes()),
        contents=Contents.model_validate_json((folder / CONTENTS_NAME).read_bytes()),
        arrival=Arrival.model_validate_json(arrival.read_bytes()) if arrival.exists() else Arrival(),
    )


def _arrival(target: Path, submission: Sha256, number: int) -> Arrival:
    """What to note with a submission that is to lie in `target`; raises `SubmissionSuperseded`."""
    if not (target / MANIFEST_NAME).exists():
        return Arrival(number=number)
    here = read_opened(target)
    if here.submission == submission:
        return here.arrival.model_copy(update={"number": max(number, here.arrival.number)})
    if number < here.arrival.number:
        raise SubmissionSuperseded(submission=submission, by=here.submission)
    return Arrival(number=number, superseded=(*here.arrival.superseded, here.submission))


@contextmanager
def _opened(ciphertext: Path) -> Iterator[BufferedReader]:
    try:
        file = ciphertext.open("rb")
    except OSError as error:
        raise SourceMissing(source=str(ciphertext)) from error
    with file:
        yield file


def _check_ciphertext(file: BufferedReader, manifest: Manifest) -> None:
    """Check size, then hash; the same open file is decrypted afterwards, so no other file can replace it."""
    if os.fstat(file.fileno()).st_size != manifest.ciphertext_size:
        raise SealedFileInvalid(problem="its size is not the one its manifest states")
    if hashlib.file_digest(file, "sha256").hexdigest() != manifest.ciphertext_sha256:
        raise SealedFileInvalid(problem="its hash is not the one its manifest states")
    file.seek(0)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """The unfinished folder of `target`; after an error its parents are removed too, unless they were there before."""
    new_parents = [parent for parent in target.parents if not parent.exists()]
    try:
        with unfinished_folder(target, mode=0o700) as folder:
            yield folder
    finally:
        for parent in new_parents:
            _remove_if_empty(parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _unpack(archive: ArchiveReader, manifest: Manifest, folder: Path, largest: int) -> Contents:
    listing = archive.first(CONTENTS_NAME, _LARGEST_LISTING)
    contents = _parse_contents(listing, manifest)
    if sum(member.size for member in contents.members()) > largest:
        raise ManifestInvalid(problem=f"it would unpack to more than {largest} bytes")
    for member in contents.members():
        _extract(archive, member, folder)
    archive.end()
    write_whole(folder / CONTENTS_NAME, listing)
    return contents


def _parse_contents(listing: bytes, manifest: Manifest) -> Contents:
    """The contents, checked to be those that the site signed and to agree with its manifest."""
    if hashlib.sha256(listing).hexdigest() != manifest.contents_sha256:
        raise ManifestInvalid(problem="the contents are not the ones that were signed")
    try:
        contents = Contents.model_validate_json(listing)
    except ValidationError as error:
        raise ManifestInvalid("contents do not parse", problem="the contents are no list of a study") from error
    stated = contents.manifest(
        ciphertext_sha256=manifest.ciphertext_sha256,
        ciphertext_size=manifest.ciphertext_size,
        recipient=manifest.recipient,
        sequence=manifest.sequence,
    )
    if stated != manifest:
        raise ManifestInvalid(problem="it does not say what the contents say")
    return contents


def _extract(archive: ArchiveReader, member: Member, folder: Path) -> None:
    digest = hashlib.sha256()
    with new_file(folder / member.name) as target:
        for piece in archive.member(member.name, member.size):
            digest.update(piece)
            target.write(piece)
        if digest.hexdigest() != member.sha256:
            raise SealedFileInvalid(problem="a member's hash is not the one its contents list")
