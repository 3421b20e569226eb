"""JPEG 2000 code streams read to their last packet: what a decoder reads, and nothing else.

Independent of `site_node.deidentify.jpeg2000` and `packets` on purpose: here code-blocks are laid out first and
gathered into precincts, and a tag tree is a table of what is known of each node.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from site_node.validate.entropy import CodestreamBroken

_SIZ, _COD, _COC, _QCD, _QCC, _SOT, _SOD, _EOC = 0x51, 0x52, 0x53, 0x5C, 0x5D, 0x90, 0x93, 0xD9
_DROPPED = frozenset({0x55, 0x57, 0x58, 0x59, 0x63, 0x64})  # pointers, profile, registration, comment
_MOST_BLOCKS = 1 << 20
Bodies = dict[tuple[int, int], bytes]  # by marker and component


class _Siz(NamedTuple):
    x1: int
    y1: int
    x0: int
    y0: int
    tile_x: int
    tile_y: int
    origin_x: int
    origin_y: int
    steps: tuple[tuple[int, int], ...]


def code_stream(frame: bytes) -> bytes:
    """The content of a JP2 file's only `jp2c` box, or the frame itself."""
    at, inside = 0, []
    while frame[4:8] == b"jP  " and at + 8 <= len(frame):
        size, kind, head = _u32(frame, at), frame[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(frame[at + 8 : at + 16], "big"), 16
        size = size or len(frame) - at
        if size < head:
            raise CodestreamBroken
        if kind == b"jp2c":
            inside.append(frame[at + head : at + size])
        at += size
    if len(inside) > 1:
        raise CodestreamBroken
    return inside[0] if inside else frame


def read_by_decoder(stream: bytes) -> bytes:
    """The stream with what its decoder reads. Raises `CodestreamBroken`."""
    main: Bodies = {}
    kept, at = _segments(stream, 2, main, None)
    siz = _siz(main)
    parts, packets = [stream[:2], kept], dict[int, Iterator[_Packet]]()
    while stream[at : at + 2] != bytes((0xFF, _EOC)):
        if stream[at : at + 4] != b"\xff\x90\0\x0a":
            raise CodestreamBroken
        size, tile, own = _u32(stream, at + 6), _u16(stream, at + 4), Bodies()
        end = at + size if size else len(stream.rstrip(b"\0")) - 2
        kept, start = _segments(stream, at + 12, own, siz)
        start += 2
        if not start <= end <= len(stream) - 2 or (own and tile in packets):
            raise CodestreamBroken
        if tile not in packets:
            packets[tile] = _packets(siz, tile, {**main, **own} if (_COD, -1) not in own else _over(main, own))
        place = start
        while place < end:
            packet = next(packets[tile], None)
            if packet is None:
                break
            place = packet.end(stream, place)
        if place > end:
            raise CodestreamBroken
        body = kept + stream[start - 2 : place]
        new_size = (12 + len(body)).to_bytes(4, "big") if size else bytes(4)
        parts += [stream[at : at + 6], new_size, stream[at + 10 : at + 12], body]
        at = end
    return b"".join((*parts, stream[at : at + 2]))


def _over(main: Bodies, own: Bodies) -> Bodies:
    """A tile's COD also stands over the COC segments of the main header (T.800 A.6.2)."""
    return {key: body for key, body in main.items() if key[0] != _COC} | own


def _segments(stream: bytes, at: int, bodies: Bodies, siz: _Siz | None) -> tuple[bytes, int]:
    """The segments that stay, up to the next SOT or SOD; `bodies` receives what they say."""
    kept = b""
    while stream[at + 1] not in {_SOT, _SOD}:
        marker, end = stream[at + 1], at + 2 + _u16(stream, at + 2)
        if stream[at] != 0xFF or end > len(stream) or end < at + 4:
            raise CodestreamBroken
        if marker not in _DROPPED:
            siz = siz or _siz({(marker, -1): stream[at + 4 : end]})
            _remember(marker, stream[at + 4 : end], bodies, len(siz.steps))
            kept += stream[at:end]
        at = end
    return kept, at


def _remember(marker: int, body: bytes, bodies: Bodies, components: int) -> None:
    component = -1
    if marker in {_COC, _QCC, 0x5E}:
        wide = 1 + (components > 256)
        component, body = int.from_bytes(body[:wide], "big"), body[wide:]
    if (marker, component) in bodies or component >= components or not _is_whole(marker, body):
        raise CodestreamBroken
    bodies[marker, component] = body


def _is_whole(marker: int, body: bytes) -> bool:
    """Whether each byte of a segment's body has a use."""
    if marker in {_COD, _COC}:
        flags, body = body[0], body[5:] if marker == _COD else body[1:]
        return len(body) == 5 + (flags & 1) * (body[0] + 1) and body[0] < 33 and body[1] + body[2] < 9
    if marker in {_QCD, _QCC}:
        kind, steps = body[0] & 31, len(body) - 1
        return (
            steps == 2 if kind == 1 else kind in {0, 2} and (steps >> (kind // 2)) % 3 == 1 and steps <= 97 << kind // 2
        )
    if marker == 0x50:
        return len(body) == 6 and body[:4] == b"\0\2\0\0"
    return marker == _SIZ or (marker == 0x5E and len(body) == 2 and body[0] == 0)


def _siz(bodies: Bodies) -> _Siz:
    body = bodies.get((_SIZ, -1), b"")
    x1, y1, x0, y0, tile_x, tile_y, left, top = (_u32(body, at) for at in range(2, 34, 4))
    steps = tuple(zip(body[37::3], body[38::3], strict=False))
    if len(body) != 36 + 3 * _u16(body, 34) or not steps or not all(map(all, steps)) or not tile_x * tile_y:
        raise CodestreamBroken
    return _Siz(x1, y1, x0, y0, tile_x, tile_y, left, top, steps)


class _Bits:
    """The bits of a packet header (T.800 B.10.1)."""

    def __init__(self, stream: bytes, at: int) -> None:
        self._stream, self._at, self._byte, self._mask = stream, at, 0, 0

    def read(self) -> bool:
        if not self._mask:
            self._mask = 0x40 if self._byte == 0xFF else 0x80
            self._byte = self._stream[self._at]
            self._at += 1
        bit = bool(self._byte & self._mask)
        self._mask >>= 1
        return bit

    def end(self) -> int:
        """The place after the header, whose last byte ends in zeros."""
        while self._mask:
            if self.read():
                raise CodestreamBroken
        return self._at + (self._byte == 0xFF)

    def count(self, most: int) -> int:
        """Ones before the first zero."""
        ones = 0
        while ones < most and self.read():
            ones += 1
        return ones

    def number(self, width: int) -> int:
        return sum(self.read() << place for place in reversed(range(width)))


class _Tree:
    """A tag tree: of each node the least that its value can be, and whether it is that (T.800 B.10.2)."""

    def __init__(self, width: int, height: int) -> None:
        self._top, self._nodes = (max(width, height) - 1).bit_length(), dict[tuple[int, int, int], tuple[int, bool]]()

    def least(self, bits: _Bits, at: tuple[int, int], limit: int, level: int = 0) -> int:
        """The leaf's value where it is below the limit, else at least the limit."""
        row, column = at
        node = level, row >> level, column >> level
        above = self.least(bits, at, limit, level + 1) if level < self._top else 0
        value, known = self._nodes.get(node, (0, False))
        value = max(value, above)
        while value < limit and not known:
            known = bits.read()
            value += not known
        self._nodes[node] = value, known
        return value


class _Grid:
    """The code-blocks that a precinct has in one sub-band."""

    def __init__(self, blocks: list[tuple[int, int]], style: int) -> None:
        top, left = min(row for row, _ in blocks), min(column for _, column in blocks)
        self._blocks = sorted((row - top, column - left) for row, column in blocks)
        height, width = (1 + max(block[axis] for block in self._blocks) for axis in (0, 1))
        self._first, self._planes = _Tree(width, height), _Tree(width, height)
        self._style, self._passes = style, dict[tuple[int, int], int]()
        self._width = dict.fromkeys(self._blocks, 3)

    def data(self, bits: _Bits, layer: int) -> int:
        """The bytes that these blocks have in a packet."""
        total = 0
        for block in self._blocks:
            if block not in self._passes:
                if self._first.least(bits, block, layer + 1) > layer:
                    continue
                planes = 1
                while self._planes.least(bits, block, planes) >= planes:
                    planes += 1
            elif not bits.read():
                continue
            before = self._passes.get(block, 0)
            after = self._passes[block] = before + _pass_count(bits)
            self._width[block] += bits.count(64)
            for passes in _terminated(self._style, before, after):
                total += bits.number(self._width[block] + passes.bit_length() - 1)
        return total


def _pass_count(bits: _Bits) -> int:
    """New coding passes of a block (T.800 Table B.4)."""
    base = 1
    for width, escape in ((1, 1), (1, 1), (2, 3), (5, 31)):
        number = bits.number(width)
        if number < escape:
            return base + number
        base += number
    return base + bits.number(7)


def _terminated(style: int, before: int, after: int) -> list[int]:
    """How many passes each length counts; for HT blocks, as many as make its field that wide (T.814 B.3)."""
    if style & 0x40:
        rest = (after - before - 1) % 3
        return [after - before - rest, rest][: 1 + (rest > 0)]
    lengths = [0]
    for number in range(before, after):
        lengths[-1] += 1
        if style & 4 or (style & 1 and number >= 9 and number % 3 != 1):
            lengths.append(0)
    return [length for length in lengths if length]


class _Packet(NamedTuple):
    number: int
    layer: int
    grids: list[_Grid]
    marked: int  # Scod: whether SOP may stand before, and EPH stands after its header

    def end(self, stream: bytes, at: int) -> int:
        """The place after this packet."""
        if stream[at : at + 4] == b"\xff\x91\0\4":
            if not self.marked & 2 or _u16(stream, at + 4) != self.number % 65_536:
                raise CodestreamBroken
            at += 6
        bits = _Bits(stream, at)
        data = sum(grid.data(bits, self.layer) for grid in self.grids) if bits.read() else 0
        at = bits.end()
        if self.marked & 4:
            if stream[at : at + 2] != b"\xff\x92":
                raise CodestreamBroken
            at += 2
        return at + data


class _Precinct(NamedTuple):
    row: int  # of the reference grid, where its packets come
    column: int
    component: int
    resolution: int
    number: int
    grids: list[_Grid]


def _packets(siz: _Siz, tile: int, bodies: Bodies) -> Iterator[_Packet]:
    """Every packet of a tile in its order (T.800 B.12)."""
    across = -(-(siz.x1 - siz.origin_x) // siz.tile_x)
    left, top = siz.origin_x + tile % across * siz.tile_x, siz.origin_y + tile // across * siz.tile_y
    tile_box = (
        max(left, siz.x0), max(top, siz.y0), min(left + siz.tile_x, siz.x1), min(top + siz.tile_y, siz.y1)
    )  # fmt: skip
    if (tile_box[2] - tile_box[0]) * (tile_box[3] - tile_box[1]) > 1 << 30:
        raise CodestreamBroken
    marked, order, layers = bodies[_COD, -1][0], bodies[_COD, -1][1], _u16(bodies[_COD, -1], 2)
    precincts = list(
        chain.from_iterable(
            _precincts(tile_box, step, number, _parameters(bodies, number)) for number, step in enumerate(siz.steps)
        )
    )
    keys = (
        lambda layer, p: (layer, p.resolution, p.component, p.number),
        lambda layer, p: (p.resolution, layer, p.component, p.number),
        lambda layer, p: (p.resolution, p.row, p.column, p.component, p.number, layer),
        lambda layer, p: (p.row, p.column, p.component, p.resolution, p.number, layer),
        lambda layer, p: (p.component, p.row, p.column, p.resolution, p.number, layer),
    )
    if order >= len(keys) or layers * len(precincts) > _MOST_BLOCKS:
        raise CodestreamBroken
    pairs = sorted(((layer, p) for layer in range(layers) for p in precincts), key=lambda pair: keys[order](*pair))
    return (_Packet(number, layer, p.grids, marked) for number, (layer, p) in enumerate(pairs))


def _parameters(bodies: Bodies, component: int) -> tuple[int, bytes]:
    """The flags and the parameters by which a component is coded."""
    own = bodies.get((_COC, component))
    return (own[0], own[1:]) if own else (bodies[_COD, -1][0], bodies[_COD, -1][5:])


def _precincts(
    tile: Sequence[int], step: tuple[int, int], component: int, parameters: tuple[int, bytes]
) -> Iterator[_Precinct]:
    """The precincts of one component of a tile."""
    flags, (levels, width, height, style, _, *sizes) = parameters
    box = _divided(tile, step)
    for resolution in range(levels + 1):
        size = sizes[resolution] if flags & 1 else 0xFF
        exponents = size & 15, size >> 4
        down = levels - resolution
        x0, y0, x1, y1 = _divided(box, (1 << down, 1 << down))
        if x0 >= x1 or y0 >= y1:
            continue
        columns = range(x0 >> exponents[0], (x1 - 1 >> exponents[0]) + 1)
        rows = range(y0 >> exponents[1], (y1 - 1 >> exponents[1]) + 1)
        if len(columns) * len(rows) > _MOST_BLOCKS:
            raise CodestreamBroken
        halved = resolution > 0
        inner = exponents[0] - halved, exponents[1] - halved
        block = min(width + 2, inner[0]), min(height + 2, inner[1])
        grids = defaultdict[tuple[int, int], list[_Grid]](list)
        for right, low in ((1, 0), (0, 1), (1, 1)) if halved else ((0, 0),):
            for where, blocks in _blocks(box, down + halved, (right, low), block, inner).items():
                grids[where].append(_Grid(blocks, style))
        for number, (row, column) in enumerate((row, column) for row in rows for column in columns):
            y = max(tile[1], (row << exponents[1] + down) * step[1])
            x = max(tile[0], (column << exponents[0] + down) * step[0])
            yield _Precinct(y, x, component, resolution, number, grids[row, column])


def _blocks(
    box: Sequence[int], level: int, orientation: tuple[int, int], block: tuple[int, int], precinct: tuple[int, int]
) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Row and column of each code-block of a sub-band, by the row and column of its precinct (T.800 B.7)."""
    shift = [(1 << level >> 1) * part for part in orientation]
    x0, y0, x1, y1 = _divided([edge - shift[place % 2] for place, edge in enumerate(box)], (1 << level, 1 << level))
    gathered = defaultdict[tuple[int, int], list[tuple[int, int]]](list)
    if x0 < x1 and y0 < y1:
        rows, columns = (
            range(y0 >> block[1], (y1 - 1 >> block[1]) + 1),
            range(x0 >> block[0], (x1 - 1 >> block[0]) + 1),
        )
        if len(rows) * len(columns) > _MOST_BLOCKS:
            raise CodestreamBroken
        for row in rows:
            for column in columns:
                gathered[row << block[1] >> precinct[1], column << block[0] >> precinct[0]].append((row, column))
    return gathered


def _divided(box: Iterable[int], steps: tuple[int, int]) -> list[int]:
    """A box in larger steps, rounded up."""
    return [-(-edge // steps[place % 2]) for place, edge in enumerate(box)]


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")
