"""Write a C-STORE data set as a Part 10 file, and read its StudyInstanceUID: nothing else is read on arrival."""

import struct
from io import BytesIO

from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

_STUDY_UID = Tag(0x0020000D)
_PREAMBLE = bytes(128) + b"DICM"
_VERSION = struct.pack("<HH2s2xI", 2, 1, b"OB", 2) + b"\0\1"


def part10(sop_class: str, sop_uid: str, syntax: str, dataset: bytes | memoryview) -> bytes:
    """The file of an encoded data set (PS3.10 section 7.1); made by hand, as pydicom takes a millisecond for it.

    Raises `UnicodeEncodeError` for a UID with characters outside ASCII.
    """
    meta = b"".join((
        _VERSION,
        _element(0x02, b"UI", sop_class),
        _element(0x03, b"UI", sop_uid),
        _element(0x10, b"UI", syntax),
        _element(0x12, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
        _element(0x13, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
    ))  # fmt: skip
    return b"".join((_PREAMBLE, struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)), meta, dataset))


def study_uid_of(dataset: bytes, syntax: str) -> str:
    """The StudyInstanceUID of an encoded data set; empty if it has none or cannot be read."""
    encoding = UID(syntax)
    try:
        if encoding.is_deflated:
            header = read_partial(BytesIO(part10("", "", syntax, dataset)), _is_past, specific_tags=[_STUDY_UID])
        else:
            header = read_dataset(
                BytesIO(dataset),
                encoding.is_implicit_VR,
                encoding.is_little_endian,
                stop_when=_is_past,
                specific_tags=[_STUDY_UID],
            )
        return str(header.get("StudyInstanceUID", "") or "").strip(" \0")
    except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets; the sender hears that it cannot be understood
        return ""


def _is_past(tag: int, _vr: str | None, _length: int) -> bool:
    return int(tag) > int(_STUDY_UID)


def _element(number: int, vr: bytes, value: str) -> bytes:
    content = value.encode("ascii")
    if len(content) % 2:
        content += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, number, vr, len(content)) + content
