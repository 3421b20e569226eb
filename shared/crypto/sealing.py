"""age v1 files (c2sp.org/age), streamed in constant memory: whole files, or as a link in a chain of streams.

age hides and protects content; it does not say who wrote it. The signed manifest does that.
"""

import secrets
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

from shared.crypto.payload import CHUNK_BYTES, ChunkWriter, Writable, read_chunks, read_exactly
from shared.crypto.recipients import AgeIdentity, generate_identity, parse_identity, parse_recipient
from shared.crypto.stanzas import FILE_KEY_BYTES, Fault, Stanza, derive, invalid, read_header, write_header
from shared.errors.inputs import InvalidArgument

__all__ = ["AgeIdentity", "decrypt", "encrypt", "generate_identity", "open_chunks", "parse_identity", "seal_writer"]

_NONCE_BYTES = 16


class Wraps(Protocol):
    """Whom a file is sealed to."""

    def wrap(self, file_key: bytes) -> Stanza:
        """A stanza that only its identity opens."""


class Unwraps(Protocol):
    """Who opens a file."""

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, or `None` when the stanza is for someone else; raises `SealedFileInvalid`."""


def encrypt(recipients: Sequence[str], source: BinaryIO, target: BinaryIO) -> None:
    """Write `source`, to its end, to `target` as an age file that any of `recipients` can open.

    Raises as `seal_writer` does.
    """
    writer = seal_writer(recipients, target)
    while chunk := source.read(CHUNK_BYTES):
        writer.write(chunk)
    writer.finish()


def decrypt(identity: AgeIdentity, source: BinaryIO, target: BinaryIO) -> None:
    """Write what an age file holds to `target`.

    Raises `SealedFileInvalid`; by then `target` may hold leading chunks, each of them authentic, and the caller must
    discard them: only the last chunk shows that the file is whole.
    """
    target.writelines(open_chunks(identity, source))


def seal_writer(recipients: Sequence[str], target: Writable) -> ChunkWriter:
    """Write a header to `target` and return where to write the content; call its `finish` at the end.

    Raises `InvalidIdentifier` for a text that is not a recipient, and `InvalidArgument` for none at all or for a
    mixture of kinds: one recipient that a quantum computer opens would undo the others.
    """
    parsed = [parse_recipient(text) for text in recipients]
    if len({type(recipient) for recipient in parsed}) != 1:
        raise InvalidArgument(name="The recipients", problem="there must be at least one, and all of one kind")
    return seal_for(parsed, target)


def seal_for(recipients: Sequence[Wraps], target: Writable) -> ChunkWriter:
    """As `seal_writer`, for recipients of any kind."""
    file_key = secrets.token_bytes(FILE_KEY_BYTES)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    target.write(write_header([recipient.wrap(file_key) for recipient in recipients], file_key) + nonce)
    return ChunkWriter(_payload_key(file_key, nonce), target)


def open_chunks(identity: Unwraps, source: BinaryIO) -> Iterator[bytes]:
    """Read and check the header of `source`, and return its content in pieces; both raise `SealedFileInvalid`."""
    header = read_header(source)
    if len(header.stanzas) > 1 and any(stanza.arguments[0] == "scrypt" for stanza in header.stanzas):
        raise invalid(Fault.HEADER)  # a passphrase must be the only stanza; beside others it means tampering
    keys = [key for stanza in header.stanzas if (key := identity.unwrap(stanza)) is not None]
    if not keys:
        raise invalid(Fault.NO_MATCH)
    header.check(keys[0])
    nonce = read_exactly(source, _NONCE_BYTES)
    if len(nonce) != _NONCE_BYTES:
        raise invalid(Fault.HEADER)
    return read_chunks(_payload_key(keys[0], nonce), source)


def _payload_key(file_key: bytes, nonce: bytes) -> bytes:
    return derive(file_key, salt=nonce, info=b"payload")
