"""The fast reader: a walk over the bytes of explicit and implicit VR little endian files (PS3.5 sections 7, A.4, A.5).

Values are slices of the file; elements that are the same as in the file before are not even parsed (`runs`). Native
pixel data are not read at all: a `Span` says where they lie, and the kernel moves them. What is read into memory is
the rest of the file, whatever the file's size.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from site_node.deidentify.elements import (
    ITEM,
    ITEM_END,
    LONG_VRS,
    PIXEL_DATA,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Dataset,
    Element,
    Piece,
    Source,
    Span,
    facts_of,
)
from site_node.deidentify.frames import FAMILIES
from site_node.deidentify.reasons import stop
from site_node.deidentify.runs import Runs

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
DEEPEST = 64
MOST = 1 << 30  # bytes of a file that may have to be in memory at once: all but native pixel data
_TRAILER = 8  # bytes: some writers leave the checksum and size of the gzip format behind
_HEAD = 1 << 15  # bytes read first; the pixels of a CT slice lie within the first 20 KB
_GROWTH = 8
_TAIL = 1 << 24  # bytes that may follow the pixel data: signatures, padding
_PREAMBLE = 132
_LONG = frozenset(vr.encode() for vr in LONG_VRS)
_SHORT = frozenset(vr.encode() for vr in SHORT_VRS)
_UNTOLD = frozenset({b"", b"UN"})  # the file does not say that it is a sequence
_BULK = frozenset({b"OB", b"OW"})  # undefined length means fragments here (PS3.5 section A.4)
_DELIMITERS = 0xFFFE
_NAMES = {b"": ""} | {vr: vr.decode() for vr in _LONG | _SHORT}
_EXPLICIT_HEADER = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEADER = struct.Struct("<HHL").unpack_from
_LENGTH = struct.Struct("<L").unpack_from


class Reading(NamedTuple):
    """What a reader needs to know of a profile and of the files before."""

    sequences: Mapping[int, bool]  # tags of the table, and whether each is a sequence
    facts: frozenset[int]  # tags that say what a file is; creators of private blocks are always among them
    naming: frozenset[int]  # tags that hold somebody's name or number
    runs: tuple[Runs, Runs]  # of implicit and of explicit files

    def piece(self, raw: bytes, tag: int, element: Element) -> Piece:
        """One element of the top level."""
        is_fact = tag in self.facts or (tag >> 16 & 1 and tag & 0xFFFF <= 0xFF)  # noqa: PLR2004  # PS3.5 section 7.8.1
        elements = {tag: element}
        naming = tag in self.naming or element.vr == "PN" or not isinstance(element.value, bytes)
        return Piece(raw, elements, elements if is_fact else {}, naming)


class _NotForThisReader(Exception):  # no error: it sends the file to the other reader
    """The file is DICOM of a form that only the slow reader knows."""


class _NeedsMore(Exception):  # no error: more bytes are read
    """An element other than native pixel data goes past the bytes read so far."""


def read_source(file: int, reading: Reading) -> Source | None:
    """Read one file; None if only the other reader can.

    Args:
        file: its descriptor, open for reading.
        reading: what is known beforehand.

    Raises:
        DicomUnsupported: the file is broken.
    """
    size, length = os.fstat(file).st_size, _HEAD
    while True:
        head = os.pread(file, length, 0)
        if len(head) < min(length, size):
            raise stop("changed-while-reading")
        try:
            return _Walk(head, size, reading, file).source()
        except _NeedsMore:
            if length >= MOST:
                raise stop("too-large") from None
            length *= _GROWTH
        except _NotForThisReader:
            return None


class _Walk:
    """One pass over one file's bytes, of which the first `len(data)` of `size` are here."""

    def __init__(self, data: bytes, size: int, reading: Reading, file: int = -1) -> None:
        self._data = data
        self._size = size
        self._reading = reading
        self._file = file
        self._base = 0  # where in the file `data` begins
        self._explicit = True
        self._pixels: Span | None = None
        self._pixel_vr = "OW"
        self._encapsulated = False

    def source(self) -> Source:
        """The whole file."""
        syntax, start = self._read_meta()
        if syntax == DEFLATED:
            return self._inflated(start)
        if syntax not in {IMPLICIT, EXPLICIT} and syntax not in FAMILIES:
            raise _NotForThisReader
        self._explicit = syntax != IMPLICIT
        pieces = self._top(start)
        if self._pixels is not None and self._encapsulated != (syntax in FAMILIES):
            raise stop("pixel-fragments", "PixelData")
        facts = facts_of(pieces)
        return Source(pieces, facts, self._explicit, syntax, self._pixels, self._encapsulated, self._pixel_vr)

    def _read_meta(self) -> tuple[str, int]:
        """Transfer syntax and offset of the data set; `_NotForThisReader` without a Part 10 header that says it."""
        data = self._data
        if data[128:_PREAMBLE] != b"DICM":
            raise _NotForThisReader
        place, syntax = _PREAMBLE, ""
        while data[place : place + 2] == b"\x02\0":
            self._need(place + 12, self._size)
            _, element, vr, length = _EXPLICIT_HEADER(data, place)
            start = place + 8
            if vr in _LONG:
                (length,), start = _LENGTH(data, place + 8), place + 12
            elif vr not in _SHORT:
                raise stop("malformed-element")
            place = start + length
            self._need(place, self._size)
            if element == 0x0010:  # noqa: PLR2004  # (0002,0010) TransferSyntaxUID
                syntax = data[start:place].decode("latin-1").strip(" \0")
        if not syntax:
            raise _NotForThisReader
        return syntax, place

    def _inflated(self, start: int) -> Source:
        """A deflated file (PS3.5 section A.5), read from memory and written as explicit VR little endian."""
        self._need(self._size, self._size)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(self._data[start:], MOST)
        except zlib.error as error:
            raise stop("not-readable") from error
        if not inflate.eof:
            raise stop("truncated")
        if len(inflate.unused_data.rstrip(b"\0")) > _TRAILER:
            raise stop("unknown-tail")
        walk = _Walk(data, len(data), self._reading)
        pieces = walk._top(0)  # of this very class
        place = walk._pixels  # likewise
        pixels = None if place is None else data[place.offset : place.offset + place.length]
        if walk._encapsulated:  # likewise
            raise stop("pixel-fragments", "PixelData")
        return Source(pieces, facts_of(pieces), True, EXPLICIT, pixels, False, walk._pixel_vr)  # as its fields

    def _top(self, place: int) -> tuple[Piece, ...]:
        """The top level: first what earlier files have too, then element by element."""
        runs = self._reading.runs[self._explicit]
        known = runs.match(self._data, place, self._piece)
        if known is not None and self._follows(*known[1:]):
            pieces, place, _ = known
            self._rest(pieces, place)
        else:
            pieces = []
            self._rest(pieces, place)
            runs.learn(pieces)
        return tuple(pieces)

    def _follows(self, place: int, last: int) -> bool:
        """Whether a run that matched ends where its series' files have their pixel data or their end."""
        if place + 8 > len(self._data):
            return place == self._size
        group, element, _ = _IMPLICIT_HEADER(self._data, place)
        tag: int = group << 16 | element
        return last < tag == PIXEL_DATA

    def _rest(self, pieces: list[Piece], place: int) -> None:
        """Add every element from `place` to the file's end to `pieces`."""
        tags: set[int] = set()
        while place < self._size - self._base and not self._only_zeros_follow(place):
            if _IMPLICIT_HEADER(self._data[place : place + 8].ljust(8, b"\0"))[:2] == (0x7FE0, 0x0010):
                place = self._pixel_data(place)
                continue
            piece, place = self._piece(place)
            tag = next(iter(piece.elements))
            if not tags:
                tags.update(tag for piece in pieces for tag in piece.elements)
            if tag in tags:
                raise stop("doubled-element")
            tags.add(tag)
            pieces.append(piece)

    def _piece(self, place: int) -> tuple[Piece, int]:
        """One element of the top level and the place after it; it keeps no more of the file than its own bytes."""
        end = self._size - self._base
        tag, vr, start, length = self._header(place, end, explicit=self._explicit)
        if tag == ITEM_END:
            raise stop("malformed-sequence")
        explicit = self._explicit and vr != b"UN"
        if length == UNDEFINED:
            after = self._skip(vr, start, end, explicit=explicit, depth=1)
        else:
            after = start + length
            self._need(after, end)
        raw = self._data[place:after]
        if self._is_sequence(tag, vr, length):
            walk = _Walk(raw, len(raw), self._reading)
            items = partial(
                walk._items, start - place, len(raw), explicit=explicit, depth=1, delimited=length == UNDEFINED
            )
            return self._reading.piece(raw, tag, Element(_NAMES[vr], items)), after
        return self._reading.piece(raw, tag, Element(_NAMES[vr], raw[start - place :])), after

    def _is_sequence(self, tag: int, vr: bytes, length: int) -> bool:
        if length == UNDEFINED:
            return vr not in _BULK
        return vr == b"SQ" or (vr in _UNTOLD and self._reading.sequences.get(tag, False))

    def _dataset(self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool) -> tuple[Dataset, int]:
        """The data set of an item and the place after it; `delimited` ones end with a delimiter before `end`."""
        found: Dataset = {}
        while place < end:
            tag, vr, start, length = self._header(place, end, explicit=explicit)
            if tag == ITEM_END:
                if not delimited:
                    raise stop("malformed-sequence")
                return found, start
            if tag in found:
                raise stop("doubled-element")
            found[tag], place = self._element(tag, vr, start, length, end, explicit=explicit, depth=depth)
        if delimited:
            raise stop("malformed-sequence")
        return found, place

    def _element(
        self, tag: int, vr: bytes, start: int, length: int, end: int, *, explicit: bool, depth: int
    ) -> tuple[Element, int]:
        """One element of an item and the place after it."""
        inner = explicit and vr != b"UN"
        if not self._is_sequence(tag, vr, length):
            after = self._skip(vr, start, end, explicit=inner, depth=depth) if length == UNDEFINED else start + length
            self._need(after, end)
            return Element(_NAMES[vr], self._data[start:after]), after
        if length != UNDEFINED:
            after = start + length
            self._need(after, end)
            return Element(_NAMES[vr], partial(self._items, start, after, explicit=inner, depth=depth + 1)), after
        # Read now: to look for its end first would take the depth squared.
        self._check_open(vr)
        each = list(self._each(start, end, explicit=inner, depth=depth + 1, delimited=True))
        items = [item for item, _ in each if item is not None]
        return Element(_NAMES[vr], items.__iter__), each[-1][1]

    def _items(self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool = False) -> Iterator[Dataset]:
        """The items of a sequence whose value lies between two places."""
        for item, _ in self._each(place, end, explicit=explicit, depth=depth, delimited=delimited):
            if item is not None:
                yield item

    def _each(
        self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool
    ) -> Iterator[tuple[Dataset | None, int]]:
        """Each item with the place after it, and None with the place after the sequence's delimiter if it has one."""
        if depth > DEEPEST:
            raise stop("too-deep")
        while place < end:
            tag, length = self._item_header(place, end)
            place += 8
            if tag == SEQUENCE_END:
                if not delimited:
                    raise stop("malformed-sequence")
                yield None, place
                return
            if length == UNDEFINED:
                item, place = self._dataset(place, end, explicit=explicit, depth=depth, delimited=True)
            else:
                self._need(place + length, end)
                item, place = self._dataset(place, place + length, explicit=explicit, depth=depth, delimited=False)
            yield item, place
        if delimited:
            raise stop("malformed-sequence")

    def _check_open(self, vr: bytes) -> None:
        """Only sequences and what nobody knows may have no length."""
        if vr != b"SQ" and vr not in _UNTOLD:
            raise stop("malformed-element")

    def _skip(self, vr: bytes, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after a value of undefined length: items, or fragments of nested pixel data."""
        if vr not in _BULK:
            self._check_open(vr)
        if depth > DEEPEST:
            raise stop("too-deep")
        while True:
            tag, length = self._item_header(place, end)
            place += 8
            if tag == SEQUENCE_END:
                return place
            if length != UNDEFINED:
                place += length
                self._need(place, end)
            elif vr in _BULK:
                raise stop("malformed-sequence")
            else:
                place = self._skip_item(place, end, explicit=explicit, depth=depth)

    def _skip_item(self, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after an item of undefined length."""
        while True:
            tag, vr, start, length = self._header(place, end, explicit=explicit)
            if tag == ITEM_END:
                return start
            if length == UNDEFINED:
                place = self._skip(vr, start, end, explicit=explicit and vr != b"UN", depth=depth + 1)
            else:
                place = start + length
                self._need(place, end)

    def _header(self, place: int, end: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, value representation, start of the value and its length."""
        self._need(place + 8, end)
        if explicit:
            group, element, vr, length = _EXPLICIT_HEADER(self._data, place)
            if group == _DELIMITERS:
                return self._delimiter(element, place)
            if vr in _SHORT:
                start = place + 8
            elif vr in _LONG:
                start = place + 12
                self._need(start, end)
                (length,) = _LENGTH(self._data, place + 8)
            else:
                raise stop("malformed-element")
        else:
            group, element, length = _IMPLICIT_HEADER(self._data, place)
            if group == _DELIMITERS:
                return self._delimiter(element, place)
            vr, start = b"", place + 8
        if group == 0:
            raise stop("command-group")
        return group << 16 | element, vr, start, length

    def _delimiter(self, element: int, place: int) -> tuple[int, bytes, int, int]:
        """Only an item's end may stand where an element is looked for."""
        if element != ITEM_END & 0xFFFF:
            raise stop("malformed-sequence")
        return ITEM_END, b"", place + 8, 0

    def _item_header(self, place: int, end: int) -> tuple[int, int]:
        self._need(place + 8, end)
        group, element, length = _IMPLICIT_HEADER(self._data, place)
        tag = group << 16 | element
        if tag not in {ITEM, SEQUENCE_END}:
            raise stop("malformed-sequence")
        return tag, length

    def _pixel_data(self, place: int) -> int:
        """Note where the pixel data lie; the place after them."""
        if self._pixels is not None:
            raise stop("doubled-element", "PixelData")
        _, vr, start, length = self._header(place, self._size - self._base, explicit=self._explicit)
        self._pixel_vr = _NAMES[vr] or "OW"
        self._encapsulated = length == UNDEFINED
        first = self._base + start
        after = self._after_fragments(first) if self._encapsulated else first + length
        if after > self._size:
            raise stop("truncated", "PixelData")
        self._pixels = Span(first, after - first)
        return self._jump(after)

    def _after_fragments(self, place: int) -> int:
        """The place in the file after encapsulated pixel data, of which only the items' headers are read."""
        while True:
            head = self._bytes(place, 8)
            if len(head) < 8:  # noqa: PLR2004  # tag and length
                raise stop("truncated", "PixelData")
            group, element, length = _IMPLICIT_HEADER(head)
            tag, place = group << 16 | element, place + 8
            if tag == SEQUENCE_END:
                return place
            if tag != ITEM or length == UNDEFINED:
                raise stop("pixel-fragments", "PixelData")
            place += length

    def _bytes(self, place: int, count: int) -> bytes:
        """Bytes of the file, whether they were read before or not."""
        own = self._data[place - self._base : place - self._base + count]
        return own if len(own) == count or self._file < 0 else os.pread(self._file, count, place)

    def _jump(self, place: int) -> int:
        """Go on at a place in the file; what lies between is not read."""
        if place < self._size and self._base + len(self._data) < self._size:
            if self._size - place > _TAIL:
                raise stop("unknown-tail")
            self._data, self._base = os.pread(self._file, _TAIL, place), place
            if len(self._data) != self._size - place:
                raise stop("changed-while-reading")
        return place - self._base

    def _only_zeros_follow(self, place: int) -> bool:
        """Whether the file ends in padding; it is dropped. Anything else that is no element is refused."""
        if self._data[place : place + 8].strip(b"\0"):
            return False
        self._need(self._size - self._base, self._size)
        if self._data[place:].strip(b"\0"):
            raise stop("unknown-tail")
        return True

    def _need(self, place: int, end: int) -> None:
        """Make sure that the bytes before `place` are inside the data set and here."""
        if place > end:
            raise stop("truncated" if end == self._size - self._base else "length-past-end")
        if place > len(self._data):
            raise _NeedsMore
