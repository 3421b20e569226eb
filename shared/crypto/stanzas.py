"""The header of an age file (c2sp.org/age, "Header"): one stanza for each recipient, then a MAC under the file key.

Parsing is strict: base64 without padding in its canonical form only, line feeds only, nothing optional. The bytes
read are kept as they are for the MAC, so nothing is re-encoded before it is checked.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors.studies import SealedFileInvalid

FILE_KEY_BYTES = 16
VERSION = b"age-encryption.org/v1\n"
_COLUMNS = 64
_LARGEST = 1 << 20  # bytes of a whole header; ours has about 1,700
_VISIBLE = frozenset(range(0x21, 0x7F))


class Fault(StrEnum):
    """The four ways in which an age file fails to open; each is a `problem` of `SealedFileInvalid`."""

    HEADER = "its header is damaged"
    NO_MATCH = "it is sealed to another key"
    MAC = "its header was changed"
    CONTENT = "its content is cut or changed"


def invalid(fault: Fault) -> SealedFileInvalid:
    """The error to raise for a fault."""
    return SealedFileInvalid(problem=fault.value)


@dataclass(frozen=True)
class Stanza:
    """A file key, wrapped for one recipient: arguments (the first names the type) and a body."""

    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """The stanza's lines; the last is shorter than 64 columns and may be empty."""
        text = to_base64(self.body)
        lines = [text[start : start + _COLUMNS] for start in range(0, len(text) + 1, _COLUMNS)]
        return "\n".join([" ".join(("->", *self.arguments)), *lines, ""]).encode()


@dataclass(frozen=True)
class Header:
    """A header as it was read: its stanzas, its MAC and the bytes the MAC covers."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    covered: bytes

    def check(self, file_key: bytes) -> None:
        """Return when the MAC is right; else raise `SealedFileInvalid`."""
        mac = _hmac(file_key, self.covered)
        try:
            mac.verify(self.mac)
        except InvalidSignature as error:
            raise invalid(Fault.MAC) from error


def write_header(stanzas: list[Stanza], file_key: bytes) -> bytes:
    """A whole header."""
    covered = VERSION + b"".join(stanza.encode() for stanza in stanzas) + b"---"
    return covered + b" " + to_base64(_hmac(file_key, covered).finalize()).encode() + b"\n"


def read_header(source: BinaryIO) -> Header:
    """Read a header and stop at the payload's first byte; raises `SealedFileInvalid`."""
    lines = _Lines(source)
    if lines.next() != VERSION[:-1]:
        raise invalid(Fault.HEADER)
    stanzas: list[Stanza] = []
    while (line := lines.next()).startswith(b"-> "):
        stanzas.append(Stanza(_arguments(line), _body(lines)))
    mac = from_base64(line[4:].decode("latin-1"))
    if not line.startswith(b"--- ") or len(mac) != hashes.SHA256.digest_size or not stanzas:
        raise invalid(Fault.HEADER)
    return Header(tuple(stanzas), mac, bytes(lines.consumed[: -len(line) - 1]) + b"---")


def derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA-256, 32 bytes."""
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def to_base64(data: bytes) -> str:
    """Base64 without padding."""
    return base64.b64encode(data).decode().rstrip("=")


def from_base64(text: str) -> bytes:
    """Read canonical base64 without padding; raises `SealedFileInvalid` on any other text."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise invalid(Fault.HEADER) from error
    if to_base64(data) != text:
        raise invalid(Fault.HEADER)
    return data


class _Lines:
    """The lines of a header, without their ends, and all bytes consumed."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.consumed = bytearray()

    def next(self) -> bytes:
        line = self._source.readline(_LARGEST - len(self.consumed))
        self.consumed += line
        if not line.endswith(b"\n"):
            raise invalid(Fault.HEADER)
        return line[:-1]


def _arguments(line: bytes) -> tuple[str, ...]:
    arguments = line[3:].split(b" ")
    if not all(argument and _VISIBLE.issuperset(argument) for argument in arguments):
        raise invalid(Fault.HEADER)
    return tuple(argument.decode() for argument in arguments)


def _body(lines: _Lines) -> bytes:
    text = ""
    while True:
        line = lines.next().decode("latin-1")
        text += line
        if len(line) < _COLUMNS:
            return from_base64(text)
        if len(line) > _COLUMNS:
            raise invalid(Fault.HEADER)


def _hmac(file_key: bytes, covered: bytes) -> HMAC:
    mac = HMAC(derive(file_key, salt=b"", info=b"header"), hashes.SHA256())
    mac.update(covered)
    return mac
