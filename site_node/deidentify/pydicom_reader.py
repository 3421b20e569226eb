"""The slow reader: pydicom, for big endian and headerless files, and for comparison. It returns what the fast one does.

Values stay raw; those of big endian files are byte-swapped by the word size of their value representation. The new file
is explicit VR little endian, or implicit where the old one was.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataelem import DataElement, RawDataElement

from shared.errors.studies import DicomUnsupported
from shared.protocol.vr import DEEPEST, VRS, WORD_SIZES
from site_node.deidentify.encapsulated import FAMILIES
from site_node.deidentify.fast_reader import DEFLATED, EXPLICIT, IMPLICIT, MOST
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import (
    PIXEL_DATA,
    UNDEFINED,
    Element,
    ElementRun,
    Elements,
    ParsedFile,
)

BIG_ENDIAN = "1.2.840.10008.1.2.2"
_KNOWN = frozenset({"", IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED}) | frozenset(FAMILIES)
_END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def read_source(path: Path, sequences: frozenset[int]) -> ParsedFile:
    """Read one file as `fast_reader.read_source` does; raises `DicomUnsupported`."""
    if path.stat().st_size > MOST:
        raise unsupported("too-large")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*(end of file|EOF)", category=UserWarning)
            return _read(path, sequences)
    except DicomUnsupported:
        raise
    except Exception as error:  # a parser of broken files may raise anything; its text holds values
        raise unsupported("not-readable") from error


def _read(path: Path, sequences: frozenset[int]) -> ParsedFile:
    dataset = pydicom.dcmread(path, force=True)
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in _KNOWN:
        raise unsupported("transfer-syntax-not-allowed")
    implicit, _ = dataset.original_encoding
    pixels, vr, encapsulated = _pixels(dataset)
    if pixels is not None and encapsulated != (syntax in FAMILIES):
        raise unsupported("wrong-syntax", "PixelData")
    new_syntax = syntax if syntax in FAMILIES else IMPLICIT if implicit else EXPLICIT
    if min(dataset.keys(), default=PIXEL_DATA) >> 16 == 0:
        raise unsupported("command-group")
    plain = _plain(dataset, sequences, depth=0)
    runs = (ElementRun(b"", plain, plain, True),)
    return ParsedFile(runs, plain, new_syntax != IMPLICIT, new_syntax, pixels, encapsulated, vr)


def _plain(dataset: pydicom.Dataset, sequences: frozenset[int], *, depth: int) -> Elements:
    """The elements of a data set, raw."""
    if depth > DEEPEST:
        raise unsupported("too-deep")
    elements: Elements = {}
    items = dict(dataset.items())  # a copy: reading one element makes pydicom replace others
    if not all(item.VR is None or item.VR in VRS for item in items.values()):
        raise unsupported("malformed-element")
    for tag in sorted(int(tag) for tag in items):
        if tag != PIXEL_DATA or depth:
            element = _element(dataset, items[tag], sequences, depth)
            if element is not None:
                elements[tag] = element
    return elements


def _element(
    dataset: pydicom.Dataset, item: RawDataElement | DataElement, sequences: frozenset[int], depth: int
) -> Element | None:
    tag = int(item.tag)
    if isinstance(item, RawDataElement):
        vr = item.VR or ""
        if vr == "SQ" or (tag in sequences and vr in {"", "UN"}):
            item = dataset[tag]
        else:
            return _raw(item, vr)
    if item.VR == "SQ":
        return Element("SQ", lambda: _items(item, sequences, depth + 1))
    return Element(item.VR, _text_of(item))


def _raw(item: RawDataElement, vr: str) -> Element | None:
    value = bytes(item.value or b"")
    if item.length not in {len(value), UNDEFINED}:
        raise unsupported("truncated")
    if item.is_little_endian:
        return Element(vr, value)
    return None if vr == "UN" else Element(vr, swap_bytes(value, WORD_SIZES.get(vr, 1)))


def _items(element: DataElement, sequences: frozenset[int], depth: int) -> Iterator[Elements]:
    for item in element.value:
        yield _plain(item, sequences, depth=depth)


def _text_of(element: DataElement) -> bytes:
    """The raw value of an element that pydicom has already read for itself: SpecificCharacterSet."""
    values = [element.value] if isinstance(element.value, str) else list(element.value or ())
    return "\\".join(str(value) for value in values).encode("latin-1")


def _pixels(dataset: pydicom.Dataset) -> tuple[bytes | None, str, bool]:
    """The value of PixelData, its value representation, and whether it is encapsulated."""
    item = dataset.get_item(PIXEL_DATA) if PIXEL_DATA in dataset else None
    if item is None:
        return None, "OW", False
    value, vr = bytes(item.value or b""), item.VR or "OW"
    if getattr(item, "length", len(value)) not in {len(value), UNDEFINED}:
        raise unsupported("truncated", "PixelData")
    if getattr(item, "length", 0) == UNDEFINED or getattr(item, "is_undefined_length", False):
        return value + _END, vr, True
    little = getattr(item, "is_little_endian", True)
    return value if little else swap_bytes(value, WORD_SIZES.get(vr, 1)), vr, False


def swap_bytes(value: bytes, size: int) -> bytes:
    """`value` with the bytes of each word of `size` reversed; raises `DicomUnsupported` for a partial word."""
    if size == 1:
        return value
    if len(value) % size:
        raise unsupported("malformed-element")
    new = bytearray(len(value))
    for offset in range(size):
        new[offset::size] = value[size - 1 - offset :: size]
    return bytes(new)
