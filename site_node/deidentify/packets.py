"""Where a JPEG 2000 tile-part's packets end (ITU-T T.800 Annex B, T.814 for HT code-blocks).

Packet headers are read, code-block data skipped: a decoder reads no byte after the last packet, so none may stay there.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from itertools import groupby, product
from operator import itemgetter
from typing import NamedTuple

_TERMINATE_ALL, _BYPASS, _HT = 0x04, 0x01, 0x40
_FIRST_BYPASS = 10  # coding passes before the first one that bypasses the arithmetic coder (T.800 Table D.9)
_SOP, _EPH = b"\xff\x91\0\4", b"\xff\x92"
_UNKNOWN = 1 << 30
MOST_PRECINCTS = 1 << 17  # of a code stream
_MOST_BLOCKS = 1 << 18  # of a precinct in one sub-band
_MOST_PLANES = 80


class PacketsBroken(ValueError):
    """The packets contradict the headers, or leave the tile-part before they end."""


class Box(NamedTuple):
    """A rectangle of samples, its last row and column excluded."""

    x0: int
    y0: int
    x1: int
    y1: int

    def reduced(self, dx: int, dy: int) -> "Box":
        """The samples whose coordinates are multiples of (dx, dy), counted in these steps."""
        return Box(-(-self.x0 // dx), -(-self.y0 // dy), -(-self.x1 // dx), -(-self.y1 // dy))

    def band(self, level: int, right: int, low: int) -> "Box":
        """A sub-band of the tile-component (equation B-15)."""
        half, size = (1 << level) >> 1, 1 << level
        return Box(
            -(-(self.x0 - half * right) // size),
            -(-(self.y0 - half * low) // size),
            -(-(self.x1 - half * right) // size),
            -(-(self.y1 - half * low) // size),
        )


class Coding(NamedTuple):
    """How one component of a tile is coded (T.800 A.6.1, A.6.2)."""

    levels: int
    width: int  # of a code-block, as an exponent of 2
    height: int
    style: int
    precincts: tuple[int, ...]  # a byte for each resolution


class Progression(Enum):
    """In which order packets come (T.800 Table A.16): layer, resolution, component, position (row and column)."""

    LRCP, RLCP, RPCL, PCRL, CPRL = range(5)

    @property
    def key(self) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
        """What the packets of a layer are sorted by, from row, column, component, resolution and precinct."""
        row, column, component, resolution, precinct = range(5)
        return itemgetter(
            *(
                (resolution, component, precinct),
                (resolution, component, precinct),
                (resolution, row, column, component, precinct),
                (row, column, component, resolution, precinct),
                (component, row, column, resolution, precinct),
            )[self.value]
        )


class Order(NamedTuple):
    """How the packets of a tile follow each other (T.800 A.6.1)."""

    progression: Progression
    layers: int
    sop: bool
    eph: bool


class _Bits:
    """The bits of a packet header: after a byte of ones comes a stuffed zero (T.800 B.10.1)."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place, self._left, self._byte = data, place, 0, 0

    def bit(self) -> int:
        if not self._left:
            self._left = 7 if self._byte == 0xFF else 8
            self._byte = self.data[self.place]
            self.place += 1
        self._left -= 1
        return self._byte >> self._left & 1

    def number(self, count: int) -> int:
        value = 0
        for _ in range(count):
            value = value << 1 | self.bit()
        return value

    def end(self) -> int:
        """The place after the header, whose last bits must be zeros."""
        if self._byte & (1 << self._left) - 1:
            raise PacketsBroken
        if self._byte == 0xFF:
            if self.data[self.place]:
                raise PacketsBroken
            self.place += 1
        return self.place


