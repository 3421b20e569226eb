"""The fast reader: a walk over the bytes of explicit and implicit VR little endian files (PS3.5 sections 7, A.4, A.5).

Values that are kept are slices of the file; what no rule names is skipped by its length and never looked at. Native
pixel data are not read at all: a `Span` says where they lie, and the kernel moves them.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

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
    Source,
    Span,
)
from site_node.deidentify.frames import FAMILIES
from site_node.deidentify.reasons import stop

IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
DEEPEST = 64
_TRAILER = 8  # bytes: some writers leave the checksum and size of the gzip format behind
_MOST = 1 << 31  # bytes that a deflated file may grow to in memory
_HEAD = 1 << 17  # bytes read before the file's end is needed; the pixels of a CT slice lie within the first 20 KB
_PREAMBLE = 132
_LONG = frozenset(vr.encode() for vr in LONG_VRS)
_SHORT = frozenset(vr.encode() for vr in SHORT_VRS)
_UNTOLD = frozenset({b"", b"UN"})  # the file does not say that it is a sequence
_DELIMITERS = 0xFFFE
_NAMES = {b"": ""} | {vr: vr.decode() for vr in _LONG | _SHORT}
_EXPLICIT_HEADER = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEADER = struct.Struct("<HHL").unpack_from
_LENGTH = struct.Struct("<L").unpack_from


class _NotForThisReader(Exception):  # no error: it sends the file to the other reader
    """The file is DICOM of a form that only the slow reader knows."""


class _NeedsMore(Exception):  # no error: more bytes are read
    """An element other than native pixel data goes past the bytes read so far."""


def read_source(path: Path, wanted: Mapping[int, bool]) -> Source | None:
    """Read one file; None if only the other reader can.

    Args:
        path: the file.
        wanted: the tags to read, and whether each is a sequence.

    Raises:
        DicomUnsupported: the file is broken.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
        try:
            return _Walk(head, max(size, len(head)), wanted).source()
        except _NeedsMore:
            whole = head + file.read()
            return _Walk(whole, len(whole), wanted).source()
        except _NotForThisReader:
            return None


def _read_meta(head: bytes) -> tuple[str, int]:
    """Transfer syntax and offset of the data set; raises `_NotForThisReader` without a Part 10 header that says it."""
    if head[128:_PREAMBLE] != b"DICM":
        raise _NotForThisReader
    place, syntax = _PREAMBLE, ""
    while head[place : place + 2] == b"\x02\0":
        if place + 12 > len(head):
            raise stop("truncated")
        _, element, vr, length = _EXPLICIT_HEADER(head, place)
        start = place + 8
        if vr in _LONG:
            (length,), start = _LENGTH(head, place + 8), place + 12
        if start + length > len(head):
            raise stop("truncated")
        if element == 0x0010:  # noqa: PLR2004  # (0002,0010) TransferSyntaxUID
            syntax = head[start : start + length].decode("latin-1").strip(" \0")
        place = start + length
    if not syntax:
        raise _NotForThisReader
    return syntax, place


