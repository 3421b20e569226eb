"""A sealed study holds exactly what was validated, or nothing is sealed."""

import io
import subprocess
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from backports import zstd
from pydicom.uid import RLELossless

from shared.crypto.recipients import generate_identity
from shared.crypto.sealing import AgeIdentity, decrypt
from shared.crypto.signing import SigningKey, verify_manifest
from shared.errors.inputs import InvalidIdentifier
from shared.errors.storage import DiskFull
from shared.errors.studies import ManifestInvalid
from shared.ids import Sha256, SiteId
from site_node.seal.package import load_sealed, seal
from site_node.study import Sealed, Validated
from tests.factories.dicom import write_file
from tests.factories.validated import AGREEMENT, PROTOCOL, SITE, digest_of, make_validated
from tests.peers import needs_peer


class Site:
    """One site's keys and outbox."""

    def __init__(self, folder: Path, identity: AgeIdentity) -> None:
        self.outbox = folder / "outbox"
        self.signing = SigningKey.generate()
        self.identity = identity

    def seal(self, study: Validated, **changes: Any) -> Sealed:
        arguments: dict[str, Any] = {
            "outbox": self.outbox,
            "site_id": SITE,
            "agreement": AGREEMENT,
            "agreement_version": 1,
            "recipient": self.identity.recipient,
            "protocol_digest": PROTOCOL,
            "sequence": 1,
            "signing_key": self.signing,
        }
        return seal(study, **(arguments | changes))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.outbox.iterdir()) if self.outbox.exists() else []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, generate_identity("x25519"))


@pytest.fixture
def study(tmp_path: Path) -> Validated:
    return make_validated(tmp_path / "library")


def inside(sealed: Sealed, identity: AgeIdentity) -> bytes:
    target = io.BytesIO()
    with sealed.ciphertext.open("rb") as source:
        decrypt(identity, source, target)
    return target.getvalue()


def test_the_outbox_holds_a_ciphertext_and_a_signed_manifest(site: Site, study: Validated) -> None:
    sealed = site.seal(study)
    manifest = verify_manifest(sealed.manifest, site.signing.public)
    digest = manifest.contents_sha256
    assert site.files() == [f"{digest}.age", f"{digest}.manifest.json"]
    assert (manifest.series_count, manifest.instance_count, manifest.modalities) == (2, 4, ("CT", "DX"))
    assert sealed.ciphertext.stat().st_size == manifest.ciphertext_size


def test_any_tar_reads_what_is_inside(site: Site, study: Validated) -> None:
    """A zstd frame around a tar: the list first, then plain files under new UIDs, without time or owner."""
    plain = zstd.decompress(inside(site.seal(study), site.identity))
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        members = archive.getmembers()
        assert members[0].name == "contents.json"
        assert members[-1].name == "clinical.json"
        assert {member.name for member in members[1:-1]} == {f"{i.sop_instance_uid}.dcm" for i in study.study.instances}
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.type) for m in members} == {(0, 0, 0, "", "", b"0")}
        for instance in study.study.instances:
            extracted = archive.extractfile(f"{instance.sop_instance_uid}.dcm")
            assert extracted is not None
            assert extracted.read() == instance.path.read_bytes()


def test_the_tools_of_a_hospital_open_it(site: Site, study: Validated, tmp_path: Path) -> None:
    """`age -d | zstd -d | tar -x`, should this program no longer exist."""
    age, zstd, tar = needs_peer("age"), needs_peer("zstd"), needs_peer("tar")
    sealed = site.seal(study)
    (tmp_path / "key").write_text(site.identity.unsafe_text)
    shell = 'set -o pipefail; "$1" -d -i "$2" "$3" | "$4" -d | "$5" -t'
    arguments = [age, str(tmp_path / "key"), str(sealed.ciphertext), zstd, tar]
    listing = subprocess.run(
        ["bash", "-c", shell, "bash", *arguments], capture_output=True, check=True, text=True
    ).stdout
    assert len(listing.splitlines()) == len(study.study.instances) + 2


