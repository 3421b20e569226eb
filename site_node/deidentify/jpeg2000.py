"""JPEG 2000 code streams by their grammar (ITU-T T.800 Annex A): only what a decoder needs stays.

Comments, pointers and registrations go from every header, and bytes after a tile-part's last packet go. What stays is
as long as its own counts say. The boxes of a JP2 file around a code stream (Annex I) go.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from site_node.deidentify.packets import MOST_PRECINCTS, Box, Coding, Order, Progression, Tile
from site_node.deidentify.reasons import unsupported

J2K_START = b"\xff\x4f\xff\x51"  # SOC, SIZ
_JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
_SOT, _SOD, _EOC = 0x90, b"\xff\x93", b"\xff\xd9"
_CAP, _COD, _COC, _QCD, _QCC, _RGN = 0x50, 0x52, 0x53, 0x5C, 0x5D, 0x5E
_OF_COMPONENT = frozenset({_COC, _QCC, _RGN})
_NEEDED = frozenset({_COD, _QCD}) | _OF_COMPONENT
_OPTIONAL = frozenset({0x55, 0x57, 0x58, 0x59, 0x63, 0x64})  # TLM PLM PLT CPF CRG COM
_EVERY = -1  # component
_CAP_OF_HT = b"\0\2\0\0"  # Part 15 alone, for which two more bytes follow (T.814 A.3)
_STYLES, _EXPONENTS, _LEVELS = 0x80, 8, 32
_WHOLE = 0xFF  # a precinct of 2^15 by 2^15
_MOST_WITH_BYTE = 256  # components that are named by one byte
_MOST_PIXELS, _MOST_TILES = 1 << 30, 1 << 12  # more than any X-ray picture has
_Segments = dict[tuple[int, int], bytes]  # the bodies by marker and component


class _Size(NamedTuple):
    """The SIZ segment (T.800 A.5.1)."""

    image: Box
    tile_width: int
    tile_height: int
    left: int  # of the first tile
    top: int
    steps: list[tuple[int, int]]  # of each component

    def tile(self, number: int) -> Box:
        """The samples of a tile (T.800 B.3)."""
        columns, rows = (
            -(-(self.image.x1 - self.left) // self.tile_width),
            -(-(self.image.y1 - self.top) // self.tile_height),
        )
        row, column = divmod(number, columns)
        if row >= rows:
            raise unsupported("pixel-fragments", "PixelData")
        x, y = self.left + column * self.tile_width, self.top + row * self.tile_height
        image = self.image
        return Box(
            max(x, image.x0),
            max(y, image.y0),
            min(x + self.tile_width, image.x1),
            min(y + self.tile_height, image.y1),
        )


def clean_2000(frame: bytes) -> bytes:
    """The frame's code stream without what a decoder does not need.

    Raises:
        DicomUnsupported: a segment is unknown, or longer than it says; or the packets cannot be followed.
        IndexError, struct.error: the frame ends early.
    """
    stream = _unwrapped(frame)
    if not stream.startswith(J2K_START):
        raise unsupported("pixel-hidden-data", "PixelData")
    (length,) = struct.unpack_from(">H", stream, 4)
    size, main = _size(stream[6 : 4 + length]), dict[tuple[int, int], bytes]()
    kept, place = _header(stream, 4 + length, main, size)
    parts, tiles = [stream[: 4 + length], kept], dict[int, Tile]()
    try:
        while stream[place : place + 2] != _EOC:
            part, place = _tile_part(stream, place, main, size, tiles)
            parts.append(part)
    except ValueError as error:
        raise unsupported("pixel-fragments", "PixelData") from error
    return b"".join(parts) + _EOC


def _unwrapped(frame: bytes) -> bytes:
    """The code stream of a JP2 file, whose boxes must not give its samples another meaning (T.800 Annex I)."""
    if not frame.startswith(_JP2_START):
        return frame
    boxes = list(_boxes(frame))
    inner = {kind for outer, content in boxes if outer == b"jp2h" for kind, _ in _boxes(content)}
    streams = [content for kind, content in boxes if kind == b"jp2c"]
    if len(streams) != 1 or inner & {b"pclr", b"cmap", b"cdef"}:
        raise unsupported("pixel-hidden-data", "PixelData")
    return streams[0]


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">L4s", content, place)
        start = place + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, start)
            start += 8
        end = place + length if length else len(content)
        if not start <= end <= len(content):
            raise unsupported("pixel-fragments", "PixelData")
        yield kind, content[start:end]
        place = end


def _size(body: bytes) -> _Size:
    right, bottom, x, y, width, height, left, top, count = struct.unpack_from(">2x8LH", body)
    steps = list(zip(body[37::3], body[38::3], strict=False))
    image = Box(x, y, right, bottom)
    if len(body) != 36 + 3 * count or not count or not all(map(all, steps)):  # nothing hides after it
        raise unsupported("pixel-hidden-data", "PixelData")
    if not (
        0 < (right - x) * (bottom - y) <= _MOST_PIXELS and x < right and width and height and left <= x and top <= y
    ):
        raise unsupported("pixel-fragments", "PixelData")
    return _Size(image, width, height, left, top, steps)


def _header(stream: bytes, place: int, segments: _Segments, size: _Size, *others: _Segments) -> tuple[bytes, int]:
    """What stays of the segments up to SOT or SOD, and the place after them.

    They are added to `segments`; what these do not say, `others` say.
    """
    kept = []
    while stream[place : place + 2] != _SOD and stream[place + 1] != _SOT:
        (length,) = struct.unpack_from(">H", stream, place + 2)
        marker, end = stream[place + 1], place + 2 + length
        if stream[place] != 0xFF or length < 2:  # every marker begins so
            raise unsupported("pixel-fragments", "PixelData")
        if marker not in _OPTIONAL:
            _add(marker, stream[place + 4 : end], segments, size)
            kept.append(stream[place:end])
        place = end
    for (marker, component), body in segments.items():
        levels = {
            _coding(number, segments, *others).levels
            for number in range(len(size.steps))
            if component in {number, _EVERY}
        }
        if marker in {_QCD, _QCC} and not _is_quantisation(body, levels):
            raise unsupported("pixel-hidden-data", "PixelData")
    return b"".join(kept), place


def _add(marker: int, body: bytes, segments: _Segments, size: _Size) -> None:
    """Add one segment. Raises `DicomUnsupported` unless each of its bytes has a use."""
    component = _EVERY
    if marker in _OF_COMPONENT:
        width = 1 if len(size.steps) <= _MOST_WITH_BYTE else 2
        component, body = int.from_bytes(body[:width], "big"), body[width:]
    is_exact = {
        _CAP: len(body) == 6 and body.startswith(_CAP_OF_HT),
        _COD: len(body) >= 10 and body[0] <= 7 and body[4] <= 1 and _is_coding(body[0], body[5:]),
        _COC: len(body) >= 6 and body[0] <= 1 and _is_coding(body[0], body[1:]),
        _RGN: len(body) == 2 and not body[0],
        _QCD: True,  # its length depends on the levels
        _QCC: True,
    }
    if not is_exact.get(marker) or component >= len(size.steps) or (marker, component) in segments:
        raise unsupported("pixel-hidden-data", "PixelData")
    segments[marker, component] = body


def _is_coding(flags: int, body: bytes) -> bool:
    """Whether the parameters of a COD or COC segment are as many as its levels need, and known (T.800 A.6.1)."""
    levels, width, height, style, transform = body[:5]
    return (
        len(body) == 5 + (levels + 1) * (flags & 1)
        and levels <= _LEVELS
        and width + height <= _EXPONENTS
        and style < _STYLES
        and transform <= 1
    )


def _coding(component: int, *headers: _Segments) -> Coding:
    """How a component is coded by the first header that says so."""
    for header in headers:
        for key in ((_COC, component), (_COD, _EVERY)):
            if key in header:
                flags, body = header[key][0], header[key][5 if key[0] == _COD else 1 :]
                levels, width, height, style = body[:4]
                precincts = tuple(body[5:]) if flags & 1 else (_WHOLE,) * (levels + 1)
                return Coding(levels, width + 2, height + 2, style, precincts)
    raise unsupported("pixel-fragments", "PixelData")


def _is_quantisation(body: bytes, levels: set[int]) -> bool:
    """Whether a QCD or QCC segment has the steps of its levels and no more (T.800 A.6.4)."""
    style, steps = body[0] & 31, body[1:]
    if style == 0:
        return len(steps) in {3 * level + 1 for level in levels} and not any(step & 7 for step in steps)
    return style in {1, 2} and len(steps) in {2 if style == 1 else 2 * (3 * level + 1) for level in levels}


def _tile_part(stream: bytes, start: int, main: _Segments, size: _Size, tiles: dict[int, Tile]) -> tuple[bytes, int]:
    """One tile-part as it stays, and the place after it."""
    marker, ten, number, length, _, _ = struct.unpack_from(">HHHLBB", stream, start)
    if marker != 0xFF00 | _SOT or ten != 10:
        raise unsupported("truncated", "PixelData")
    own = dict[tuple[int, int], bytes]()
    kept, place = _header(stream, start + 12, own, size, main)
    end = start + length if length else len(stream.rstrip(b"\0")) - 2  # 0: up to the end of the code stream
    data = place + 2
    if not data <= end <= len(stream) - 2:
        raise unsupported("truncated", "PixelData")
    if number not in tiles:
        tiles[number] = _tile(size.tile(number), own, main, size)
        if len(tiles) > _MOST_TILES or sum(tile.precincts for tile in tiles.values()) > MOST_PRECINCTS:
            raise unsupported("pixel-fragments", "PixelData")
    elif own:
        raise unsupported("pixel-hidden-data", "PixelData")  # only the first tile-part of a tile may say more
    last = tiles[number].end_of_packets(stream, data, end)
    part = b"".join((kept, _SOD, stream[data:last]))
    new_length = (12 + len(part)) if length else 0
    return b"".join(
        (stream[start : start + 6], struct.pack(">L", new_length), stream[start + 10 : start + 12], part)
    ), end


def _tile(box: Box, own: _Segments, main: _Segments, size: _Size) -> Tile:
    coding = own.get((_COD, _EVERY)) or main.get((_COD, _EVERY))
    if coding is None:
        raise unsupported("pixel-fragments", "PixelData")
    flags, progression, layers = struct.unpack_from(">BBH", coding)
    order = Order(Progression(progression), layers, bool(flags & 2), bool(flags & 4))
    return Tile(box, size.steps, [_coding(number, own, main) for number in range(len(size.steps))], order)
