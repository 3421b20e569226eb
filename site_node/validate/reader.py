"""The validator's own reader: independent, on purpose, of the one that de-identifies.

It reads explicit and implicit VR little endian, and for sources also big endian, deflated, and files without preamble.
It decodes nothing, guesses nothing and raises `DicomUnreadable` where the bytes cannot be walked to their very end.
"""

import struct
import zlib
from collections.abc import Collection
from mmap import mmap
from typing import NamedTuple

from shared.errors.studies import DicomUnreadable
from shared.protocol.vr import DEEPEST, LONG_VRS, SHORT_VRS, WORD_SIZES
from site_node.validate.elements import EXPLICIT, IMPLICIT, PIXEL_DATA, Document, Element, Path, Run

_DEFLATED, _BIG = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG = {vr.encode(): vr for vr in LONG_VRS}
_SHORT = {vr.encode(): vr for vr in SHORT_VRS}
_LITTLE_WORDS = struct.Struct("<HH2sH"), struct.Struct("<L")
_BIG_WORDS = struct.Struct(">HH2sH"), struct.Struct(">L")
_PREFIX = 132
_SYNTAX = 0x00020010


class PreviousFile:
    """The top level of the file read before: where a series' next file has the same bytes, it has the same elements."""

    def __init__(self) -> None:
        self.form: tuple[str, bool] = ("", False)  # byte order, and whether VRs are explicit
        self.runs: list[tuple[bytes, Run]] = []


def read_document(data: bytes | mmap, sequences: Collection[int], previous: PreviousFile | None = None) -> Document:
    """Parse a file's bytes.

    Args:
        data: the whole file.
        sequences: tags of sequences, which implicit VR does not mark.
        previous: the file read before; afterwards it holds this one.

    Raises:
        DicomUnreadable: the bytes end too early, go on too long or have no order.
    """
    try:
        return _Reader(data, sequences, previous or PreviousFile()).read()
    except (struct.error, IndexError, zlib.error, RecursionError) as error:
        raise DicomUnreadable(type(error).__name__, problem="its elements do not fit its bytes") from None


def _broken(problem: str) -> DicomUnreadable:
    return DicomUnreadable(problem=problem)


class _Head(NamedTuple):
    """An element's header: tag, VR, length of the value and its offset."""

    tag: int
    vr: str
    length: int
    value: int


