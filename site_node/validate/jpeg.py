"""JPEG and JPEG-LS frames read to their last block or sample: what a decoder reads, and nothing else.

Independent of `site_node.deidentify.jpeg` on purpose; the forms of the segments are those of ITU-T T.81 Annex B.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from libjpeg.utils import decode

from site_node.validate.entropy import CodestreamBroken, HuffmanTable, progressive, sequential

_SOS, _EOI, _COM, _DHT, _DQT, _DRI, _LSE = 0xDA, 0xD9, 0xFE, 0xC4, 0xDB, 0xDD, 0xF8
_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS, _LS = 0xC0, 0xC1, 0xC2, 0xC3, 0xF7
_FRAME_HEADERS = frozenset({_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS, _LS})
_APPLICATION = range(0xE0, 0xF0)
_COLOUR = re.compile(  # the application segments that say how to decode, with nothing else in them
    rb"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00|Adobe\x00\x64\x00\x00\x00\x00[\x00-\x03]|mrfx[\x00-\x03]"
)
_MOST_BLOCKS = 1 << 22  # of a progressive scan, each of which is remembered
_Place = tuple[int, int]  # a table: which segment, and where in it


class _Segment(NamedTuple):
    marker: int
    body: bytes
    data: bytes = b""  # of a scan

    def written(self, body: bytes, data: bytes) -> bytes:
        return bytes((0xFF, self.marker)) + (len(body) + 2).to_bytes(2, "big") + body + data


class _Component(NamedTuple):
    across: int  # sampling factors
    down: int
    quantisation: int


class _Frame:
    """What the segments so far say of the frame."""

    def __init__(self) -> None:
        self.process, self.interval, self.height, self.width = 0, 0, 0, 0
        self.components: dict[int, _Component] = {}
        self.places: dict[tuple[int, int], _Place] = {}  # the latest table of each marker and number
        self.tables: dict[_Place, bytes] = {}
        self.used: set[_Place] = set()
        self.blocks: dict[int, list[set[int]]] = {}  # which coefficients progressive scans coded, by component
        self.shown: set[int] = set()  # the components that have had a scan

    def table(self, marker: int, number: int) -> bytes:
        """A table that a scan uses."""
        if (marker, number) not in self.places:
            raise CodestreamBroken
        place = self.places[marker, number]
        self.used.add(place)
        return self.tables[place]


def read_by_decoder(stream: bytes, *, colour: bool) -> bytes:
    """The frame with what its decoder reads; with segments that only say its colours if asked.

    Raises `CodestreamBroken`.
    """
    frame, segments, kept = _Frame(), list(_segments(stream)), dict[int, bytes]()
    for number, segment in enumerate(segments):
        marker, body = segment.marker, segment.body
        if marker in {_DHT, _DQT}:
            for at, table in _tables(marker, body):
                frame.tables[number, at] = table
                frame.places[marker, table[0] & (0x1F if marker == _DHT else 0x0F)] = number, at
        elif marker == _SOS:
            kept[number] = segment.written(body, _scan(segment, frame))
        elif marker in _APPLICATION:
            if colour and _COLOUR.fullmatch(body):
                kept[number] = segment.written(body, b"")
        elif marker != _COM:
            _read_header(segment, frame)
            kept[number] = segment.written(body, b"")
    for number, segment in enumerate(segments):
        tables = b"".join(frame.tables[place] for place in sorted(frame.used) if place[0] == number)
        if tables:
            kept[number] = segment.written(tables, b"")
    return _read_to_its_end(stream[:2] + b"".join(kept[number] for number in sorted(kept)) + bytes((0xFF, _EOI)), frame)


def _read_to_its_end(written: bytes, frame: _Frame) -> bytes:
    if frame.process == _LS and _are_unread(written):
        raise CodestreamBroken
    return written


def _are_unread(frame: bytes) -> bool:
    """Whether some JPEG-LS scan decodes to the same picture whatever its last two bytes are, or the frame to none."""
    before, scans = _shown(frame), [at.start() for at in re.finditer(rb"\xff\xda", frame)]
    ends = [*scans[1:], len(frame) - 2]
    return before is None or any(
        all(_shown(frame[: end - 2] + changed + frame[end:]) == before for changed in (b"\x2a\x2a", b"\x55\x55"))
        for end in ends
    )


def _shown(frame: bytes) -> bytes | None:
    try:
        return bytes(decode(frame).tobytes())
    except (RuntimeError, ValueError, OverflowError, MemoryError):
        return None


def _segments(stream: bytes) -> Iterator[_Segment]:
    at, is_ls = 2, False
    while stream[at : at + 2] != bytes((0xFF, _EOI)):
        if at + 4 > len(stream) or stream[at] != 0xFF:
            raise CodestreamBroken
        marker = stream[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if not at + 4 <= end <= len(stream):
            raise CodestreamBroken
        is_ls = is_ls or marker == _LS
        after = _after_scan(stream, end, 0x80 if is_ls else 1) if marker == _SOS else end
        yield _Segment(marker, stream[at + 4 : end], stream[end:after])
        at = after


def _after_scan(stream: bytes, at: int, lowest: int) -> int:
    """The next marker after entropy-coded data; there 0xFF is stuffed or a restart (below 0x80 in JPEG-LS)."""
    while True:
        at = stream.find(b"\xff", at)
        if at < 0 or at + 1 >= len(stream):
            raise CodestreamBroken
        if stream[at + 1] >= lowest and not 0xD0 <= stream[at + 1] <= 0xD7:
            return at
        at += 1


def _tables(marker: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        size = 17 + sum(body[at + 1 : at + 17]) if marker == _DHT else 65 + 64 * (body[at] >> 4)
        if body[at] & 0xEC or at + size > len(body):
            raise CodestreamBroken
        yield at, body[at : at + size]
        at += size


def _read_header(segment: _Segment, frame: _Frame) -> None:
    marker, body = segment.marker, segment.body
    if marker in _FRAME_HEADERS and not frame.process and len(body) == 6 + 3 * body[5]:
        frame.process = marker
        frame.height, frame.width = (int.from_bytes(body[at : at + 2], "big") for at in (1, 3))
        for at in range(6, len(body), 3):
            frame.components[body[at]] = _Component(body[at + 1] >> 4, body[at + 1] & 15, body[at + 2])
        if not all(part.across and part.down for part in frame.components.values()) or not frame.height:
            raise CodestreamBroken
    elif marker == _DRI and len(body) == 2:
        frame.interval = int.from_bytes(body, "big")
    elif marker != _LSE or body[:1] != b"\1" or len(body) != 11:
        raise CodestreamBroken


def _scan(segment: _Segment, frame: _Frame) -> bytes:
    """What a scan's decoder reads of its data."""
    count, *selected = segment.body[:-3]
    numbers, selectors = selected[::2], selected[1::2]
    once = frame.process == _PROGRESSIVE or not frame.shown & set(numbers)
    if len(selected) != 2 * count or len({*numbers} & frame.components.keys()) != count or not once:
        raise CodestreamBroken
    frame.shown |= set(numbers)
    if frame.process == _LS:
        return segment.data
    first, last, approximation = segment.body[-3:]
    if frame.process in {_BASELINE, _EXTENDED}:
        if first or approximation or last not in {0, 63}:
            raise CodestreamBroken
        last = 63
    elif frame.process == _LOSSLESS:
        first = last = 0
    if frame.process != _LOSSLESS:
        for number in numbers:
            frame.table(_DQT, frame.components[number].quantisation)
    return _intervals(
        segment.data, frame.interval, *_walk(frame, numbers, selectors, (first, last), approximation > 15)
    )


