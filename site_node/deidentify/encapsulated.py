"""Encapsulated pixel data (PS3.5 section A.4): checked, and freed of segments that can carry text.

JPEG and JPEG-LS frames lose COM and APPn segments (except the bare JFIF header and colour flags that decoders need),
JPEG 2000 frames their COM segments, and all of them what follows the end of the image. The bytes of the image itself
do not change. What cannot be taken apart with certainty is refused.
"""

import re
import struct
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from site_node.deidentify.reasons import unsupported
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
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP = range(0xE0, 0xF0)
_DECODING = MappingProxyType({0xE0: (b"JFIF\0", 16), 0xE8: (b"mrfx", 7), 0xEE: (b"Adobe", 14)})  # APPn decoders need
_SOF = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # 0xF7 is JPEG-LS's
_DHT, _DQT, _DRI, _LSE = 0xC4, 0xDB, 0xDD, 0xF8
_LSE_PRESET = 13  # length of the only LSE segment without a table (T.87 C.2.4.1.1)
_J2K_SOC, _J2K_SIZ, _J2K_COM, _J2K_SOT, _J2K_SOD, _J2K_EOC = 0x4F, 0x51, 0x64, 0x90, 0x93, 0xD9
_J2K_HEADER = frozenset({0x50, 0x52, 0x53, *range(0x55, 0x5A), *range(0x5C, 0x62)})  # T.800 Table A.2
_JPEG_NEXT = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # a marker after entropy-coded data
_LS_NEXT = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")
_STARTS = MappingProxyType(  # how a frame begins; within one these bytes never follow each other
    {Family.JPEG: b"\xff\xd8", Family.JPEG_LS: b"\xff\xd8", Family.JPEG_2000: b"\xff\x4f\xff\x51", Family.RLE: b""}
)
_RLE_HEADER, _RLE_MOST = 64, 15


class _Fragments(NamedTuple):
    offsets: tuple[int, ...]  # the Basic Offset Table
    fragments: tuple[bytes, ...]
    starts: tuple[int, ...]  # of each fragment's item, counted from the first one


def clean_frames(encapsulated: bytes, family: Family, frames: int, *, extended: bool) -> bytes:
    """The same frames without what can carry text.

    Args:
        encapsulated: items and sequence delimiter, beginning with the Basic Offset Table's item.
        family: how the frames are built.
        frames: how many there must be.
        extended: whether an Extended Offset Table points into the items, which then must not move.

    Raises:
        DicomUnsupported: the items, or a frame, cannot be taken apart.
    """
    parts = _split(encapsulated)
    groups = _frames(parts, frames, _STARTS[family])
    cleaned: list[tuple[bytes, ...]] = []
    for group in groups:
        whole = b"".join(parts.fragments[group])
        new = pad(_clean(whole, family), "OB")
        cleaned.append(parts.fragments[group] if new == whole else (new,))
    if all(parts.fragments[group] == new for group, new in zip(groups, cleaned, strict=True)):
        return encapsulated if _is_plain(encapsulated, parts) else _join(parts, cleaned)
    if extended:
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


def _clean(frame: bytes, family: Family) -> bytes:
    if family is Family.RLE:
        return _clean_rle(frame)
    try:
        if family is Family.JPEG_2000:
            return _clean_2000(frame)
        return _clean_jpeg(frame, _LS_NEXT if family is Family.JPEG_LS else _JPEG_NEXT)
    except (IndexError, struct.error) as error:
        raise unsupported("pixel-fragments", "PixelData") from error


def _clean_rle(frame: bytes) -> bytes:
    """RLE has no place for text but a wrong header: its offsets must lie in order inside the frame."""
    if len(frame) < _RLE_HEADER:
        raise unsupported("pixel-fragments", "PixelData")
    count, *offsets = struct.unpack("<16L", frame[:_RLE_HEADER])
    used, unused = offsets[:count], offsets[count:]
    ordered = used == sorted(set(used)) and all(_RLE_HEADER <= offset < len(frame) for offset in used)
    if not 1 <= count <= _RLE_MOST or not ordered or used[0] != _RLE_HEADER or any(unused):
        raise unsupported("pixel-fragments", "PixelData")
    return frame


