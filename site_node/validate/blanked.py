"""Blanked pixels beside their source: black and even in the boxes, the same everywhere else.

The boxes come from the person's own record: independent, on purpose, of the stage that blanked them.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from site_node.blanking import BlankBox
from site_node.validate.conformance import in_marks
from site_node.validate.elements import EXPLICIT, Document
from site_node.validate.finding import Finding

_CLEAN_PIXEL_DATA = b"113101"  # PS3.16 CID 7050
_CODE_VALUE, _METHOD_CODES = 0x00080100, 0x00120064
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ALLOCATED, _STORED, _HIGH, _SIGN = 0x00280010, 0x00280011, *range(0x00280100, 0x00280104)
_BURNED_IN, _LOSSY = 0x00280301, 0x00282110
REWRITTEN = frozenset({_PHOTOMETRIC, _PLANAR, _BURNED_IN, _LOSSY})  # what blanking writes, and this module compares
_ALWAYS_LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_BITS_PER_BYTE, _COLOUR_SAMPLES = 8, 3
Words = NDArray[np.generic]


def check_claim(new: Document, original: Document, *, blanked: bool) -> Iterator[Finding]:
    """Code 113101 stands if and only if boxes were blanked, here or as the source claims."""
    if _claims(new) != (blanked or _claims(original)):
        yield Finding(code="blanking", attribute="DeidentificationMethodCodeSequence")


def check_blanked(new: Document, original: Document, source: Path, boxes: Sequence[BlankBox]) -> Iterator[Finding]:
    """Findings of one file in which `boxes` had to be blanked; `source` is decoded where it is compressed."""
    for tag, keyword, required in _attributes(new, original):
        if new.first(tag) != required:
            yield Finding(code="blanking", attribute=keyword)
    try:
        before = _decoded(source) if original.encapsulated else None
        yield from _check_pixels(new, original, before, boxes)
    except Exception:  # noqa: BLE001 -- decoders raise nearly anything; what cannot be compared is not validated
        yield Finding(code="blanking", attribute="PixelData")


def _attributes(new: Document, original: Document) -> Iterator[tuple[int, str, bytes]]:
    """What the file must say about its pixels: tag, keyword and value."""
    coloured = original.encapsulated and _number(new, _SAMPLES) == _COLOUR_SAMPLES
    lossy = b"01" if original.syntax in _ALWAYS_LOSSY else original.first(_LOSSY)
    yield _BURNED_IN, "BurnedInAnnotation", b"NO"
    yield _PHOTOMETRIC, "PhotometricInterpretation", b"RGB" if coloured else original.first(_PHOTOMETRIC)
    yield _PLANAR, "PlanarConfiguration", b"" if coloured else original.first(_PLANAR)  # zeros count as padding
    yield _LOSSY, "LossyImageCompression", lossy


def _claims(document: Document) -> bool:
    return any(
        element.tag == _CODE_VALUE and element.raw.rstrip(b" \0") == _CLEAN_PIXEL_DATA
        for element in document.top.get(_METHOD_CODES, ())
        if in_marks(element)
    )


def _check_pixels(
    new: Document, original: Document, before: bytes | None, boxes: Sequence[BlankBox]
) -> Iterator[Finding]:
    """Compare frame by frame, so that memory does not grow with a native file."""
    if new.fragments is None or original.fragments is None or new.encapsulated:
        yield Finding(code="blanking", attribute="PixelData")
        return
    if before is not None and new.syntax != EXPLICIT:
        yield Finding(code="transfer-syntax", attribute="TransferSyntaxUID")
    rows, columns, samples = (_number(new, tag) for tag in (_ROWS, _COLUMNS, _SAMPLES))
    word = np.dtype(f"<u{_number(new, _ALLOCATED) // _BITS_PER_BYTE}")
    count = int(new.first(_FRAMES) or b"1")
    size = rows * columns * (samples or 1) * word.itemsize
    after, old = new.fragments[0], original.fragments[0] if before is None else memoryview(before)
    if max((box.frame for box in boxes), default=0) >= count or min(len(after), len(old)) < size * count:
        yield Finding(code="blanking", attribute="PixelData")
        return
    if bytes(after[size * count :]).strip(b"\0") or len(after) > size * count + 1:
        yield Finding(code="pixels", attribute="PixelData")
    for number in range(count):
        span = slice(number * size, (number + 1) * size)
        new_frame, old_frame = (
            _planes(np.frombuffer(bytes(data[span]), dtype=word), new, rows, columns) for data in (after, old)
        )
        yield from _check_frame(new_frame, old_frame, [box for box in boxes if box.frame == number], new)


def _check_frame(after: Words, before: Words, boxes: Sequence[BlankBox], new: Document) -> Iterator[Finding]:
    """Compare one frame, `(samples, rows, columns)`."""
    inside = np.zeros(after.shape[1:], dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    if not np.array_equal(after[:, ~inside], before[:, ~inside]):
        yield Finding(code="pixels", attribute="PixelData")
    if boxes and (
        not inside.any() or not all(_is_black(*pair, inside, new) for pair in zip(after, before, strict=True))
    ):
        yield Finding(code="blanking", attribute="PixelData")


def _is_black(after: Words, before: Words, inside: NDArray[np.bool_], new: Document) -> bool:
    """Whether one plane has a single value in the boxes, and no value of its source is darker."""
    blanked = np.unique(after[inside])
    if len(blanked) != 1:
        return False
    if new.first(_PHOTOMETRIC) == b"RGB":
        return not blanked[0]
    black, values = (_values(words, new) for words in (blanked, before))
    return bool(black[0] == (values.max() if new.first(_PHOTOMETRIC) == b"MONOCHROME1" else values.min()))


def _values(words: Words, new: Document) -> NDArray[np.int64]:
    """Stored words as the numbers they mean (PS3.5 section 8.1.1)."""
    stored = _number(new, _STORED)
    shift = _number(new, _HIGH) + 1 - stored
    values = (words.astype(np.int64) >> shift) % (1 << stored)
    signed = values - (values >= 1 << (stored - 1)) * (1 << stored)
    return signed if _number(new, _SIGN) else values


def _planes(frame: Words, new: Document, rows: int, columns: int) -> Words:
    """One frame as `(samples, rows, columns)`."""
    if _number(new, _SAMPLES) == _COLOUR_SAMPLES and not _number(new, _PLANAR):
        return np.moveaxis(frame.reshape(rows, columns, _COLOUR_SAMPLES), -1, 0)
    return frame.reshape(-1, rows, columns)


def _decoded(source: Path) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values
        return bytes(pydicom.dcmread(source).pixel_array.tobytes())


def _number(document: Document, tag: int) -> int:
    """An unsigned short at the top level; 0 where there is none."""
    part = document.top.get(tag)
    return int.from_bytes(part[0].raw[:2], "little") if part else 0
