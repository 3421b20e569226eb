"""The walk over items and elements of explicit and implicit VR little endian (PS3.5 section 7), at any depth.

Every length is checked against what holds it. Items are read on demand; a sequence is never read twice to find its
end, so the work is proportional to the bytes.
"""

import struct
from collections.abc import Iterator
from functools import partial

from shared.protocol.vr import DEEPEST, LONG_VRS, SHORT_VRS
from site_node.dicom.elements import (
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Element,
    Elements,
)
from site_node.dicom.unreadable import malformed

LONG = frozenset(vr.encode() for vr in LONG_VRS)
SHORT = frozenset(vr.encode() for vr in SHORT_VRS)
NAMES = {b"": ""} | {vr: vr.decode() for vr in LONG | SHORT}
EXPLICIT_HEADER = struct.Struct("<HH2sH").unpack_from
IMPLICIT_HEADER = struct.Struct("<HHL").unpack_from
LENGTH = struct.Struct("<L").unpack_from
_UNKNOWN = frozenset({b"", b"UN"})  # the file does not say whether it is a sequence
_BULK = frozenset({b"OB", b"OW"})  # undefined length means fragments here (PS3.5 section A.4)
_DELIMITERS = 0xFFFE


class NeedsMore(Exception):  # not an error: the caller reads more bytes
    """An element other than native pixel data goes past the bytes read so far."""


