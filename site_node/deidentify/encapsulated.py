"""Encapsulated pixel data (PS3.5 section A.4): checked, and freed of all that no decoder needs.

Each frame is followed by its grammar to its last data unit, packet or run: what carries text, what nothing uses and
what comes after the end goes. The bytes of the image itself do not change. What cannot be taken apart with certainty
is refused.
"""

import struct
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from site_node.deidentify.jpeg import clean_jpeg
from site_node.deidentify.jpeg2000 import J2K_START, clean_2000
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.run_length import clean_rle
from site_node.dicom.elements import ITEM, SEQUENCE_END, pad


class Family(Enum):
    """How a frame's bytes are built."""

    JPEG = "ISO/IEC 10918-1"
    JPEG_LS = "ISO/IEC 14495-1"
    JPEG_2000 = "ISO/IEC 15444"
    RLE = "PS3.5 Annex G"


_ROOT = "1.2.840.10008.1.2."
FAMILIES = MappingProxyType(
    {f"{_ROOT}4.{number}": Family.JPEG for number in (50, 51, 53, 55, 57, 70)}
    | {f"{_ROOT}4.{number}": Family.JPEG_LS for number in (80, 81)}
    | {f"{_ROOT}4.{number}": Family.JPEG_2000 for number in (90, 91, 92, 93, 201, 202, 203)}
    | {f"{_ROOT}5": Family.RLE}
)
_HEADER = struct.Struct("<HHL")
_STARTS = MappingProxyType(  # how a frame begins; within one these bytes never follow each other
    {Family.JPEG: b"\xff\xd8", Family.JPEG_LS: b"\xff\xd8", Family.JPEG_2000: J2K_START, Family.RLE: b""}
)


class Planes(NamedTuple):
    """The byte planes of a frame as RLE has them (PS3.5 section G.2): how many, and the bytes of each."""

    number: int
    size: int


class _Fragments(NamedTuple):
    offsets: tuple[int, ...]  # the Basic Offset Table
    fragments: tuple[bytes, ...]
    starts: tuple[int, ...]  # of each fragment's item, counted from the first one


def clean_frames(encapsulated: bytes, family: Family, frames: int, planes: Planes, *, extended: bool) -> bytes:
    """The same frames without what can carry text.

    Args:
        encapsulated: items and sequence delimiter, beginning with the Basic Offset Table's item.
        family: how the frames are built.
        frames: how many there must be.
        planes: the byte planes of each.
        extended: whether an Extended Offset Table points into the items, which then must not move.

    Raises:
        DicomUnsupported: the items, or a frame, cannot be taken apart.
    """
    parts = _split(encapsulated)
    groups = _frames(parts, frames, _STARTS[family])
    cleaned: list[tuple[bytes, ...]] = []
    for group in groups:
        whole = b"".join(parts.fragments[group])
        new = pad(_clean(whole, family, planes), "OB")
        cleaned.append(parts.fragments[group] if new == whole else (new,))
    if all(parts.fragments[group] == new for group, new in zip(groups, cleaned, strict=True)):
        return encapsulated if _is_plain(encapsulated, parts) else _join(parts, cleaned)
    moved = any(
        [*map(len, parts.fragments[group])] != [*map(len, new)] for group, new in zip(groups, cleaned, strict=True)
    )
    if extended and moved:
        raise unsupported("pixel-hidden-data", "ExtendedOffsetTable")
    return _join(parts, cleaned)


def _is_plain(encapsulated: bytes, parts: _Fragments) -> bool:
    """Whether items and delimiter are all there is, so that the bytes can be copied as they are."""
    items = 8 * (len(parts.fragments) + 2) + 4 * len(parts.offsets) + sum(map(len, parts.fragments))
    return items == len(encapsulated) and encapsulated.endswith(_HEADER.pack(0xFFFE, 0xE0DD, 0))


def _split(encapsulated: bytes) -> _Fragments:
    place, items, starts = 0, list[bytes](), list[int]()
    while place + 8 <= len(encapsulated):
        group, element, length = _HEADER.unpack_from(encapsulated, place)
        tag = group << 16 | element
        if tag == SEQUENCE_END:
            break
        if tag != ITEM or place + 8 + length > len(encapsulated) or length % 2:
            raise unsupported("pixel-fragments", "PixelData")
        items.append(encapsulated[place + 8 : place + 8 + length])
        starts.append(place)
        place += 8 + length
    if len(items) <= 1 or len(items[0]) % 4:
        raise unsupported("pixel-fragments", "PixelData")
    offsets = struct.unpack(f"<{len(items[0]) // 4}L", items[0])
    return _Fragments(offsets, tuple(items[1:]), tuple(start - starts[1] for start in starts[1:]))


def _frames(parts: _Fragments, frames: int, start: bytes) -> list[slice]:
    """Which fragments make each frame: by the offset table, all of the only one, one each, or by how frames begin."""
    count = len(parts.fragments)
    if parts.offsets:
        if len(parts.offsets) != frames or any(offset not in parts.starts for offset in parts.offsets):
            raise unsupported("pixel-fragments", "PixelData")
        firsts = [parts.starts.index(offset) for offset in parts.offsets]
    elif frames == 1:
        if start and sum(fragment.startswith(start) for fragment in parts.fragments) > 1:
            raise unsupported("pixel-fragments", "PixelData")  # there are more: what follows the first would be cut off
        firsts = [0]
    elif count == frames:
        firsts = list(range(count))
    else:
        firsts = [number for number, fragment in enumerate(parts.fragments) if start and fragment.startswith(start)]
    if firsts != sorted(set(firsts)) or firsts[:1] != [0] or len(firsts) != frames:
        raise unsupported("pixel-fragments", "PixelData")
    return [slice(first, end) for first, end in zip(firsts, [*firsts[1:], count], strict=True)]


def _join(parts: _Fragments, frames: list[tuple[bytes, ...]]) -> bytes:
    offsets, place, body = list[int](), 0, list[bytes]()
    for frame in frames:
        offsets.append(place)
        for fragment in frame:
            body += [_HEADER.pack(0xFFFE, 0xE000, len(fragment)), fragment]
            place += 8 + len(fragment)
    table = struct.pack(f"<{len(offsets)}L", *offsets) if parts.offsets else b""
    start = _HEADER.pack(0xFFFE, 0xE000, len(table)) + table
    return start + b"".join(body) + _HEADER.pack(0xFFFE, 0xE0DD, 0)


def _clean(frame: bytes, family: Family, planes: Planes) -> bytes:
    try:
        if family is Family.RLE:
            return clean_rle(frame, planes.number, planes.size)
        return clean_2000(frame) if family is Family.JPEG_2000 else clean_jpeg(frame)
    except (IndexError, struct.error) as error:
        raise unsupported("pixel-fragments", "PixelData") from error