def test_compressed_images_are_not_compressed_again(site: Site, tmp_path: Path) -> None:
    study = make_validated(tmp_path / "rle", syntax=RLELossless)
    assert inside(site.seal(study), site.identity).startswith(b"contents.json\0")


def test_sealing_again_finds_what_is_there(site: Site, study: Validated) -> None:
    """Same contents digest, same file, and the sequence number of the first time."""
    first = site.seal(study)
    before = first.ciphertext.stat()
    assert site.seal(study, sequence=2) == first
    assert first.ciphertext.stat().st_ino == before.st_ino
    assert load_sealed(site.outbox, first.manifest.manifest.contents_sha256, key=study.key) == first


def test_for_another_recipient_it_is_sealed_anew(site: Site, study: Validated) -> None:
    first = site.seal(study)
    second = site.seal(study, recipient=generate_identity("x25519").recipient, sequence=2)
    assert second.manifest.manifest.recipient != first.manifest.manifest.recipient
    assert second.manifest.manifest.contents_sha256 == first.manifest.manifest.contents_sha256
    assert len(site.files()) == 2


def test_a_file_that_was_damaged_since_is_sealed_anew(site: Site, study: Validated) -> None:
    first = site.seal(study)
    data = bytearray(first.ciphertext.read_bytes())
    data[-1] ^= 1
    first.ciphertext.write_bytes(data)
    second = site.seal(study, sequence=2)
    assert second.manifest.manifest.sequence == 2
    assert inside(second, site.identity)


def test_under_another_signing_key_it_is_sealed_anew(site: Site, study: Validated) -> None:
    site.seal(study)
    key = SigningKey.generate()
    verify_manifest(site.seal(study, signing_key=key).manifest, key.public)