class Walk:
    """A walk over bytes, the first `len(data)` of which are in memory.

    Args:
        data: bytes from `base` on.
        size: of the whole file; 0 where the bytes are one element's.
        sequences: tags of sequences, which implicit VR does not mark.
    """

    def __init__(self, data: bytes, size: int, sequences: frozenset[int]) -> None:
        self.data = data
        self.size = size
        self.base = 0
        self._sequences = sequences

    def items(self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool = False) -> Iterator[Elements]:
        """The items of a sequence whose value lies between two places."""
        for item, _ in self._read_items(place, end, explicit=explicit, depth=depth, delimited=delimited):
            if item is not None:
                yield item

    def is_sequence(self, tag: int, vr: bytes, length: int) -> bool:
        """Whether a value is made of items that are data sets."""
        if length == UNDEFINED:
            return vr not in _BULK
        return vr == b"SQ" or (vr in _UNKNOWN and tag in self._sequences)

    def header(self, place: int, end: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, value representation, start of the value and its length."""
        data, start = self.data, place + 8
        if start > end or start > len(data):
            self.need(start, end)
        if explicit:
            group, element, vr, length = EXPLICIT_HEADER(data, place)
            if group == _DELIMITERS:
                return self._delimiter(element, place)
            if vr not in SHORT:
                if vr not in LONG:
                    raise malformed("malformed-element")
                self.need(start + 4, end)
                (length,), start = LENGTH(data, start), start + 4
        else:
            group, element, length = IMPLICIT_HEADER(data, place)
            if group == _DELIMITERS:
                return self._delimiter(element, place)
            vr = b""
        if group == 0:
            raise malformed("command-group")
        return group << 16 | element, vr, start, length

    def skip(self, vr: bytes, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after a value of undefined length: items, or fragments of nested pixel data."""
        if vr not in _BULK:
            self._check_open(vr)
        if depth > DEEPEST:
            raise malformed("too-deep")
        while True:
            tag, length = self._item_header(place, end)
            place += 8
            if tag == SEQUENCE_END:
                return place
            if length != UNDEFINED:
                place += length
                self.need(place, end)
            elif vr in _BULK:
                raise malformed("malformed-sequence")
            else:
                place = self._skip_item(place, end, explicit=explicit, depth=depth)

    def need(self, place: int, end: int) -> None:
        """Make sure that the bytes before `place` are inside the data set and in memory."""
        if place > end:
            raise malformed("truncated" if end == self.size - self.base else "length-past-end")
        if place > len(self.data):
            raise NeedsMore

    def _read_items(
        self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool
    ) -> Iterator[tuple[Elements | None, int]]:
        """Each item with the place after it, and None with the place after the sequence's delimiter if it has one."""
        if depth > DEEPEST:
            raise malformed("too-deep")
        while place < end:
            tag, length = self._item_header(place, end)
            place += 8
            if tag == SEQUENCE_END:
                if not delimited:
                    raise malformed("malformed-sequence")
                yield None, place
                return
            if length == UNDEFINED:
                item, place = self._dataset(place, end, explicit=explicit, depth=depth, delimited=True)
            else:
                self.need(place + length, end)
                item, place = self._dataset(place, place + length, explicit=explicit, depth=depth, delimited=False)
            yield item, place
        if delimited:
            raise malformed("malformed-sequence")

    def _dataset(self, place: int, end: int, *, explicit: bool, depth: int, delimited: bool) -> tuple[Elements, int]:
        """The data set of an item and the place after it; `delimited` ones end with a delimiter before `end`."""
        elements: Elements = {}
        while place < end:
            tag, vr, start, length = self.header(place, end, explicit=explicit)
            if tag == ITEM_END:
                if not delimited:
                    raise malformed("malformed-sequence")
                return elements, start
            if tag in elements:
                raise malformed("doubled-element")
            after = start + length
            if vr in SHORT and after <= end and after <= len(self.data):  # never a sequence, never without a length
                elements[tag], place = Element(NAMES[vr], self.data[start:after]), after
                continue
            elements[tag], place = self._element(tag, vr, start, length, end, explicit=explicit, depth=depth)
        if delimited:
            raise malformed("malformed-sequence")
        return elements, place

    def _element(
        self, tag: int, vr: bytes, start: int, length: int, end: int, *, explicit: bool, depth: int
    ) -> tuple[Element, int]:
        """One element of an item and the place after it."""
        inner = explicit and vr != b"UN"
        if not self.is_sequence(tag, vr, length):
            after = self.skip(vr, start, end, explicit=inner, depth=depth) if length == UNDEFINED else start + length
            self.need(after, end)
            return Element(NAMES[vr], self.data[start:after]), after
        if length != UNDEFINED:
            after = start + length
            self.need(after, end)
            return Element(NAMES[vr], partial(self.items, start, after, explicit=inner, depth=depth + 1)), after
        # Read now: a search for its end would take time in proportion to the depth squared.
        self._check_open(vr)
        pairs = list(self._read_items(start, end, explicit=inner, depth=depth + 1, delimited=True))
        items = [item for item, _ in pairs if item is not None]
        return Element(NAMES[vr], items.__iter__), pairs[-1][1]

    def _check_open(self, vr: bytes) -> None:
        """Only sequences and unknown representations may have an undefined length."""
        if vr != b"SQ" and vr not in _UNKNOWN:
            raise malformed("malformed-element")

    def _skip_item(self, place: int, end: int, *, explicit: bool, depth: int) -> int:
        """The place after an item of undefined length."""
        while True:
            tag, vr, start, length = self.header(place, end, explicit=explicit)
            if tag == ITEM_END:
                return start
            if length == UNDEFINED:
                place = self.skip(vr, start, end, explicit=explicit and vr != b"UN", depth=depth + 1)
            else:
                place = start + length
                self.need(place, end)

    def _delimiter(self, element: int, place: int) -> tuple[int, bytes, int, int]:
        """Only an item's end may stand where an element is expected."""
        if element != ITEM_END & 0xFFFF:
            raise malformed("malformed-sequence")
        return ITEM_END, b"", place + 8, 0

    def _item_header(self, place: int, end: int) -> tuple[int, int]:
        self.need(place + 8, end)
        group, element, length = IMPLICIT_HEADER(self.data, place)
        tag = group << 16 | element
        if tag not in {ITEM, SEQUENCE_END}:
            raise malformed("malformed-sequence")
        return tag, length