def _walk(
    frame: _Frame, numbers: Sequence[int], selectors: Sequence[int], band: tuple[int, int], refines: bool
) -> tuple[int, Callable[[bytes, int, int], int]]:
    """The units of a scan, and what says how many bits some of them have: of which data, from which on, how many."""
    units, parts = _units(frame, numbers)
    dc = [HuffmanTable(frame.table(_DHT, at >> 4)[1:]) for at in selectors if not band[0] and not refines]
    ac = [HuffmanTable(frame.table(_DHT, 16 | at & 15)[1:]) for at in selectors if band[1]]
    if band[0] and units <= _MOST_BLOCKS:
        blocks = frame.blocks.setdefault(numbers[0], [set() for _ in range(units)])
        coefficients = range(band[0], band[1] + 1)
        return units, lambda data, start, count: progressive(
            data, ac[0], blocks[start : start + count], coefficients, refines=refines
        )
    if band[0]:
        raise CodestreamBroken
    if refines:
        return units, lambda _data, _start, count: count * len(parts)
    ways = [(dc[part], ac[part] if ac else None) for part in parts]
    return units, lambda data, _start, count: sequential(data, count, ways)


def _units(frame: _Frame, numbers: Sequence[int]) -> tuple[int, list[int]]:
    """How many minimum coded units a scan has, and the component of each block or sample in one (T.81 A.2)."""
    most_across = max(part.across for part in frame.components.values())
    most_down = max(part.down for part in frame.components.values())
    side = 1 if frame.process == _LOSSLESS else 8
    parts = [frame.components[number] for number in numbers]
    if len(parts) == 1:
        width, height = frame.width * parts[0].across, frame.height * parts[0].down
        return _up(_up(width, most_across), side) * _up(_up(height, most_down), side), [0]
    count = _up(frame.width, side * most_across) * _up(frame.height, side * most_down)
    return count, [place for place, part in enumerate(parts) for _ in range(part.across * part.down)]


def _up(number: int, step: int) -> int:
    return (number + step - 1) // step


def _intervals(data: bytes, interval: int, units: int, bits: Callable[[bytes, int, int], int]) -> bytes:
    """A scan's restart intervals up to the last one's last unit (T.81 E.2.4)."""
    kept, start, pieces = b"", 0, re.split(rb"(\xff[\xd0-\xd7])", data)
    for number, piece in enumerate(pieces[::2]):
        if number:
            if pieces[2 * number - 1][1] != 0xD0 + (number - 1) % 8:
                raise CodestreamBroken
            kept += pieces[2 * number - 1]
        count, plain = min(interval or units, units - start), piece.replace(b"\xff\0", b"\xff")
        used = _up(bits(plain, start, count), 8)
        if used > len(plain):
            raise CodestreamBroken
        kept += plain[:used].replace(b"\xff", b"\xff\0")
        start += count
        if start == units:
            return kept
    raise CodestreamBroken