class _Walk:
    """One pass over one file's bytes, of which the first `len(data)` of `size` are here."""

    def __init__(self, data: bytes, size: int, wanted: Mapping[int, bool]) -> None:
        self._data = data
        self._size = size
        self._wanted = wanted
        self._pixels: Span | None = None
        self._pixel_vr = "OW"
        self._encapsulated = False

    def source(self) -> Source:
        """The whole file."""
        syntax, start = _read_meta(self._data)
        if syntax == DEFLATED:
            return self._inflated(start)
        if syntax not in {IMPLICIT, EXPLICIT} and syntax not in FAMILIES:
            raise _NotForThisReader
        explicit = syntax != IMPLICIT
        dataset, _ = self._walk(start, self._size, explicit=explicit, depth=0)
        if self._pixels is not None and self._encapsulated != (syntax in FAMILIES):
            raise stop("pixel-fragments", "PixelData")
        return Source(dataset, explicit, syntax, self._pixels, self._encapsulated, self._pixel_vr)

    def _inflated(self, start: int) -> Source:
        """A deflated file (PS3.5 section A.5), read from memory and written as explicit VR little endian."""
        if self._size > len(self._data):
            raise _NeedsMore
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = inflate.decompress(self._data[start:], _MOST)
        except zlib.error as error:
            raise stop("not-readable") from error
        if not inflate.eof:
            raise stop("truncated")
        if len(inflate.unused_data.rstrip(b"\0")) > _TRAILER:
            raise stop("unknown-tail")
        walk = _Walk(data, len(data), self._wanted)
        dataset, _ = walk._walk(0, len(data), explicit=True, depth=0)  # of this very class
        place = walk._pixels  # likewise
        pixels = None if place is None else data[place.offset : place.offset + place.length]
        if walk._encapsulated:  # likewise
            raise stop("pixel-fragments", "PixelData")
        return Source(dataset, True, EXPLICIT, pixels, False, walk._pixel_vr)  # as its fields

    def _walk(
        self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool = False
    ) -> tuple[Dataset, int]:
        """One data set and the place after it; `delimited` ones end with an item delimiter before `end`."""
        found: Dataset = {}
        while place < end:
            if depth == 0 and self._only_zeros_follow(place):
                return found, end
            tag, vr, start, length = self._header(place, end, explicit=explicit)
            if tag == ITEM_END:
                return self._ended(found, delimited=delimited), place + 8
            if tag == PIXEL_DATA and depth == 0:
                place = self._pixel_data(vr, start, length, end)
                continue
            explicit_items = explicit and vr != b"UN"
            if length == UNDEFINED:
                place = self._skip_items(start, end, explicit=explicit_items, depth=depth + 1)
            else:
                place = start + length
                self._need(place, end)
            if tag in found:
                raise stop("doubled-element")
            is_sequence = self._wanted.get(tag)
            if is_sequence is None:
                continue
            if vr == b"SQ" or (is_sequence and vr in _UNTOLD) or length == UNDEFINED:
                items = partial(self._items, start, place, explicit=explicit_items, depth=depth + 1)
                found[tag] = Element(_NAMES[vr], items)
            else:
                found[tag] = Element(_NAMES[vr], self._data[start:place])
        return self._ended(found, delimited=not delimited), place

    def _ended(self, found: Dataset, *, delimited: bool) -> Dataset:
        """A data set that ended as it should: with an item delimiter if it has no length, else without."""
        if not delimited:
            raise stop("malformed-sequence")
        return found

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

    def _items(self, place: int, end: int, *, explicit: bool, depth: int) -> Iterator[Dataset]:
        """The items of a sequence whose value lies between two places."""
        if depth > DEEPEST:
            raise stop("too-deep")
        while place < end:
            tag, length = self._item_header(place, end)
            if tag == SEQUENCE_END:
                return
            place += 8
            if length == UNDEFINED:
                item, place = self._walk(place, end, explicit=explicit, depth=depth, delimited=True)
            else:
                self._need(place + length, end)
                item, _ = self._walk(place, place + length, explicit=explicit, depth=depth)
                place += length
            yield item

    def _skip_items(self, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after a sequence of undefined length."""
        if depth > DEEPEST:
            raise stop("too-deep")
        while True:
            tag, length = self._item_header(place, end)
            place += 8
            if tag == SEQUENCE_END:
                return place
            if length == UNDEFINED:
                place = self._skip_item(place, end, explicit=explicit, depth=depth)
            else:
                place += length
                self._need(place, end)

    def _skip_item(self, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after an item of undefined length."""
        while True:
            tag, vr, start, length = self._header(place, end, explicit=explicit)
            if tag == ITEM_END:
                return start
            if length == UNDEFINED:
                place = self._skip_items(start, end, explicit=explicit and vr != b"UN", depth=depth + 1)
            else:
                place = start + length
                self._need(place, end)

    def _item_header(self, place: int, end: int) -> tuple[int, int]:
        self._need(place + 8, end)
        group, element, length = _IMPLICIT_HEADER(self._data, place)
        tag = group << 16 | element
        if tag not in {ITEM, SEQUENCE_END}:
            raise stop("malformed-sequence")
        return tag, length

    def _pixel_data(self, vr: bytes, start: int, length: int, end: int) -> int:
        """Note where the pixel data lie; the place after them."""
        if self._pixels is not None:
            raise stop("doubled-element", "PixelData")
        self._pixel_vr = _NAMES[vr] or "OW"
        self._encapsulated = length == UNDEFINED
        place = start + length
        if self._encapsulated:
            place = self._skip_items(start, end, explicit=True, depth=DEEPEST)
        elif place > self._size:
            raise stop("truncated", "PixelData")
        self._pixels = Span(start, place - start)
        return place

    def _only_zeros_follow(self, place: int) -> bool:
        """Whether the file ends in padding; it is dropped. Anything else that is no element is refused."""
        if self._data[place : place + 8].strip(b"\0"):
            return False
        if self._size > len(self._data):
            raise _NeedsMore
        if self._data[place:].strip(b"\0"):
            raise stop("unknown-tail")
        return True

    def _need(self, place: int, end: int) -> None:
        """Make sure that the bytes before `place` are inside the data set and here."""
        if place > end:
            raise stop("truncated" if end == self._size else "length-past-end")
        if place > len(self._data):
            raise _NeedsMore
