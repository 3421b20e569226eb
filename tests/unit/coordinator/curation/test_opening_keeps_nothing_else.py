"""Opening a sealed study: what the site sealed comes out; of anything else not a byte stays."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from pydantic import ValidationError

from coordinator.curation.keys import load_curator_keys, make_curator_keys
from coordinator.curation.opening import OpenedStudy, list_opened, open_sealed
from shared.crypto.contents import Contents
from shared.crypto.sealing import decrypt, encrypt, generate_identity
from shared.crypto.signing import SigningKey, sign_manifest
from shared.errors.inputs import SourceMissing
from shared.errors.protocol import ProtocolMismatch
from shared.errors.settings import KeyFileExists
from shared.errors.studies import ManifestInvalid, SealedFileInvalid
from shared.errors.trust import SignatureInvalid
from shared.ids import Sha256, Uid
from shared.manifest import SignedManifest, canonical_json
from tests.factories.validated import CLINICAL, PROTOCOL, SealedStudy, make_sealed, make_validated


@pytest.fixture
def study(tmp_path: Path) -> SealedStudy:
    return make_sealed(tmp_path)


def opened(study: SealedStudy, out: Path, **changes: Any) -> OpenedStudy:
    arguments: dict[str, Any] = {
        "ciphertext": study.sealed.ciphertext,
        "signed": study.sealed.manifest,
        "identity": study.identity,
        "site_key": study.signing.public,
        "protocol_digest": PROTOCOL,
        "out": out,
    }
    return open_sealed(**(arguments | changes))


def test_what_was_sealed_comes_out(study: SealedStudy, tmp_path: Path) -> None:
    result = opened(study, tmp_path / "opened")
    sources = {path.read_bytes() for path in (tmp_path / "library").iterdir()}
    assert {path.read_bytes() for path in result.instances} == sources
    assert result.clinical is not None
    assert result.clinical.read_bytes() == canonical_json(dict(CLINICAL))
    assert result.folder == tmp_path / "opened" / "123456" / study.sealed.manifest.manifest.study
    assert len(list(result.folder.iterdir())) == len(sources) + 4
    assert list_opened(tmp_path / "opened") == (result,)


def test_a_study_without_a_clinical_row_opens(tmp_path: Path) -> None:
    study = make_sealed(tmp_path, make_validated(tmp_path / "library", clinical=False))
    assert opened(study, tmp_path / "opened").clinical is None


def test_opening_again_replaces_the_earlier_opening(study: SealedStudy, tmp_path: Path) -> None:
    first = opened(study, tmp_path / "opened")
    first.instances[0].write_bytes(b"damaged since")
    second = opened(study, tmp_path / "opened")
    assert second == first
    assert second.instances[0].read_bytes() != b"damaged since"
    assert [path.name for path in second.folder.parent.iterdir()] == [second.folder.name]


def test_what_a_killed_process_left_is_cleared(study: SealedStudy, tmp_path: Path) -> None:
    folder = tmp_path / "opened" / "123456"
    leftover = folder / f".{study.sealed.manifest.manifest.study}.unfinished"
    leftover.mkdir(parents=True)
    (leftover / "contents.json").write_text("half")
    opened(study, tmp_path / "opened")
    assert not leftover.exists()


def resigned(study: SealedStudy, /, **changes: object) -> SignedManifest:
    """A manifest with other values, validly signed by the site: a site that errs or lies."""
    return sign_manifest(study.sealed.manifest.manifest.model_copy(update=changes), study.signing)


def test_a_manifest_of_another_key_is_refused(study: SealedStudy, tmp_path: Path) -> None:
    with pytest.raises(SignatureInvalid, match="manifest"):
        opened(study, tmp_path / "opened", site_key=SigningKey.generate().public)
    assert not (tmp_path / "opened").exists()


def test_another_protocol_is_refused_by_name(study: SealedStudy, tmp_path: Path) -> None:
    with pytest.raises(ProtocolMismatch, match="d" * 64):
        opened(study, tmp_path / "opened", protocol_digest=Sha256("d" * 64))


def test_another_curators_study_is_refused(study: SealedStudy, tmp_path: Path) -> None:
    with pytest.raises(SealedFileInvalid, match="another key"):
        opened(study, tmp_path / "opened", identity=generate_identity())


def test_a_file_that_is_not_there_is_named(study: SealedStudy, tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="nowhere"):
        opened(study, tmp_path / "opened", ciphertext=tmp_path / "nowhere")
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"patient": "123456-000002"},
        {"study": Uid("1.2.3")},
        {"agreement_version": 2},
        {"agreement": "A-000000000000"},
        {"series_count": 3},
        {"instance_count": 5},
        {"modalities": ("CT",)},
        {"contents_sha256": "e" * 64},
        {"site_id": "654321"},
    ],
)
def test_a_manifest_that_says_other_than_the_contents_is_refused(
    study: SealedStudy, tmp_path: Path, changes: dict[str, object]
) -> None:
    """Even validly signed."""
    with pytest.raises(ManifestInvalid):
        opened(study, tmp_path / "opened", signed=resigned(study, **changes))
    assert not (tmp_path / "opened").exists()


@pytest.mark.parametrize("changes", [{"ciphertext_size": 1}, {"ciphertext_sha256": "e" * 64}])
def test_a_file_of_another_size_or_hash_is_refused(
    study: SealedStudy, tmp_path: Path, changes: dict[str, object]
) -> None:
    with pytest.raises(SealedFileInvalid):
        opened(study, tmp_path / "opened", signed=resigned(study, **changes))
    assert not (tmp_path / "opened").exists()


def test_a_study_larger_than_the_limit_is_refused_unread(study: SealedStudy, tmp_path: Path) -> None:
    with pytest.raises(ManifestInvalid, match="more than 1000 bytes"):
        opened(study, tmp_path / "opened", largest=1000)
    assert not (tmp_path / "opened").exists()


Members = list[tuple[tarfile.TarInfo, bytes]]


def forged(study: SealedStudy, folder: Path, plain: bytes) -> dict[str, Any]:
    """`plain` sealed to the curator under a validly signed manifest that states its size and hash."""
    target = folder / "forged.age"
    with target.open("wb") as file:
        encrypt([study.identity.recipient], io.BytesIO(plain), file)
    data = target.read_bytes()
    signed = resigned(study, ciphertext_size=len(data), ciphertext_sha256=hashlib.sha256(data).hexdigest())
    return {"ciphertext": target, "signed": signed}


def unpacked(study: SealedStudy) -> Members:
    data = io.BytesIO()
    with study.sealed.ciphertext.open("rb") as source:
        decrypt(study.identity, source, data)
    plain = zstd.decompress(data.getvalue())
    with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
        return [(member, archive.extractfile(member).read()) for member in archive]  # type: ignore[union-attr]  # all are files


def packed(members: Members, *, tail: bytes = bytes(1024)) -> bytes:
    parts = [info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512) for info, data in members]
    return b"".join(parts) + tail


def renamed(index: int, name: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        members[index][0].name = name

    return change


def linked(kind: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        info = members[1][0]
        info.type, info.linkname = kind, "/etc/passwd"

    return change


def attribute(name: str, value: object) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        setattr(members[1][0], name, value)

    return change


def extra(name: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        info = tarfile.TarInfo(name)
        info.mode, info.size = 0o444, 3
        members.append((info, b"abc"))

    return change


def other_content(members: Members) -> None:
    info, data = members[1]
    members[1] = (info, bytes([data[0] ^ 1]) + data[1:])


def other_size(members: Members) -> None:
    info, data = members[1]
    info.size = len(data) - 1
    members[1] = (info, data[:-1])


HOSTILE: dict[str, Callable[[Members], object]] = {
    "extra member": extra("9.9.9.dcm"),
    "extra member outside": extra("../outside"),
    "duplicate": lambda members: members.append(members[1]),
    "duplicate contents": lambda members: members.insert(1, members[0]),
    "missing member": lambda members: members.pop(2),
    "missing last": lambda members: members.pop(),
    "only contents": lambda members: members.__delitem__(slice(1, None)),
    "contents not first": lambda members: members.insert(0, members.pop(1)),
    "no contents": lambda members: members.pop(0),
    "empty": lambda members: members.clear(),
    "swapped": lambda members: members.insert(1, members.pop(2)),
    "absolute name": renamed(1, "/tmp/escape.dcm"),
    "parent name": renamed(1, "../escape.dcm"),
    "nested name": renamed(1, "a/b.dcm"),
    "other name": renamed(1, "1.2.3.4.dcm"),
    "symbolic link": linked(tarfile.SYMTYPE),
    "hard link": linked(tarfile.LNKTYPE),
    "device": linked(tarfile.CHRTYPE),
    "folder": linked(tarfile.DIRTYPE),
    "a time": attribute("mtime", 1),
    "an owner": attribute("uname", "root"),
    "set-uid": attribute("mode", 0o4755),
    "other content": other_content,
    "other size": other_size,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("compress", [True, False], ids=["zstd", "bare"])
def test_a_hostile_archive_leaves_nothing(study: SealedStudy, tmp_path: Path, name: str, compress: bool) -> None:
    """A site with valid keys and signatures can put nothing on the curator's disk but what it listed."""
    members = unpacked(study)
    HOSTILE[name](members)
    plain = packed(members)
    plain = zstd.compress(plain) if compress else plain
    with pytest.raises((SealedFileInvalid, ManifestInvalid)):
        opened(study, tmp_path / "opened", **forged(study, tmp_path, plain))
    assert not (tmp_path / "opened").exists()