class _TagTree:
    """A tree of minima (T.800 B.10.2)."""

    def __init__(self, width: int, height: int) -> None:
        self._levels = [(width, [0] * (width * height), [_UNKNOWN] * (width * height))]
        while width * height > 1:
            width, height = -(-width // 2), -(-height // 2)
            self._levels.append((width, [0] * (width * height), [_UNKNOWN] * (width * height)))

    def is_below(self, bits: _Bits, x: int, y: int, threshold: int) -> bool:
        """Read until it is known whether the leaf is below the threshold."""
        low, value = 0, _UNKNOWN
        for depth in range(len(self._levels) - 1, -1, -1):
            width, lows, values = self._levels[depth]
            node = (y >> depth) * width + (x >> depth)
            low, value = max(low, lows[node]), values[node]
            while low < threshold and low < value:
                if bits.bit():
                    value = values[node] = low
                else:
                    low += 1
            lows[node] = low
        return value < threshold


class _Blocks:
    """The code-blocks of one precinct in one sub-band, and what the packets so far said of them."""

    def __init__(self, width: int, height: int, style: int) -> None:
        if width * height > _MOST_BLOCKS:
            raise PacketsBroken
        self._places = list(product(range(height), range(width)))
        self._included, self._planes = _TagTree(width, height), _TagTree(width, height)
        self._style = style
        self._passes: dict[tuple[int, int], int] = {}  # of the code-blocks included so far
        self._length_bits: dict[tuple[int, int], int] = {}

    def read(self, bits: _Bits, layer: int) -> int:
        """Read the part of a packet header about these code-blocks; the bytes of their data."""
        total = 0
        for place in self._places:
            y, x = place
            before = self._passes.get(place)
            if before is not None:
                if not bits.bit():
                    continue
            else:
                if not self._included.is_below(bits, x, y, layer + 1):
                    continue
                planes = 1
                while not self._planes.is_below(bits, x, y, planes):
                    planes += 1
                    if planes > _MOST_PLANES:
                        raise PacketsBroken
                before, self._length_bits[place] = 0, 3
            count = _passes(bits)
            while bits.bit():
                self._length_bits[place] += 1
            for width in _lengths(self._style, before, count):
                total += bits.number(self._length_bits[place] + width)
            self._passes[place] = before + count
        return total


def _passes(bits: _Bits) -> int:
    """The number of coding passes (T.800 Table B.4)."""
    if not bits.bit():
        return 1
    if not bits.bit():
        return 2
    count = bits.number(2)
    if count < 3:
        return 3 + count
    count = bits.number(5)
    return 6 + count if count < 31 else 37 + bits.number(7)


def _lengths(style: int, before: int, count: int) -> Iterator[int]:
    """For each length that is coded, by how many bits it is longer than Lblock (T.800 B.10.7, T.814 B.3)."""
    if style & _HT:
        placeholders = (count - 1) // 3 * 3
        yield (placeholders + 1).bit_length() - 1
        if count - placeholders > 1:
            yield int(count - placeholders > 2)
        return
    last = before + count
    while before < last:
        end = last
        if style & _TERMINATE_ALL:
            end = before + 1
        elif style & _BYPASS:
            past = (before - _FIRST_BYPASS) % 3
            end = min(last, _FIRST_BYPASS if before < _FIRST_BYPASS else before + (1 if past == 2 else 2 - past))
        yield (end - before).bit_length() - 1
        before = end


class _Resolution:
    """One resolution of a tile-component, cut into precincts (T.800 B.5 to B.7)."""

    def __init__(self, tile: Box, steps: tuple[int, int], coding: Coding, number: int) -> None:
        self._component, self._coding, self._number = tile.reduced(*steps), coding, number
        self._wide, self._high = coding.precincts[number] & 15, coding.precincts[number] >> 4
        down = coding.levels - number
        box = self._component.reduced(1 << down, 1 << down)
        self._x0, self._y0 = box.x0 >> self._wide, box.y0 >> self._high
        self.columns = -(-box.x1 >> self._wide) - self._x0 if box.x1 > box.x0 else 0
        rows = -(-box.y1 >> self._high) - self._y0 if box.y1 > box.y0 else 0
        self.count = self.columns * rows
        self._step = steps[0] << self._wide + down, steps[1] << self._high + down

    def position(self, tile: Box, precinct: int) -> tuple[int, int]:
        """Row and column of the reference grid at which a precinct's packets come (T.800 B.12.1.3)."""
        row, column = divmod(precinct, self.columns)
        return max(tile.y0, (self._y0 + row) * self._step[1]), max(tile.x0, (self._x0 + column) * self._step[0])

    def blocks(self, precinct: int) -> list[_Blocks]:
        """The code-blocks of one precinct, sub-band by sub-band."""
        coding, number = self._coding, self._number
        row, column = divmod(precinct, self.columns)
        half = int(number > 0)
        wide, high = self._wide - half, self._high - half
        width, height = min(coding.width, wide), min(coding.height, high)
        x0, y0 = self._x0 + column << wide, self._y0 + row << high
        blocks = []
        for right, low in ((1, 0), (0, 1), (1, 1)) if number else ((0, 0),):
            band = self._component.band(coding.levels - number + half, right, low)
            left, top = max(band.x0, x0), max(band.y0, y0)
            end, bottom = min(band.x1, x0 + (1 << wide)), min(band.y1, y0 + (1 << high))
            if left < end and top < bottom:
                wide_count, high_count = -(-end >> width) - (left >> width), -(-bottom >> height) - (top >> height)
                blocks.append(_Blocks(wide_count, high_count, coding.style))
        return blocks


class Tile:
    """The packets of one tile, which its tile-parts continue one after the other."""

    def __init__(self, box: Box, steps: list[tuple[int, int]], codings: list[Coding], order: Order) -> None:
        self._box, self._order = box, order
        self._resolutions = [
            [_Resolution(box, steps[component], coding, number) for number in range(coding.levels + 1)]
            for component, coding in enumerate(codings)
        ]
        self.precincts = sum(part.count for parts in self._resolutions for part in parts)
        if self.precincts > MOST_PRECINCTS:
            raise PacketsBroken
        self._blocks: dict[tuple[int, int, int], list[_Blocks]] = {}
        self._packets = self._in_order()
        self._number = 0

    def _in_order(self) -> Iterator[tuple[int, int, int, int]]:
        """Layer, component, resolution and precinct of each packet, in order."""
        keys = []
        for component, parts in enumerate(self._resolutions):
            for number, part in enumerate(parts):
                for precinct in range(part.count):
                    y, x = part.position(self._box, precinct)
                    keys.append((y, x, component, number, precinct))
        layers, packets = range(self._order.layers), [key[2:] for key in sorted(keys, key=self._order.progression.key)]
        if self._order.progression is Progression.LRCP:
            return ((layer, *packet) for layer in layers for packet in packets)
        if self._order.progression is Progression.RLCP:
            groups = [list(group) for _, group in groupby(packets, key=itemgetter(1))]
            return ((layer, *packet) for group in groups for layer in layers for packet in group)
        return ((layer, *packet) for packet in packets for layer in layers)

    def end_of_packets(self, data: bytes, place: int, end: int) -> int:
        """The place after the last packet between two places. Raises `PacketsBroken`."""
        while place < end:
            packet = next(self._packets, None)
            if packet is None:
                return place
            place = self._packet(data, place, packet)
            if place > end:
                raise PacketsBroken
        return place

    def _packet(self, data: bytes, place: int, packet: tuple[int, int, int, int]) -> int:
        layer, *key = packet
        if data[place : place + 4] == _SOP:
            if not self._order.sop or data[place + 4 : place + 6] != (self._number & 0xFFFF).to_bytes(2, "big"):
                raise PacketsBroken
            place += 6
        self._number += 1
        component, number, precinct = key
        where = component, number, precinct
        if where not in self._blocks:
            self._blocks[where] = self._resolutions[component][number].blocks(precinct)
        bits, length = _Bits(data, place), 0
        if bits.bit():
            for blocks in self._blocks[where]:
                length += blocks.read(bits, layer)
        place = bits.end()
        if self._order.eph:
            if data[place : place + 2] != _EPH:
                raise PacketsBroken
            place += 2
        return place + length
