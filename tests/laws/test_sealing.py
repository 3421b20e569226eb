"""Laws of sealed files: what is opened is what was sealed, byte for byte, or nothing is opened at all."""

import io
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto.payload import CHUNK_BYTES, TAG_BYTES
from shared.crypto.sealing import AgeIdentity, decrypt, encrypt, generate_identity
from shared.errors import SealedFileInvalid

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
    """For every byte string."""
    assert opened(sealed(data)) == data


@pytest.mark.parametrize("size", SIZES)
def test_every_size_around_a_chunk_returns(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    assert opened(sealed(data)) == data


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    """One byte changed anywhere, header and payload alike."""
    good, start = sample()
    where = data.draw(st.one_of(st.integers(0, start), st.integers(0, len(good) - 1)))
    bad = bytearray(good)
    bad[where] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SealedFileInvalid):
        opened(bytes(bad))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_cut_is_found(data: st.DataObject) -> None:
    """Cut short at any place, chunk borders included."""
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
    """Any other sequence of the very same chunks."""
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