def test_the_forger_of_these_tests_can_also_be_honest(study: SealedStudy, tmp_path: Path) -> None:
    """Without a change the same way of packing is accepted, so each refusal above has its own cause."""
    for plain in (packed(unpacked(study)), zstd.compress(packed(unpacked(study)))):
        opened(study, tmp_path / "opened", **forged(study, tmp_path, plain))


def endless(good: bytes) -> bytes:
    """A frame that holds all data but was never ended."""
    compressor = zstd.ZstdCompressor()
    return compressor.compress(good) + compressor.flush(compressor.FLUSH_BLOCK)


def tails(good: bytes) -> dict[str, bytes]:
    frame = zstd.compress(good)
    return {
        "no end": zstd.compress(good[:-1024]),
        "half an end": zstd.compress(good[:-512]),
        "a longer end": zstd.compress(good + bytes(512)),
        "bytes after the end": zstd.compress(good + b"x"),
        "bytes after the end, bare": good + b"x",
        "bytes after the frame": frame + b"x",
        "a second frame": frame + zstd.compress(b""),
        "a skippable frame": frame + b"\x50\x2a\x4d\x18\x04\0\0\0hide",
        "a frame cut short": frame[:-1],
        "a frame without its empty last block": endless(good),
        "a bomb behind": zstd.compress(good + bytes(64 << 20)),
        "garbage": b"\x28\xb5\x2f\xfdgarbage",
        "nothing": b"",
    }


