"""The comparison of two files of one image by pydicom, attribute by attribute and frame by frame.

Two files hold one image where every attribute has the same value and every frame the same decoded pixels. A PACS turns
deflated, big endian, implicit or compressed files into explicit VR little endian, pads values and transcodes text;
none of that is a difference. What cannot be read is one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.pixels import iter_pixels
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.values import convert_SQ

from shared.errors.studies import DicomUnreadable

_PIXEL_GROUP, _PADDING_GROUP = 0x7FE0, 0xFFFC
_ENCODING = frozenset({0x00080005, 0x00280006})  # SpecificCharacterSet, PlanarConfiguration: how, not what
_PHOTOMETRIC = 0x00280004
_DECODED = MappingProxyType({"YBR_RCT": "RGB"})  # reversible: PS3.5 section 8.2.4
_WORDS = MappingProxyType({"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8})  # bytes that big endian files reverse
PIXELS = "PixelData"


Unlike = tuple[str, tuple[str, str]]  # an attribute by keyword or else by tag, and its two values as text: PHI


def unlike(first: Path, second: Path) -> Iterator[Unlike]:
    """What differs between two files; raises `DicomUnreadable` where an attribute cannot be read."""
    with _parsing():
        datasets = pydicom.dcmread(first, force=True), pydicom.dcmread(second, force=True)
        if any("SOPInstanceUID" not in dataset for dataset in datasets):  # pydicom reads nothing in what it cannot read
            raise DicomUnreadable(problem="it has no SOPInstanceUID")
        attributes = tuple(_unlike(*datasets))
        has_pixels = [PIXELS in dataset for dataset in datasets]
    yield from attributes
    try:
        if any(has_pixels) and not (all(has_pixels) and _have_same_frames(*datasets)):
            yield PIXELS, ("", "")
    except DicomUnreadable:
        yield PIXELS, ("", "")


@contextmanager
def _parsing() -> Iterator[None]:
    """Suppress pydicom's warnings, which quote values, and raise `DicomUnreadable` for its many errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # its text may quote a value; it is never shown
        raise DicomUnreadable(problem="an element or a frame cannot be read") from error


def _unlike(first: pydicom.Dataset, second: pydicom.Dataset) -> Iterator[Unlike]:
    for tag in sorted({*first.keys(), *second.keys()}):
        if tag.element == 0 or tag.group in {_PIXEL_GROUP, _PADDING_GROUP} or tag in _ENCODING:
            continue
        if not (tag in first and tag in second) or not _is_same(first, second, tag):
            texts = (str(dataset[tag].value) if tag in dataset else "" for dataset in (first, second))
            yield keyword_for_tag(tag) or str(tag), (next(texts), next(texts))


def _is_same(first: pydicom.Dataset, second: pydicom.Dataset, tag: BaseTag) -> bool:
    raw = first.get_item(tag), second.get_item(tag)
    if _bytes(raw[0]) is not None and _bytes(raw[0]) == _bytes(raw[1]) and _is_one_encoding(first, second, raw):
        return True
    elements = first[tag], second[tag]
    representations = {element.VR for element in elements}
    if "SQ" in representations and representations <= {"SQ", "UN"}:
        items = zip_longest(*map(_items, elements))
        return all(item is not None and other is not None and not any(_unlike(item, other)) for item, other in items)
    little = (_is_little(first), _is_little(second))
    return _value(elements[0], is_little=little[0]) == _value(elements[1], is_little=little[1])


def _items(element: DataElement) -> Sequence:
    """The items of a sequence; one whose file does not say that it is one is in implicit VR (PS3.5 section 6.2.2)."""
    if element.VR == "UN":
        return convert_SQ(element.value, is_implicit_VR=True, is_little_endian=True)
    return element.value


def _bytes(raw: RawDataElement | DataElement | None) -> bytes | None:
    """The bytes of a value that is not read yet, without padding."""
    value = raw.value if isinstance(raw, RawDataElement) and raw.VR != "SQ" else None
    return value.rstrip(b" \0") if isinstance(value, bytes) else None


def _is_one_encoding(first: pydicom.Dataset, second: pydicom.Dataset, raw: tuple[Any, Any]) -> bool:
    """Whether equal bytes are equal values: in one byte order, and of text in one character set."""
    same_text = raw[0].value.isascii() or first.get("SpecificCharacterSet") == second.get("SpecificCharacterSet")
    return bool(same_text) and bool(raw[0].is_little_endian == raw[1].is_little_endian)


def _is_little(dataset: pydicom.Dataset) -> bool:
    return dataset.original_encoding[1] is not False


def _value(element: DataElement, *, is_little: bool) -> object:
    """A value that does not depend on how it was written."""
    value = element.value
    if isinstance(value, bytes):
        width = _WORDS.get(element.VR, 1)
        swapped = value if is_little or width == 1 else np.frombuffer(value, f"u{width}").byteswap().tobytes()
        return swapped.rstrip(b"\0 ")
    if element.tag == _PHOTOMETRIC:
        return _DECODED.get(str(value), str(value))
    if value is None or value == "":
        return ()
    values = value if element.VM > 1 else [value]
    return tuple(
        part if isinstance(part, float) and element.VR in {"FD", "FL"} else str(part).strip(" \0") for part in values
    )


def _have_same_frames(first: pydicom.Dataset, second: pydicom.Dataset) -> bool:
    with _parsing():
        frames = zip_longest(iter_pixels(first, raw=True), iter_pixels(second, raw=True))
        return all(frame is not None and other is not None and np.array_equal(frame, other) for frame, other in frames)