def _clean_jpeg(frame: bytes, next_marker: re.Pattern[bytes]) -> bytes:
    """Every segment up to the end of the image, without COM and APPn."""
    if frame[:2] != bytes((0xFF, _SOI)):
        raise unsupported("pixel-fragments", "PixelData")
    segments, place = [frame[:2]], 2
    while True:
        while frame[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if frame[place : place + 2] == bytes((0xFF, _EOI)):
            return b"".join(segments) + frame[place : place + 2]
        end = _segment_end(frame, place, next_marker)
        if _belongs_to_image(frame[place:end]):
            segments.append(frame[place:end])
        place = end


def _segment_end(frame: bytes, place: int, next_marker: re.Pattern[bytes]) -> int:
    """The place after one segment, a scan's entropy-coded data included."""
    (length,) = struct.unpack_from(">H", frame, place + 2)
    end = place + 2 + int(length)
    if frame[place] != 0xFF or end > len(frame):  # every marker begins so
        raise unsupported("pixel-fragments", "PixelData")
    if frame[place + 1] != _SOS:
        return end
    if length != 6 + 2 * frame[place + 4]:
        raise unsupported("pixel-hidden-data", "PixelData")
    marker = next_marker.search(frame, end)
    if marker is None:
        raise unsupported("truncated", "PixelData")
    return marker.start()


def _belongs_to_image(segment: bytes) -> bool:
    """Whether a segment stays. Raises `DicomUnsupported` for one that no edition knows."""
    marker = segment[1]
    if _is_exact(segment):
        return True
    if marker != _COM and marker not in _APP:
        raise unsupported("pixel-hidden-data", "PixelData")
    return _is_for_decoding(segment)


def _is_exact(segment: bytes) -> bool:
    """Whether a table, frame or scan header is as long as its own counts say: nothing hides after it (T.81 B.2)."""
    marker, body = segment[1], segment[4:]
    if marker in _SOF:
        return len(body) == 6 + 3 * body[5]
    if marker == _SOS:
        return True  # its header is checked where the scan begins
    if marker == _DRI:
        return len(body) == 2  # one interval
    if marker == _LSE:
        return len(body) + 2 == _LSE_PRESET and body[0] == 1
    return marker in {_DHT, _DQT} and _are_tables(body, quantisation=marker == _DQT)


def _are_tables(body: bytes, *, quantisation: bool) -> bool:
    """Whether the body is one table after another, to its end."""
    place = 0
    while place < len(body):
        size = 64 << (body[place] >> 4 & 1) if quantisation else 16 + sum(body[place + 1 : place + 17])
        place += 1 + size
    return place == len(body)


def _is_for_decoding(segment: bytes) -> bool:
    """Whether an application segment says how to decode the frame, and is too short to say more."""
    name, length = _DECODING.get(segment[1], (b"", 0))
    return bool(name) and segment[4:].startswith(name) and len(segment) == length + 2


def _clean_2000(frame: bytes) -> bytes:
    """The main header without COM; tile-parts as they are, but one with a COM of its own is refused."""
    if frame[:4] != bytes((0xFF, _J2K_SOC, 0xFF, _J2K_SIZ)):
        raise unsupported("pixel-hidden-data", "PixelData")  # a file format with boxes around the code stream, or none
    segments, place = [frame[:2]], 2
    while frame[place + 1] != _J2K_SOT:
        (length,) = struct.unpack_from(">H", frame, place + 2)
        end = place + 2 + length
        if frame[place] != 0xFF or end > len(frame):  # every marker begins so
            raise unsupported("pixel-fragments", "PixelData")
        if frame[place + 1] in _J2K_HEADER or (place == 2 and _is_size(frame[place:end])):  # right after SOC
            segments.append(frame[place:end])
        elif frame[place + 1] != _J2K_COM:
            raise unsupported("pixel-hidden-data", "PixelData")
        place = end
    first = place
    while frame[place : place + 2] != bytes((0xFF, _J2K_EOC)):
        place = _tile_part_end(frame, place)
    return b"".join(segments) + frame[first : place + 2]


def _is_size(segment: bytes) -> bool:
    """Whether this is a SIZ segment and as long as its own count of components says (T.800 A.5.1)."""
    return segment[1] == _J2K_SIZ and len(segment) == 40 + 3 * struct.unpack_from(">H", segment, 38)[0]


def _tile_part_end(frame: bytes, start: int) -> int:
    """The place after one tile-part."""
    if frame[start : start + 2] != bytes((0xFF, _J2K_SOT)):
        raise unsupported("truncated", "PixelData")
    (length,) = struct.unpack_from(">L", frame, start + 6)
    place = start + 12
    while frame[place : place + 2] != bytes((0xFF, _J2K_SOD)):
        if frame[place] != 0xFF or frame[place + 1] not in _J2K_HEADER:  # every marker begins so
            raise unsupported("pixel-hidden-data", "PixelData")
        (segment,) = struct.unpack_from(">H", frame, place + 2)
        place += 2 + segment
    end = start + length if length else len(frame.rstrip(b"\0")) - 2  # 0: up to the end of the code stream
    if not place < end <= len(frame) - 2:
        raise unsupported("truncated", "PixelData")
    return end