@pytest.mark.parametrize("name", tails(b""))
def test_nothing_hides_behind_the_end(study: SealedStudy, tmp_path: Path, name: str) -> None:
    plain = tails(packed(unpacked(study)))[name]
    with pytest.raises(SealedFileInvalid):
        opened(study, tmp_path / "opened", **forged(study, tmp_path, plain))
    assert not (tmp_path / "opened").exists()


def relisted(study: SealedStudy, folder: Path, listing: bytes) -> dict[str, Any]:
    members = unpacked(study)
    members[0][0].size = len(listing)
    members[0] = (members[0][0], listing)
    changed = forged(study, folder, packed(members))
    manifest = changed["signed"].manifest.model_copy(update={"contents_sha256": hashlib.sha256(listing).hexdigest()})
    return changed | {"signed": sign_manifest(manifest, study.signing)}


def test_contents_have_one_spelling(study: SealedStudy, tmp_path: Path) -> None:
    """A list that is not canonical, not in order or not a list is refused, even though its digest was signed."""
    good = unpacked(study)[0][1]
    contents = Contents.model_validate_json(good)
    swapped = contents.model_copy(update={"instances": contents.instances[::-1]})
    doubled = contents.model_copy(update={"instances": (contents.instances[0], *contents.instances)})
    for listing in (good + b" ", good.replace(b":", b": ", 1), canonical_json(swapped), canonical_json(doubled), b"[]"):
        with pytest.raises(ManifestInvalid):
            opened(study, tmp_path / "opened", **relisted(study, tmp_path, listing))
    assert not (tmp_path / "opened").exists()


def test_contents_in_another_spelling_than_signed_are_refused(study: SealedStudy, tmp_path: Path) -> None:
    members = unpacked(study)
    listing = members[0][1] + b" "
    members[0][0].size = len(listing)
    members[0] = (members[0][0], listing)
    with pytest.raises(ManifestInvalid, match="not the ones that were signed"):
        opened(study, tmp_path / "opened", **forged(study, tmp_path, packed(members)))


def test_contents_list_each_instance_once(study: SealedStudy) -> None:
    """Also under two series."""
    contents = Contents.model_validate_json(unpacked(study)[0][1])
    plain = contents.model_dump(mode="json")
    first = plain["instances"][0]
    for twin in (first, first | {"series_instance_uid": "0.1"}):
        with pytest.raises(ValidationError):
            Contents.model_validate(plain | {"instances": [twin, *plain["instances"]]})


def test_a_manifest_that_names_another_recipient_is_refused(study: SealedStudy, tmp_path: Path) -> None:
    """Even though this curator's key would open it."""
    signed = resigned(study, recipient=generate_identity().recipient)
    with pytest.raises(SealedFileInvalid, match="another key"):
        opened(study, tmp_path / "opened", signed=signed)


def test_a_failed_opening_leaves_the_earlier_one(study: SealedStudy, tmp_path: Path) -> None:
    first = opened(study, tmp_path / "opened")
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    members = unpacked(study)
    other_content(members)
    with pytest.raises(SealedFileInvalid):
        opened(study, tmp_path / "opened", **forged(study, tmp_path, packed(members)))
    assert {path: path.read_bytes() for path in first.folder.parent.rglob("*") if path.is_file()} == before


def test_curator_keys_are_made_once(tmp_path: Path) -> None:
    keys = make_curator_keys(tmp_path / "keys")
    loaded = load_curator_keys(tmp_path / "keys")
    assert loaded.identity.recipient == keys.identity.recipient
    assert loaded.signing.fingerprint == keys.signing.fingerprint
    (tmp_path / "keys" / "age.key").unlink()
    with pytest.raises(KeyFileExists):
        make_curator_keys(tmp_path / "keys")
    assert not (tmp_path / "keys" / "age.key").exists()
