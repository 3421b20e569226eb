"""The payload of an age file (c2sp.org/age, "Payload"): 64 KiB chunks, each under ChaCha20-Poly1305, in order.

A chunk's nonce is its number and whether it is the last, so a dropped, swapped, doubled, cut or added chunk fails.
Both ways hold two chunks in memory, whatever the file's size.
"""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from shared.crypto.stanzas import Fault, invalid

CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16


class Writable(Protocol):
    """Where bytes can be written."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`."""


class ChunkWriter:
    """Encrypts what is written to it; without `finish` the file has no last chunk and nobody can open it."""

    def __init__(self, key: bytes, target: Writable) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._target = target
        self._buffer = bytearray()
        self._count = 0

    def write(self, data: bytes | memoryview) -> int:
        """Buffer `data`; a full chunk is written once more is known to follow."""
        self._buffer += data
        full = max(0, len(self._buffer) - 1) // CHUNK_BYTES  # one byte at least is kept for the last chunk
        for start in range(0, full * CHUNK_BYTES, CHUNK_BYTES):
            self._emit(bytes(self._buffer[start : start + CHUNK_BYTES]), last=False)
        del self._buffer[: full * CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Write the last chunk. It is empty only when the whole payload is."""
        self._emit(bytes(self._buffer), last=True)

    def _emit(self, chunk: bytes, *, last: bool) -> None:
        self._target.write(self._aead.encrypt(nonce(self._count, last=last), chunk, None))
        self._count += 1


def read_chunks(key: bytes, source: BinaryIO) -> Iterator[bytes]:
    """The plaintext, a chunk at a time; a caller that gets to the end holds the whole file.

    Raises `SealedFileInvalid` at the first chunk that is not what was written there, or where the last one is not at
    the end. A chunk is decrypted as what its place says and, when that fails, as the other kind, so that an authentic
    chunk is released before a later fault is reported, as the specification's vectors require.
    """
    aead = ChaCha20Poly1305(key)
    following = read_exactly(source, CHUNK_BYTES + TAG_BYTES)
    for count in itertools.count():
        chunk, following = following, read_exactly(source, CHUNK_BYTES + TAG_BYTES)
        plain, last = _opened(aead, count, chunk, at_end=not following)
        if count and not plain:
            raise invalid(Fault.CONTENT)
        yield plain
        if last != (not following):
            raise invalid(Fault.CONTENT)
        if last:
            return


def _opened(aead: ChaCha20Poly1305, count: int, chunk: bytes, *, at_end: bool) -> tuple[bytes, bool]:
    """A chunk's plaintext and whether it is the last one; only a full chunk can be of either kind."""
    full = len(chunk) == CHUNK_BYTES + TAG_BYTES
    for last in (at_end, not at_end) if full else (True,):
        with suppress(InvalidTag, ValueError):
            return aead.decrypt(nonce(count, last=last), chunk, None), last
    raise invalid(Fault.CONTENT)


def nonce(count: int, *, last: bool) -> bytes:
    """A chunk's nonce: its number in 11 bytes, big endian, then 1 for the last chunk and 0 for others."""
    return count.to_bytes(11, "big") + bytes([last])


def read_exactly(source: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end; a raw stream may return less than asked in one read."""
    data = source.read(size)
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
