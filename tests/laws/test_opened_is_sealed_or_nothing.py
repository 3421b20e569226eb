"""Laws of sealed files: the opened bytes are the sealed bytes, or nothing is opened at all."""

import hashlib
import io
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.curation.opening import open_sealed
from shared.crypto.payload import CHUNK_BYTES, TAG_BYTES
from shared.crypto.sealing import AgeIdentity, decrypt, encrypt, generate_identity
from shared.crypto.signing import SigningKey, sign_manifest, verify_manifest
from shared.errors.studies import SealedFileInvalid
from shared.errors.trust import SignatureInvalid
from shared.manifest import Manifest, SignedManifest
from tests.factories.validated import PROTOCOL, SealedStudy, make_sealed

FULL = CHUNK_BYTES + TAG_BYTES
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5)


@cache
def identity() -> AgeIdentity:
    return generate_identity()


def sealed(data: bytes) -> bytes:
    target = io.BytesIO()
    encrypt([identity().recipient], io.BytesIO(data), target)
    return target.getvalue()


def opened(data: bytes) -> bytes:
    target = io.BytesIO()
    decrypt(identity(), io.BytesIO(data), target)
    return target.getvalue()


@cache
def sample() -> tuple[bytes, int]:
    """A sealed file of four chunks (the last is short) and where its payload's chunks start."""
    plain = bytes(range(256)) * (3 * CHUNK_BYTES // 256) + b"tail!"
    data = sealed(plain)
    return data, len(data) - 3 * FULL - len(b"tail!") - TAG_BYTES


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_what_was_sealed_is_what_is_opened(data: bytes) -> None:
    """Every byte string opens as it was sealed."""
    assert opened(sealed(data)) == data


@pytest.mark.parametrize("size", SIZES)
def test_every_size_around_a_chunk_returns(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert opened(sealed(data)) == data


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    """A file with one byte changed anywhere, in header or payload, does not open."""
    good, start = sample()
    where = data.draw(st.one_of(st.integers(0, start), st.integers(0, len(good) - 1)))
    bad = bytearray(good)
    bad[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealedFileInvalid):
        opened(bytes(bad))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_cut_is_found(data: st.DataObject) -> None:
    """A file cut short at any place, chunk borders included, does not open."""
    good, start = sample()
    borders = st.sampled_from([start + FULL * count for count in range(4)])
    end = data.draw(st.one_of(st.integers(0, len(good) - 1), borders))
    with pytest.raises(SealedFileInvalid):
        opened(good[:end])


@given(st.binary(min_size=1, max_size=100))
@settings(max_examples=40, deadline=None)
def test_anything_added_is_found(tail: bytes) -> None:
    with pytest.raises(SealedFileInvalid):
        opened(sample()[0] + tail)


@given(st.lists(st.integers(0, 3), max_size=6).filter(lambda order: order != [0, 1, 2, 3]))
@settings(max_examples=80, deadline=None)
def test_chunks_dropped_doubled_or_swapped_are_found(order: list[int]) -> None:
    """Any other sequence of the same chunks does not open."""
    good, start = sample()
    chunks = [good[start + FULL * place : start + FULL * (place + 1)] for place in range(4)]
    with pytest.raises(SealedFileInvalid):
        opened(good[:start] + b"".join(chunks[place] for place in order))


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_nothing_but_a_sealed_file_is_opened(data: bytes) -> None:
    for candidate in (data, b"age-encryption.org/v1\n" + data):
        with pytest.raises(SealedFileInvalid):
            opened(candidate)


@cache
def sealed_study() -> tuple[SealedStudy, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        study = make_sealed(Path(folder))
        return study, study.sealed.ciphertext.read_bytes()


def refused_whole(data: bytes) -> None:
    """Open `data` under a manifest that was made for it, so that only the seal itself can object."""
    study, _ = sealed_study()
    manifest = study.sealed.manifest.manifest.model_copy(
        update={"ciphertext_size": len(data), "ciphertext_sha256": hashlib.sha256(data).hexdigest()}
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "file.age").write_bytes(data)
        with pytest.raises(SealedFileInvalid):
            open_sealed(
                folder / "file.age",
                sign_manifest(manifest, study.signing),
                identity=study.identity,
                site_key=study.signing.public,
                protocol_digest=PROTOCOL,
                out=folder / "opened",
            )
        assert [path.name for path in folder.rglob("*")] == ["file.age"]


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_a_damaged_study_writes_nothing(data: st.DataObject) -> None:
    """A study with a byte changed, its end cut or bytes added is refused, and no file is left."""
    _, good = sealed_study()
    where = data.draw(st.integers(0, len(good) - 1))
    flipped = good[:where] + bytes([good[where] ^ data.draw(st.integers(1, 255))]) + good[where + 1 :]
    refused_whole(data.draw(st.sampled_from([flipped, good[:where], good + flipped[where:]])))


@pytest.mark.soak
@pytest.mark.parametrize("part", range(8))
def test_every_byte_counts(part: int) -> None:
    """Each changed bit of a sealed study's header, and a changed bit in each byte of its body: over 20,000 files."""
    _, good = sealed_study()
    for where in range(len(good)):
        if where < 2000 or where % 8 == part:
            refused_whole(good[:where] + bytes([good[where] ^ (1 << part)]) + good[where + 1 :])


OTHER: dict[str, object] = {
    "format": "ricord-manifest/2",
    "site_id": "654321",
    "agreement": "A-ba9876543210",
    "agreement_version": 2,
    "protocol_digest": "d" * 64,
    "study": "1.2.3",
    "patient": "123456-000002",
    "series_count": 9,
    "instance_count": 9,
    "modalities": ("MR",),
    "contents_sha256": "d" * 64,
    "ciphertext_sha256": "d" * 64,
    "ciphertext_size": 1,
    "recipient": "age1other",
    "sequence": 9,
}


def test_the_law_below_knows_every_field() -> None:
    assert OTHER.keys() == Manifest.model_fields.keys()


@pytest.mark.parametrize("field", OTHER)
def test_a_signature_binds_every_field(field: str) -> None:
    """A manifest in which any one field differs from what was signed is refused."""
    study, _ = sealed_study()
    signed = study.sealed.manifest
    assert verify_manifest(signed, study.signing.public) == signed.manifest
    changed = SignedManifest(
        manifest=signed.manifest.model_copy(update={field: OTHER[field]}), signature=signed.signature
    )
    with pytest.raises(SignatureInvalid):
        verify_manifest(changed, study.signing.public)


@given(st.binary(max_size=200), st.binary(max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_signature_is_for_one_text(first: bytes, second: bytes) -> None:
    key = SigningKey.generate()
    signature = key.sign(first)
    key.public.verify(first, signature)
    if second != first:
        with pytest.raises(SignatureInvalid):
            key.public.verify(second, signature)