def test_a_manifest_never_stands_beside_another_ciphertext(
    site: Site, study: Validated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two files, the study counts as not sealed."""

    def killed(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    first = site.seal(study)
    monkeypatch.setattr("site_node.seal.package.write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        site.seal(study, recipient=generate_identity("x25519").recipient)
    assert load_sealed(site.outbox, first.manifest.manifest.contents_sha256, key=study.key) is None


def test_another_agreement_version_is_another_sealed_study(site: Site, study: Validated) -> None:
    """It is part of the idempotency key."""
    first, second = site.seal(study), site.seal(study, agreement_version=2)
    assert first.manifest.manifest.contents_sha256 != second.manifest.manifest.contents_sha256
    assert len(site.files()) == 4


def test_an_instance_that_changed_after_validation_is_not_sealed(site: Site, study: Validated) -> None:
    path = study.study.instances[1].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ManifestInvalid, match="changed after"):
        site.seal(study)
    assert site.files() == []


@pytest.mark.parametrize("change", [b"", b"more"])
def test_an_instance_that_grew_or_shrank_is_not_sealed(site: Site, study: Validated, change: bytes) -> None:
    path = study.study.instances[-1].path
    path.write_bytes(path.read_bytes() + change if change else path.read_bytes()[:-2])
    with pytest.raises(ManifestInvalid):
        site.seal(study)
    assert site.files() == []


def test_an_instance_that_is_gone_is_not_sealed(site: Site, study: Validated) -> None:
    study.study.instances[1].path.unlink()
    with pytest.raises(ManifestInvalid):
        site.seal(study)
    assert site.files() == []


def test_another_sites_study_is_not_sealed(site: Site, study: Validated) -> None:
    with pytest.raises(ManifestInvalid, match="another site"):
        site.seal(study, site_id=SiteId("654321"))


def test_a_recipient_that_is_none_is_refused(site: Site, study: Validated) -> None:
    with pytest.raises(InvalidIdentifier):
        site.seal(study, recipient="age1nonsense")
    assert site.files() == []


def test_a_full_disk_leaves_the_outbox_as_it_was(site: Site, study: Validated, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    first = site.seal(study)
    before = site.files()
    monkeypatch.setattr("shared.durable.os.fsync", full)
    with pytest.raises(DiskFull):
        site.seal(study, agreement_version=2)
    monkeypatch.undo()
    assert site.files() == before
    assert site.seal(study) == first


def test_what_a_killed_process_left_is_cleared(site: Site, study: Validated) -> None:
    sealed = site.seal(study)
    unfinished = site.outbox / f".{sealed.ciphertext.name}.0123456789ab.tmp"
    unfinished.write_bytes(b"half")
    sealed.ciphertext.unlink()
    site.seal(study)
    assert not unfinished.exists()


def with_files(study: Validated) -> Validated:
    """The study with the sizes and digests of its files as they are now."""
    instances = [
        instance.model_copy(update={"size": instance.path.stat().st_size}) for instance in study.study.instances
    ]
    digests = {instance.sop_instance_uid: digest_of(instance.path) for instance in instances}
    changed = study.study.model_copy(update={"instances": tuple(instances)})
    return study.model_copy(update={"study": changed, "digests": digests})


def test_every_image_but_the_first_of_a_series_must_still_be_there_too(site: Site, study: Validated) -> None:
    """Whichever is gone, nothing is sealed and a person hears why."""
    for instance in study.study.instances:
        data = instance.path.read_bytes()
        instance.path.unlink()
        with pytest.raises(ManifestInvalid, match=r"cannot be read|gone since"):
            site.seal(study)
        assert site.files() == []
        instance.path.write_bytes(data)
    assert site.seal(study)


def test_what_is_no_image_is_not_sealed(site: Site, study: Validated) -> None:
    """Although its digest is the one that was validated."""
    study.study.instances[-1].path.write_bytes(b"no dicom at all")
    with pytest.raises(ManifestInvalid, match="cannot be read"):
        site.seal(with_files(study))
    assert site.files() == []


@pytest.mark.parametrize("modality", ["ct", "C/T", "", "QUAGGA-OKAPI-BONG"])
def test_a_modality_that_is_no_code_does_not_travel(site: Site, study: Validated, modality: str) -> None:
    """It stands in clear in the manifest, where no text of a hospital may."""
    film = study.study.instances[-1].path
    dataset = pydicom.dcmread(film)
    with warnings.catch_warnings(action="ignore"):
        dataset.Modality = modality
        dataset.save_as(film)
        with pytest.raises(ManifestInvalid, match="no code"):
            site.seal(with_files(study))
    assert site.files() == []


def test_what_was_sealed_is_read_back_under_its_own_digest(site: Site, study: Validated) -> None:
    """A manifest of other contents, one that is none, or a ciphertext of another size is nothing that was sealed."""
    sealed = site.seal(study)
    digest, other = sealed.manifest.manifest.contents_sha256, Sha256("0" * 64)
    for suffix in ("age", "manifest.json"):
        (site.outbox / f"{other}.{suffix}").write_bytes((site.outbox / f"{digest}.{suffix}").read_bytes())
    assert load_sealed(site.outbox, other, key=study.key) is None
    sealed.ciphertext.write_bytes(sealed.ciphertext.read_bytes()[:-1])
    assert load_sealed(site.outbox, digest, key=study.key) is None
    (site.outbox / f"{digest}.manifest.json").write_bytes(b"{}")
    assert load_sealed(site.outbox, digest, key=study.key) is None


def test_the_outbox_is_made_where_it_is_missing(site: Site, study: Validated) -> None:
    """With the folders above it."""
    site.outbox = site.outbox / "of" / "another"
    assert site.seal(study).ciphertext.parent == site.outbox


def test_a_study_without_a_row_has_none_sealed(site: Site, tmp_path: Path) -> None:
    """The archive ends with the images."""
    study = make_validated(tmp_path / "rowless", clinical=False)
    plain = zstd.decompress(inside(site.seal(study), site.identity))
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        assert len(archive.getmembers()) == 1 + len(study.study.instances)


def test_a_study_is_compressed_unless_every_series_is(site: Site, study: Validated) -> None:
    """One series of plain pixels beside a compressed one is worth it."""
    film = study.study.instances[-1].path
    write_file(pydicom.dcmread(film), film, RLELossless)
    assert inside(site.seal(with_files(study)), site.identity).startswith(b"\x28\xb5\x2f\xfd")