class _Reader:
    """Parses one file."""

    def __init__(self, data: bytes | mmap, sequences: Collection[int], previous: PreviousFile) -> None:
        self._data = data
        self._sequences = sequences
        self._previous = previous
        self._order = "<"
        self._explicit = True
        self._elements: list[Element] = []  # of the current part
        self._fragments: list[memoryview] | None = None
        self._encapsulated = False
        self._rest: list[bytes] = []
        self._padding = 0

    def read(self) -> Document:
        """Parse the whole file."""
        preamble, start = (self._data[:128], _PREFIX) if self._data[128:_PREFIX] == b"DICM" else (b"", 0)
        if self._data[start : start + 2] not in {b"\x02\x00", b"\x08\x00"}:
            raise _broken("it does not begin with the elements of a DICOM file")
        start = self._meta(start)
        meta, self._elements = tuple(self._elements), []
        syntax = next((element.raw.rstrip(b" \0").decode("latin-1") for element in meta if element.tag == _SYNTAX), "")
        head = self._data[:start]
        if syntax == _DEFLATED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self._data, start = inflate.decompress(self._data[start:]) + inflate.flush(), 0
        self._order = ">" if syntax == _BIG else "<"
        self._explicit = syntax != IMPLICIT if syntax else self._data[start + 4 : start + 6] in {*_LONG, *_SHORT}
        self._rest = [head]
        self._top(start, len(self._data))
        fragments = None if self._fragments is None else tuple(self._fragments)
        syntax = syntax or (EXPLICIT if self._explicit else IMPLICIT)
        return Document(
            preamble,
            meta,
            syntax,
            self._explicit,
            tuple(run for _, run in self._previous.runs),
            fragments,
            self._encapsulated,
            tuple(self._rest),
            self._padding,
        )

    def _meta(self, start: int) -> int:
        """Group 0002, always explicit little endian; returns where the data set begins."""
        while self._data[start : start + 2] == b"\x02\x00":
            tag, vr, length, start = self._header(start)
            if length == _UNDEFINED or start + length > len(self._data):
                raise _broken("its file meta information ends too early")
            self._elements.append(Element((), tag, vr, self._data[start : start + length]))
            start += length
        return start

    def _header(self, at: int) -> _Head:
        words, long = _BIG_WORDS if self._order == ">" else _LITTLE_WORDS
        group, number, vr, length = words.unpack_from(self._data, at)
        tag = group << 16 | number
        if not self._explicit or group == 0xFFFE:
            return _Head(tag, "", long.unpack_from(self._data, at + 4)[0], at + 8)
        if vr in _SHORT:
            return _Head(tag, _SHORT[vr], length, at + 8)
        if vr not in _LONG:
            raise _broken("an element has an unknown value representation")
        return _Head(tag, _LONG[vr], long.unpack_from(self._data, at + 8)[0], at + 12)

    def _top(self, at: int, end: int) -> None:
        """Parse the top level; an element that the previous file had at the same place is not parsed again."""
        form = (self._order, self._explicit)
        before = self._previous.runs if self._previous.form == form else []
        self._previous.form, self._previous.runs = form, []
        place, follows = 0, False  # whether the element before was unchanged as well
        while at < end:
            raw, parts = before[place] if place < len(before) else (b"", ())
            if raw and self._data[at : at + len(raw)] == raw:
                at += len(raw)
                place += 1
                if follows:  # one run from now on
                    last_run = self._previous.runs.pop()
                    raw, parts = self._rest.pop() + raw, last_run[1] + parts
                follows = True
            elif self._is_padding(at, end):
                break
            else:
                start, follows, self._elements = at, False, []
                at = self._next(at, end)
                if not self._elements:  # the pixel data
                    continue
                raw, parts = self._data[start:at], (tuple(self._elements),)
                while place < len(before) and before[place][1][0][0].tag <= parts[0][0].tag:
                    place += 1
            self._rest.append(raw)
            self._previous.runs.append((raw, parts))

    def _is_padding(self, at: int, end: int) -> bool:
        """Whether nothing but zeros follows."""
        if self._data[at : at + 8].strip(b"\0") or bytes(self._data[at:end]).strip(b"\0"):
            return False
        self._padding = end - at
        return True

    def _next(self, at: int, end: int) -> int:
        """Parse one element of the top level; returns what comes after."""
        head = self._header(at)
        if head.tag >> 16 == 0xFFFE:
            raise _broken("an item stands outside a sequence")
        return self._element((), head, end)

    def _dataset(self, at: int, end: int, path: Path, *, delimited: bool) -> int:
        """Elements up to `end` or, where `delimited`, the item's end; returns what comes after."""
        if len(path) > 2 * DEEPEST:
            raise _broken("its sequences are nested too deeply")
        while at < end:
            head = self._header(at)
            if head.tag == _ITEM_END and delimited:
                return head.value
            if head.tag >> 16 == 0xFFFE:
                raise _broken("an item stands outside a sequence")
            at = self._element(path, head, end)
        if delimited or at != end:
            raise _broken("an element ends after what holds it")
        return at

    def _element(self, path: Path, head: _Head, end: int) -> int:
        if head.length != _UNDEFINED and head.value + head.length > end:
            raise _broken("an element's length points past the end")
        if head.tag == PIXEL_DATA and not path:
            return self._pixel_data(head, end)
        if head.length == _UNDEFINED and head.vr in {"OB", "OW"}:  # a compressed icon
            _, after = self._fragment_places(head.value, end)
            self._elements.append(Element(path, head.tag, head.vr, self._data[head.value : after]))
            return after
        if head.vr == "SQ" or head.length == _UNDEFINED or (not head.vr and head.tag in self._sequences):
            return self._sequence(path, head, end)
        after = head.value + head.length
        raw = self._data[head.value : after]
        self._elements.append(Element(path, head.tag, head.vr, self._little(raw, head.vr)))
        return after

    def _little(self, raw: bytes, vr: str) -> bytes:
        """Bytes of a value in little-endian order."""
        size = WORD_SIZES.get(vr, 1) if self._order == ">" else 1
        if size == 1 or len(raw) % size:
            return raw
        return b"".join(raw[at : at + size][::-1] for at in range(0, len(raw), size))

    def _sequence(self, path: Path, head: _Head, end: int) -> int:
        """Items of defined or undefined length; within UN they are implicit VR little endian (PS3.5 section 6.2.2)."""
        place = len(self._elements)
        self._elements.append(Element(path, head.tag, head.vr, b"", 0))
        before = self._explicit, self._order
        if head.vr == "UN":
            self._explicit, self._order = False, "<"
        open_end = head.length == _UNDEFINED
        at, stop, number = head.value, end if open_end else head.value + head.length, 0
        while at < stop:
            item = self._header(at)
            if item.tag == _SEQUENCE_END and open_end:
                at = item.value
                break
            at = self._item(item, stop, (*path, head.tag, number))
            number += 1
        else:
            if open_end:
                raise _broken("a sequence has no end")
        self._explicit, self._order = before
        self._elements[place] = Element(path, head.tag, head.vr, b"", number)
        return at

    def _item(self, item: _Head, stop: int, path: Path) -> int:
        if item.tag != _ITEM:
            raise _broken("a sequence holds something else than items")
        delimited = item.length == _UNDEFINED
        if not delimited and item.value + item.length > stop:
            raise _broken("an item's length points past the end")
        return self._dataset(item.value, stop if delimited else item.value + item.length, path, delimited=delimited)

    def _pixel_data(self, head: _Head, end: int) -> int:
        view, at = memoryview(self._data), head.value
        if head.length != _UNDEFINED:
            at += head.length
            native = view[head.value : at]
            if self._order == ">" and head.vr == "OW":
                native = memoryview(self._little(bytes(native), head.vr))
            self._rest.append(self._data[head.value - 12 : head.value])
            self._fragments = [native]
            return at
        self._encapsulated = True
        places, after = self._fragment_places(head.value, end)
        self._fragments = [view[first:last] for first, last in places]
        self._rest.append(self._data[head.value - 12 : head.value])
        return after

    def _fragment_places(self, at: int, end: int) -> tuple[list[tuple[int, int]], int]:
        """Where each fragment lies, and the place after their delimiter."""
        places: list[tuple[int, int]] = []
        while at < end:
            item = self._header(at)
            if item.tag == _SEQUENCE_END:
                return places, item.value
            if item.tag != _ITEM or item.length == _UNDEFINED or item.value + item.length > end:
                break
            at = item.value + item.length
            places.append((item.value, at))
        raise _broken("the fragments of its pixel data are broken or have no end")
