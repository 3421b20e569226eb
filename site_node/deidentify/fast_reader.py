"""The fast reader: a walk over the bytes of explicit and implicit VR little endian files (PS3.5 sections 7, A.4, A.5).

Values are slices of the file; elements that are the same as in the file before are not even parsed (`shapes`).
Native pixel data are not read at all: a `Span` says where they lie, and the kernel moves them. Only the rest of the
file is read into memory.
"""

import os
import zlib
from functools import partial
from typing import NamedTuple

from site_node.deidentify.encapsulated import FAMILIES
from site_node.deidentify.reasons import unsupported
from site_node.deidentify.shapes import FileMetas, Shapes
from site_node.dicom.elements import (
    ITEM,
    ITEM_END,
    PIXEL_DATA,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    ElementRun,
    Elements,
    ParsedFile,
    Span,
    facts_of,
)
from site_node.dicom.file_meta import PREAMBLE, START, read_file_meta
from site_node.dicom.walk import IMPLICIT_HEADER, NAMES, SHORT, NeedsMore, Walk

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
MOST = 1 << 30  # bytes of a file that may have to be in memory at once: all but native pixel data
_TRAILER = 8  # bytes: some writers append the checksum and size of the gzip format
_HEAD = 1 << 15  # bytes read first; the pixels of a CT slice lie within the first 20 KB
_GROWTH = 8
_SMALL = 1 << 12  # bytes of a sequence whose items are kept as they were read
_TAIL = 1 << 24  # bytes that may follow the pixel data: signatures, padding
_PIXELS = b"\xe0\x7f\x10\0"
_NO_FACTS: Elements = {}
_NAMING = frozenset({"DA", "DT", "PN"})  # representations of names, and of dates, which identify as well


class Reading(NamedTuple):
    """What a reader needs to know of a profile and of the files it read before."""

    sequences: frozenset[int]  # tags of the table's sequences
    facts: frozenset[int]  # tags that say what a file is; creators of private blocks are always among them
    naming: frozenset[int]  # tags that hold somebody's name or number
    shapes: tuple[Shapes, Shapes]  # of implicit and of explicit files
    metas: FileMetas

    def run(self, raw: bytes, tag: int, element: Element) -> ElementRun:
        """One element of the top level."""
        is_fact = tag in self.facts or (tag >> 16 & 1 and tag & 0xFFFF <= 0xFF)  # PS3.5 section 7.8.1
        elements = {tag: element}
        naming = tag in self.naming or element.vr in _NAMING or not isinstance(element.value, bytes)
        return ElementRun(raw, elements, elements if is_fact else _NO_FACTS, naming)


class _NotForThisReader(Exception):  # not an error: it sends the file to the other reader
    """The file is DICOM of a form that only the slow reader knows."""


def read_source(file: int, reading: Reading) -> ParsedFile | None:
    """Read one file; None if only the other reader can.

    Args:
        file: its descriptor, open for reading.
        reading: what is known of the profile and of the files before.

    Raises:
        DicomUnsupported: the file is broken.
    """
    size, length = os.fstat(file).st_size, _HEAD
    while True:
        head = os.pread(file, length, 0)
        if len(head) < min(length, size):
            raise unsupported("changed-while-reading")
        try:
            return _File(head, size, reading, file).parse()
        except NeedsMore:
            if length >= MOST:
                raise unsupported("too-large") from None
            length *= _GROWTH
        except _NotForThisReader:
            return None


