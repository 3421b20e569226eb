"""The command set of a C-STORE-RSP, encoded by hand: through pydicom it is a third of an SCP's work."""

import struct

from pynetdicom.dimse_primitives import C_STORE

_C_STORE_RSP = 0x8001
_NO_DATASET = 0x0101


def c_store_response(answer: C_STORE) -> bytes:
    """The command set of a C-STORE-RSP (PS3.7 section 9.3.1.2), in Implicit VR Little Endian."""
    command = b"".join((
        _element(0x0002, _uid(answer.AffectedSOPClassUID)),
        _element(0x0100, struct.pack("<H", _C_STORE_RSP)),
        _element(0x0120, struct.pack("<H", answer.MessageIDBeingRespondedTo)),
        _element(0x0800, struct.pack("<H", _NO_DATASET)),
        _element(0x0900, struct.pack("<H", answer.Status)),
        _element(0x1000, _uid(answer.AffectedSOPInstanceUID)),
    ))  # fmt: skip
    return _element(0x0000, struct.pack("<I", len(command))) + command


def _uid(value: str | None) -> bytes:
    content = str(value or "").encode("ascii", "replace")
    return content + b"\0" * (len(content) % 2)


def _element(number: int, content: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(content)) + content
