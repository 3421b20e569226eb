"""JPEG and JPEG-LS frames by their grammar (ITU-T T.81 Annex B, T.87 Annex C): only what a decoder needs stays.

Comments and application segments go but the few that say how to decode, which are written anew. Tables that no scan
uses go, and what a scan has after its last block or sample. What stays is as long as its own counts say.
"""

import re
import struct
from typing import NamedTuple

from libjpeg.utils import decode

from site_node.deidentify.huffman import Component, Scan, ScanBroken, Shape, Table
from site_node.deidentify.reasons import unsupported

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_DHT, _DQT, _DRI, _LSE = 0xC4, 0xDB, 0xDD, 0xF8
_APP = range(0xE0, 0xF0)
_JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"  # no density, no thumbnail
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"  # and one byte of colour transform
_MRFX = b"\xff\xe8\0\x07mrfx"  # likewise
_SEQUENTIAL, _PROGRESSIVE, _LOSSLESS, _LS = frozenset({0xC0, 0xC1}), 0xC2, 0xC3, 0xF7
_SOF = _SEQUENTIAL | {_PROGRESSIVE, _LOSSLESS, _LS}
_LSE_PRESET = 13  # length of the only LSE segment without a table (T.87 C.2.4.1.1)
_NEXT = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # a marker after entropy-coded data
_LS_NEXT = re.compile(rb"\xff[\x80-\xcf\xd8-\xff]")
_MOST_BLOCKS = 1 << 22  # of a progressive scan, each of which is remembered
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_OTHER_ENDS = (b"\0\0", b"\x55\x55")  # of a JPEG-LS scan, with one of which its picture is another one


def clean_jpeg(frame: bytes) -> bytes:
    """The frame without what a decoder does not need.

    Raises:
        DicomUnsupported: a segment is unknown, or longer than it says; or a scan cannot be followed.
        IndexError, struct.error: the frame ends early.
    """
    if frame[:2] != bytes((0xFF, _SOI)):
        raise unsupported("pixel-fragments", "PixelData")
    walk, place = _Walk(), 2
    while True:
        while frame[place : place + 2] == b"\xff\xff":  # fill bytes
            place += 1
        if frame[place : place + 2] == bytes((0xFF, _EOI)):
            walk.check_ends()
            return walk.frame()
        (length,) = struct.unpack_from(">H", frame, place + 2)
        end = place + 2 + int(length)
        if frame[place] != 0xFF or length < 2 or end > len(frame):  # every marker begins so
            raise unsupported("pixel-fragments", "PixelData")
        marker, body = frame[place + 1], frame[place + 4 : end]
        if marker == _SOS:
            after = (_LS_NEXT if walk.is_ls else _NEXT).search(frame, end)
            if after is None:
                raise unsupported("truncated", "PixelData")
            walk.scan(body, frame[end : after.start()])
            end = after.start()
        else:
            walk.segment(marker, body)
        place = end


class _Definition(NamedTuple):
    """One table, as it was defined."""

    marker: int
    content: bytes  # its class and number, then the table