class _File(Walk):
    """One pass over one file's bytes, of which the first `len(data)` of `size` are in memory."""

    def __init__(self, data: bytes, size: int, reading: Reading, file: int = -1) -> None:
        super().__init__(data, size, reading.sequences)
        self._reading = reading
        self._file = file
        self._explicit = True
        self._pixels: Span | None = None
        self._pixel_vr = "OW"
        self._encapsulated = False

    def parse(self) -> ParsedFile:
        """Parse the whole file."""
        syntax, start = self._read_meta()
        if syntax == DEFLATED:
            return self._inflated(start)
        if syntax not in {IMPLICIT, EXPLICIT} and syntax not in FAMILIES:
            raise _NotForThisReader
        self._explicit = syntax != IMPLICIT
        if self._states_another_syntax(start):
            raise unsupported("wrong-syntax", "TransferSyntaxUID")
        runs = self._top(start)
        if self._pixels is not None and self._encapsulated != (syntax in FAMILIES):
            raise unsupported("wrong-syntax", "PixelData")
        facts = facts_of(runs)
        return ParsedFile(runs, facts, self._explicit, syntax, self._pixels, self._encapsulated, self._pixel_vr)

    def _read_meta(self) -> tuple[str, int]:
        """Transfer syntax and offset of the data set. Raises `_NotForThisReader` without a Part 10 header for them."""
        data = self.data
        if data[PREAMBLE:START] != b"DICM":
            raise _NotForThisReader
        return self._reading.metas.match(data) or self._walk_meta()

    def _walk_meta(self) -> tuple[str, int]:
        meta = read_file_meta(self)
        if not meta.syntax:
            # Without file meta information a syntax may be guessed; with one that lacks it, the file is broken.
            raise _NotForThisReader if meta.end == START else unsupported("not-readable", "TransferSyntaxUID")
        self._reading.metas.learn(self.data[: meta.end], meta.instance, meta.syntax)
        return meta.syntax, meta.end

    def _states_another_syntax(self, start: int) -> bool:
        """Whether the first element says that the data set is in another syntax than the stated one."""
        first = self.data[start : start + 6]
        is_explicit = first[4:] in NAMES
        return len(first) == 6 and (is_explicit != self._explicit or first[:2] == b"\0\x08")

    def _inflated(self, start: int) -> ParsedFile:
        """A deflated file (PS3.5 section A.5), read from memory and written as explicit VR little endian."""
        self.need(self.size, self.size)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(self.data[start:], MOST)
        except zlib.error as error:
            raise unsupported("not-readable") from error
        if not inflate.eof:
            raise unsupported("truncated")
        if len(inflate.unused_data.rstrip(b"\0")) > _TRAILER:
            raise unsupported("unknown-tail")
        walk = _File(data, len(data), self._reading)
        runs = walk._top(0)
        place = walk._pixels
        pixels = None if place is None else data[place.offset : place.offset + place.length]
        if walk._encapsulated:
            raise unsupported("pixel-fragments", "PixelData")
        return ParsedFile(runs, facts_of(runs), True, EXPLICIT, pixels, False, walk._pixel_vr)

    def _top(self, place: int) -> tuple[ElementRun, ...]:
        """The top level: first the runs of earlier files, then element by element."""
        shapes = self._reading.shapes[self._explicit]
        known = shapes.match(self.data, place, self._run)
        if known is not None and self._follows(*known[1:]):
            runs, place, last = known
            self._rest(runs, place, last)
        else:
            runs = []
            self._rest(runs, place, -1)
            shapes.learn(runs)
        return tuple(runs)

    def _follows(self, place: int, last: int) -> bool:
        """Whether a run that matched ends where its series' files have their pixel data or their end."""
        if place + 8 > len(self.data):
            return place == self.size
        group, element, _ = IMPLICIT_HEADER(self.data, place)
        tag: int = group << 16 | element
        return last < tag == PIXEL_DATA

    def _rest(self, runs: list[ElementRun], place: int, last: int) -> None:
        """Add every element from `place` to the file's end to `runs`, of which `last` is the highest tag."""
        disorder: set[int] = set()  # every tag so far, once one is out of order
        while place < self.size - self.base and not self._only_zeros_follow(place):
            if self.data[place : place + 4] == _PIXELS:
                place = self._pixel_data(place)
                continue
            run, place = self._run(place)
            tag = next(iter(run.elements))
            if tag <= last and not disorder:
                disorder.update(tag for run in runs for tag in run.elements)
            if tag in disorder:
                raise unsupported("doubled-element")
            if disorder:
                disorder.add(tag)
            last = max(last, tag)
            runs.append(run)

    def _run(self, place: int) -> tuple[ElementRun, int]:
        """One element of the top level and the place after it; it holds no bytes of the file but its own."""
        end = self.size - self.base
        tag, vr, start, length = self.header(place, end, explicit=self._explicit)
        if tag == ITEM_END:
            raise unsupported("malformed-sequence")
        explicit = self._explicit and vr != b"UN"
        if length == UNDEFINED:
            after = self.skip(vr, start, end, explicit=explicit, depth=1)
        else:
            after = start + length
            if after > end or after > len(self.data):
                self.need(after, end)
        raw = self.data[place:after]
        if vr not in SHORT and self.is_sequence(tag, vr, length):
            walk = Walk(raw, 0, self._reading.sequences)
            items = partial(
                walk.items, start - place, len(raw), explicit=explicit, depth=1, delimited=length == UNDEFINED
            )
            value = list(items()).__iter__ if len(raw) <= _SMALL else items  # it is read more than once
            return self._reading.run(raw, tag, Element(NAMES[vr], value)), after
        return self._reading.run(raw, tag, Element(NAMES[vr], raw[start - place :])), after

    def _pixel_data(self, place: int) -> int:
        """Note where the pixel data lie; the place after them."""
        if self._pixels is not None:
            raise unsupported("doubled-element", "PixelData")
        _, vr, start, length = self.header(place, self.size - self.base, explicit=self._explicit)
        self._pixel_vr = NAMES[vr] or "OW"
        self._encapsulated = length == UNDEFINED
        first = self.base + start
        after = self._after_fragments(first) if self._encapsulated else first + length
        if after > self.size:
            raise unsupported("truncated", "PixelData")
        self._pixels = Span(first, after - first)
        return self._jump(after)

    def _after_fragments(self, place: int) -> int:
        """The place in the file after encapsulated pixel data, of which only the items' headers are read."""
        while True:
            head = self._bytes(place, 8)
            if len(head) < 8:  # tag and length
                raise unsupported("truncated", "PixelData")
            group, element, length = IMPLICIT_HEADER(head)
            tag, place = group << 16 | element, place + 8
            if tag == SEQUENCE_END:
                return place
            if tag != ITEM or length == UNDEFINED:
                raise unsupported("pixel-fragments", "PixelData")
            place += length

    def _bytes(self, place: int, count: int) -> bytes:
        """Bytes of the file, whether they were read before or not."""
        own = self.data[place - self.base : place - self.base + count]
        return own if len(own) == count or self._file < 0 else os.pread(self._file, count, place)

    def _jump(self, place: int) -> int:
        """Go on at a place in the file; what lies between is not read."""
        if place < self.size and self.base + len(self.data) < self.size:
            if self.size - place > _TAIL:
                raise unsupported("unknown-tail")
            self.data, self.base = os.pread(self._file, self.size - place, place), place
            if len(self.data) != self.size - place:
                raise unsupported("changed-while-reading")
        return place - self.base

    def _only_zeros_follow(self, place: int) -> bool:
        """Whether the file ends in padding, which is dropped. Anything else that is not an element is refused."""
        if self.data[place : place + 8].strip(b"\0"):
            return False
        self.need(self.size - self.base, self.size)
        if self.data[place:].strip(b"\0"):
            raise unsupported("unknown-tail")
        return True
