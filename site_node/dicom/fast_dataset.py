"""The fast way to a file's header: one walk over well-formed little-endian files, values decoded when asked for.

It answers as pydicom does or not at all: whatever pydicom might see otherwise (another representation than the
dictionary's, a broken element, text in a rare character set) is left to it.
"""

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, TypeVar

from shared.errors.studies import DicomUnsupported
from site_node.dicom.elements import ITEM_END, UNDEFINED, Element, Elements, bytes_of
from site_node.dicom.file_meta import PREAMBLE, START, read_file_meta
from site_node.dicom.keywords import ATTRIBUTES, CHARACTER_SET, PIXELS, SEQUENCES, TAGS
from site_node.dicom.walk import EXPLICIT_HEADER, NAMES, SHORT, NeedsMore, Walk

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_COMPRESSED = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.\d+|5)")  # explicit VR little endian (PS3.5 section A.4)
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_HEAD = 1 << 15  # bytes read first; the header of a CT slice has up to 20 KB
_GROWTH = 8
_MOST = 1 << 24  # bytes of a header
_MARKS = frozenset({0x0000, 0x7FE0, 0xFFFE})  # groups of commands, pixel data and delimiters
_DELIMITER = b"\xfe\xff\xdd\xe0"  # of a sequence
_TEXT = frozenset({"LO", "SH"})  # value representations that SpecificCharacterSet applies to
_KNOWN_CHARACTER_SETS = re.compile(r"(ISO_IR \d+|ISO 2022 IR \d+|GB18030|GBK)?(\\ISO 2022 IR \d+)*")  # all hold ASCII
_CODECS = MappingProxyType({"": "latin-1", "ISO_IR 6": "latin-1", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"})
T = TypeVar("T")


class _Undecided(Exception):  # not an error: pydicom reads the file
    """Another reader might see something else."""


class FastDataset:
    """A data set's raw elements, decoded as pydicom does."""

    def __init__(self, elements: Elements, character_set: str = "") -> None:
        self._elements = elements
        if CHARACTER_SET in elements:
            character_set = self._bytes(CHARACTER_SET, "CS").decode("ascii").rstrip(" \0")
            if not _KNOWN_CHARACTER_SETS.fullmatch(character_set):
                raise _Undecided
        self._character_set = character_set

    def get(self, keyword: str) -> "str | list[str] | list[FastDataset] | None":
        """An attribute's text, several texts, or items; None where it is absent."""
        tag, vr = ATTRIBUTES[keyword]
        if tag not in self._elements:
            return None
        if vr == "SQ":
            return self._items(tag)
        text = self._decoded(self._bytes(tag, vr), vr)
        texts = (text.strip() if vr == "DS" else text).rstrip(" \0").split("\\")
        if vr in _TEXT:
            texts = [text.rstrip(" \0") for text in texts]
        elif vr in {"DS", "UI"}:
            texts = [text.strip() for text in texts]
        return texts[0] if len(texts) == 1 else texts

    def _items(self, tag: int) -> "list[FastDataset]":
        element = self._elements[tag]
        if element.vr not in {"", "SQ"} or isinstance(element.value, bytes):
            raise _Undecided
        return [FastDataset(item, self._character_set) for item in element.value()]

    def _bytes(self, tag: int, vr: str) -> bytes:
        """The raw value of an element, which must have the dictionary's representation."""
        if self._elements[tag].vr not in {"", vr}:
            raise _Undecided
        return bytes_of(self._elements, tag)

    def _decoded(self, value: bytes, vr: str) -> str:
        if vr == "DS" and (not value.isascii() or b"\0" in value.rstrip(b" \0")):  # pydicom then tries SH
            raise _Undecided
        if vr not in _TEXT or (value.isascii() and b"\x1b" not in value):
            return value.decode("latin-1")
        codec = _CODECS.get(self._character_set)
        if codec is None or b"\x1b" in value:
            raise _Undecided
        return value.decode(codec)


class FastFile(NamedTuple):
    """A file's header, and where its pixel data begin."""

    dataset: FastDataset
    syntax: str
    pixels: tuple[int, int] | None  # offset and length of their value; the length may be `UNDEFINED`


def read_fast(stream: BinaryIO, size: int, make: Callable[[FastFile], T | None]) -> T | None:
    """What `make` makes of a file's header, or `None` where only pydicom can read it.

    Args:
        stream: the file, at any place; it is left at any place.
        size: of the whole file in bytes.
        make: may ask the data set for any attribute, and is called again where that needs more bytes.
    """
    length = _HEAD
    while length <= _MOST:
        stream.seek(0)
        data = stream.read(length)
        if data[PREAMBLE:START] != b"DICM" or len(data) < min(length, size):
            return None
        try:
            return make(_HeaderWalk(data, size, SEQUENCES).file())
        except NeedsMore:
            length *= _GROWTH
        except (DicomUnsupported, _Undecided, UnicodeDecodeError):
            return None
    return None


class _HeaderWalk(Walk):
    """One pass over a file up to its pixel data."""

    def file(self) -> FastFile:
        """The elements that `ATTRIBUTES` names, and the place of the pixel data."""
        meta = read_file_meta(self)
        if meta.sop_class == _MEDIA_DIRECTORY:
            raise _Undecided
        if meta.syntax not in {_IMPLICIT, _EXPLICIT} and not _COMPRESSED.fullmatch(meta.syntax):
            raise _Undecided
        explicit, vr = meta.syntax != _IMPLICIT, self.data[meta.end + 4 : meta.end + 6]
        if not explicit and vr.isalpha() and vr.isupper():  # pydicom takes it for explicit VR
            raise _Undecided
        elements, pixels = self._top(meta.end, explicit=explicit)
        return FastFile(FastDataset(elements), meta.syntax, pixels)

    def is_sequence(self, tag: int, vr: bytes, length: int) -> bool:
        """As in any walk; the end of what is neither a sequence nor implicit pydicom looks for in another way."""
        if length == UNDEFINED and vr not in {b"SQ", b""}:
            raise _Undecided
        return super().is_sequence(tag, vr, length)

    def _element(
        self, tag: int, vr: bytes, start: int, length: int, end: int, *, explicit: bool, depth: int
    ) -> tuple[Element, int]:
        """As in any walk; pydicom looks for the first delimiter unless its dictionary says that this is a sequence."""
        element, after = super()._element(tag, vr, start, length, end, explicit=explicit, depth=depth)
        sequence = vr == b"SQ" or tag in SEQUENCES or tag >> 16 & 1
        if length == UNDEFINED and not sequence and self.data.find(_DELIMITER, start) != after - 8:
            raise _Undecided
        return element, after

    def _delimiter(self, element: int, place: int) -> tuple[int, bytes, int, int]:
        """As in any walk; pydicom takes a length that is not 0 for a value representation."""
        if self.data[place + 4 : place + 8] != bytes(4):
            raise _Undecided
        return super()._delimiter(element, place)

    def _top(self, place: int, *, explicit: bool) -> tuple[Elements, tuple[int, int] | None]:
        elements: Elements = {}
        size, data, last = self.size, self.data, len(self.data) - 12
        while place < size:
            if explicit and place < last:  # as most elements are: short, and in memory
                group, number, vr, length = EXPLICIT_HEADER(data, place)
                tag, start = group << 16 | number, place + 8
                if vr in SHORT and group not in _MARKS and tag not in elements and start + length <= last:
                    if tag in TAGS:
                        elements[tag] = Element(NAMES[vr], data[start : start + length])
                    place = start + length
                    continue
            tag, vr, start, length = self.header(place, size, explicit=explicit)
            if tag in PIXELS:
                return elements, (start, length)
            if tag == ITEM_END:  # where pydicom stops
                raise _Undecided
            if length != UNDEFINED and tag not in TAGS:
                place = start + length
                continue
            if tag in elements:
                raise _Undecided
            elements[tag], place = self._element(tag, vr, start, length, size, explicit=explicit, depth=0)
        if place != size:
            raise _Undecided
        return elements, None