class _Walk:
    """What stays of a frame so far, and what its scans refer to."""

    def __init__(self) -> None:
        self._kept: list[bytes | list[_Definition]] = []
        self._tables: dict[tuple[int, int], _Definition] = {}
        self._used: set[int] = set()  # by identity: a table may be defined twice alike
        self._process = 0
        self._shape: Shape | None = None
        self._interval = 0
        self._coded: dict[int, list[int]] = {}  # of progressive frames, by component
        self._scanned: set[int] = set()
        self._ls_scans: dict[int, bytes] = {}  # their data, by place among the kept parts

    @property
    def is_ls(self) -> bool:
        """Whether the frame header is one of JPEG-LS."""
        return self._process == _LS

    def frame(self) -> bytes:
        """The frame that is left."""
        parts = [bytes((0xFF, _SOI))]
        for part in self._kept:
            if isinstance(part, bytes):
                parts.append(part)
            else:
                used = b"".join(table.content for table in part if id(table) in self._used)
                parts.append(_segment(part[0].marker, used) if used else b"")
        return b"".join((*parts, bytes((0xFF, _EOI))))

    def check_ends(self) -> None:
        """Raise `DicomUnsupported` where the decoder of a JPEG-LS frame does not read the last bytes of a scan.

        Each code there depends on every pixel before it, so only decoding shows where a scan ends.
        """
        shown = _decoded(self.frame()) if self._ls_scans else None
        for place, data in self._ls_scans.items():
            pictures = []
            for other in _OTHER_ENDS:
                self._kept[place] = data[: -len(other)] + other
                pictures.append(_decoded(self.frame()))
            self._kept[place] = data
            if shown is None or all(picture == shown for picture in pictures):
                raise unsupported("pixel-hidden-data", "PixelData")

    def segment(self, marker: int, body: bytes) -> None:
        """Add a segment that is no scan."""
        if marker in {_DHT, _DQT}:
            tables = [_Definition(marker, table) for table in _tables(marker, body)]
            self._kept.append(tables)
            self._tables |= {(marker, table.content[0] & (0x1F if marker == _DHT else 0x0F)): table for table in tables}
            return
        if marker in _SOF and self._shape is None:
            self._process, self._shape = marker, _shape(body, lossless=marker in {_LOSSLESS, _LS})
        elif marker == _DRI and len(body) == 2:
            (self._interval,) = struct.unpack(">H", body)
        elif marker in _APP:
            self._kept.append(_application(_segment(marker, body)))
            return
        elif marker == _COM:
            return
        elif marker != _LSE or len(body) + 2 != _LSE_PRESET or body[0] != 1:
            raise unsupported("pixel-hidden-data", "PixelData")
        self._kept.append(_segment(marker, body))

    def scan(self, header: bytes, data: bytes) -> None:
        """Add a scan."""
        shape, count = self._shape, header[0]
        if shape is None or len(header) != 4 + 2 * count or not count:
            raise unsupported("pixel-hidden-data", "PixelData")
        by_number = {component.number: component for component in shape.components}
        numbers = list(header[1 : 1 + 2 * count : 2])
        if not by_number.keys() >= set(numbers) or len(set(numbers)) != count:
            raise unsupported("pixel-fragments", "PixelData")
        if self._process != _PROGRESSIVE and self._scanned & set(numbers):
            raise unsupported("pixel-hidden-data", "PixelData")  # a second picture, which decoders may not show
        self._scanned |= set(numbers)
        self._kept.append(_segment(_SOS, header))
        if self.is_ls:
            self._ls_scans[len(self._kept)] = data
            self._kept.append(data)
            return
        components = [by_number[number] for number in numbers]
        try:
            self._kept.append(self._entropy(shape, components, header[2 : 2 + 2 * count : 2], header[-3:], data))
        except (ScanBroken, KeyError) as error:
            raise unsupported("pixel-fragments", "PixelData") from error

    def _entropy(self, shape: Shape, components: list[Component], selectors: bytes, band: bytes, data: bytes) -> bytes:
        """What a scan's decoder reads of its data."""
        first, last, approximation = band
        count, units = shape.units(components)
        lossless, refines = self._process == _LOSSLESS, bool(approximation >> 4)
        if lossless:
            first = 0  # it is the predictor
        elif self._process in _SEQUENTIAL and band not in {b"\0\x3f\0", b"\0\0\0"}:
            raise unsupported("pixel-hidden-data", "PixelData")
        is_dc, is_ac = not first and not refines, last > 0 or self._process in _SEQUENTIAL
        if not lossless:
            for component in components:
                self._use(_DQT, component.table)
        dc = [self._huffman(selector >> 4) for selector in selectors if is_dc]
        ac = [self._huffman(0x10 | selector & 15) for selector in selectors if is_ac]
        if self._process == _PROGRESSIVE and count > _MOST_BLOCKS:
            raise ScanBroken
        coded = self._coded.setdefault(components[0].number, [0] * count) if first else []
        scan = Scan(units, dc, ac, (first, last), refines=refines, coded=coded)
        return _intervals(scan, data, count, self._interval)

    def _use(self, marker: int, number: int) -> bytes:
        table = self._tables[marker, number]
        self._used.add(id(table))
        return table.content

    def _huffman(self, number: int) -> Table:
        content = self._use(_DHT, number)
        return Table(content[1:17], content[17:])


def _decoded(frame: bytes) -> bytes | None:
    """The picture of a JPEG-LS frame, None where it has none."""
    try:
        return bytes(decode(frame).tobytes())
    except (RuntimeError, ValueError, OverflowError, MemoryError):
        return None


def _intervals(scan: Scan, data: bytes, count: int, interval: int) -> bytes:
    """A scan's restart intervals, each up to its last data unit (T.81 B.1.1.5, F.1.2.3)."""
    pieces, kept = _RESTART.split(data), list[bytes]()
    for number, piece in enumerate(pieces[::2]):
        if number and pieces[2 * number - 1] != bytes((0xD0 | (number - 1) % 8,)):
            raise ScanBroken
        units = min(count, interval or count)
        plain = piece.replace(b"\xff\0", b"\xff")
        used = scan.end(plain, units)
        kept.append(piece if used == len(plain) else plain[:used].replace(b"\xff", b"\xff\0"))
        count -= units
        if not count:
            break
    if count:
        raise ScanBroken
    return b"".join(
        kept[:1] + [part for number, piece in enumerate(kept[1:]) for part in (bytes((0xFF, 0xD0 | number % 8)), piece)]
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _tables(marker: int, body: bytes) -> list[bytes]:
    """The tables of a DQT or DHT segment, which must fill it (T.81 B.2.4.1, B.2.4.2)."""
    tables, place = [], 0
    while place < len(body):
        kind, number = divmod(body[place], 16)
        size = 64 << kind if marker == _DQT else 16 + sum(body[place + 1 : place + 17])
        if kind > 1 or number > 3 or place + 1 + size > len(body):
            raise unsupported("pixel-hidden-data", "PixelData")
        tables.append(body[place : place + 1 + size])
        place += 1 + size
    return tables


def _shape(body: bytes, *, lossless: bool) -> Shape:
    """What a frame header says, which must be as long as its count of components (T.81 B.2.2)."""
    _, lines, columns, count = struct.unpack_from(">BHHB", body)
    if len(body) != 6 + 3 * count:
        raise unsupported("pixel-hidden-data", "PixelData")
    rows = [body[place : place + 3] for place in range(6, len(body), 3)]
    components = tuple(Component(number, factors >> 4, factors & 15, table) for number, factors, table in rows)
    if not lines or not columns or not all(1 <= part.wide <= 4 and 1 <= part.high <= 4 for part in components):
        raise unsupported("pixel-fragments", "PixelData")
    return Shape(lines, columns, components, 1 if lossless else 8)


def _application(segment: bytes) -> bytes:
    """An application segment as it stays: what says how to decode the frame, and nothing else."""
    if segment[:9] == _JFIF[:9] and len(segment) == len(_JFIF):
        return _JFIF
    for known in (_ADOBE, _MRFX):
        start = known[:9]
        if segment.startswith(start) and len(segment) == len(known) + 1 and segment[-1] < 4:
            return known + segment[-1:]
    return b""
