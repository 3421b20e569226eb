"""Blanking of the boxes that a person named, in a file as it is written: nothing but the pixels in them changes.

A box is filled with the darkest colour of its frame as displayed: a value that the frame has, so that its window and
its range of values stay. Native pixel data are changed in place in the new file; compressed ones are decoded and
written uncompressed as explicit VR little endian, since coding them again would change other pixels.
"""

import os
import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from site_node.blanking import BlankBox
from site_node.deidentify.fast_reader import EXPLICIT
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Element, ElementRun, ParsedFile, bytes_of

CLEAN_PIXEL_DATA = "113101"  # PS3.16 CID 7050; claimed for a file in which boxes were blanked
_SAMPLES, _PHOTOMETRIC, _PLANAR, _BITS, _SIGN = 0x00280002, 0x00280004, 0x00280006, 0x00280100, 0x00280103
_BURNED_IN, _LOSSY = 0x00280301, 0x00282110
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002)  # of encapsulated pixel data alone
_ALWAYS_LOSSY = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})  # baseline and extended JPEG
_WORDS = frozenset({8, 16, 32})
_BYTE = 8
_THREE = 3


def blankable(file: int, parsed: ParsedFile) -> ParsedFile:
    """The file as it is before its boxes are blanked: its annotation denied, its pixels native.

    Args:
        file: its descriptor.
        parsed: what was read of it.

    Raises:
        DicomUnsupported: compressed frames cannot be decoded.
    """
    elements = {tag: element for run in parsed.runs for tag, element in run.elements.items()}
    changes = {_BURNED_IN: Element("CS", b"NO")}
    if parsed.encapsulated:
        bits = int.from_bytes(bytes_of(elements, _BITS)[:2], "little")
        pixels = _decoded(file, bits, signed=bytes_of(elements, _SIGN)[:1] == b"\1")
        if bytes_of(elements, _SAMPLES)[:1] == bytes((_THREE,)):
            changes |= {_PHOTOMETRIC: Element("CS", b"RGB "), _PLANAR: Element("US", b"\0\0")}
        if parsed.syntax in _ALWAYS_LOSSY:  # the transfer syntax said so; now the attribute must
            changes[_LOSSY] = Element("CS", b"01")
        vr = "OB" if bits <= _BYTE else "OW"
        parsed = parsed._replace(explicit=True, syntax=EXPLICIT, pixels=pixels, encapsulated=False, pixel_vr=vr)
        for tag in _OFFSET_TABLES:
            elements.pop(tag, None)
    facts = {tag: element for tag, element in parsed.facts.items() if tag not in _OFFSET_TABLES} | changes
    whole = elements | changes
    return parsed._replace(runs=(ElementRun(b"", whole, whole, True),), facts=facts)


def blank_pixels(out: int, before: bytes, boxes: Sequence[BlankBox]) -> None:
    """Blank boxes in a new file.

    Args:
        out: its descriptor, open for reading and writing.
        before: its bytes before the native pixel data.
        boxes: what to blank.

    Raises:
        DicomUnsupported: a box lies outside the picture, or the pixels have a form in which no colour is the darkest.
        OSError: the file cannot be written.
    """
    shape = _shape(before)
    for number in sorted({box.frame for box in boxes}):
        place = len(before) + number * shape.size
        frame = np.frombuffer(bytearray(os.pread(out, shape.size, place)), dtype=shape.dtype)
        if number >= shape.frames or frame.nbytes != shape.size:
            raise unsupported("cannot-blank", "PixelData")
        picture = frame.reshape(shape.parts)
        black = _darkest(frame, shape)
        for box in boxes:
            if box.frame == number:
                _blank(picture, box, black, shape)
        _put(out, frame.tobytes(), place)


class _Shape(NamedTuple):
    """How the bytes of one frame lie (PS3.3 C.7.6.3, PS3.5 section 8)."""

    frames: int
    rows: int
    columns: int
    parts: tuple[int, ...]  # (rows, columns), (rows, columns, 3) or (3, rows, columns)
    dtype: np.dtype[np.generic]
    stored: int  # bits of a value, the lowest after `unused`
    unused: int
    signed: bool
    photometric: str
    planar: bool  # whether the three colours lie one after the other

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return int(np.prod(self.parts)) * self.dtype.itemsize


def _shape(before: bytes) -> _Shape:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            header = pydicom.dcmread(BytesIO(before), stop_before_pixels=True)
            rows, columns, bits = int(header.Rows), int(header.Columns), int(header.BitsAllocated)
            samples, planar = int(header.get("SamplesPerPixel", 1)), bool(header.get("PlanarConfiguration", 0))
            stored = int(header.get("BitsStored", bits))
            high = int(header.get("HighBit", stored - 1))
            signed = bool(header.get("PixelRepresentation", 0))
            photometric = str(header.PhotometricInterpretation)
            frames = int(header.get("NumberOfFrames") or 1)
    except Exception as error:  # a header may raise anything; its text holds values
        raise unsupported("cannot-blank", "PixelData") from error
    grey = samples == 1 and photometric in {"MONOCHROME1", "MONOCHROME2"}
    colour = samples == _THREE and photometric == "RGB"
    if bits not in _WORDS or not (grey or colour) or not 0 < stored <= high + 1 <= bits:
        raise unsupported("cannot-blank", "PhotometricInterpretation")
    parts: tuple[int, ...] = (rows, columns) if grey else (_THREE, rows, columns) if planar else (rows, columns, _THREE)
    dtype = np.dtype(f"<u{bits // _BYTE}")
    return _Shape(
        frames, rows, columns, parts, dtype, stored, high + 1 - stored, signed, photometric, planar and colour
    )


def _darkest(frame: NDArray[np.generic], shape: _Shape) -> np.generic | int:
    """The stored word of the frame's darkest pixel; 0 of each colour."""
    if shape.photometric == "RGB":
        return 0
    values = (frame.astype(np.int64) >> shape.unused) & ((1 << shape.stored) - 1)
    if shape.signed:
        sign = 1 << (shape.stored - 1)
        values = (values ^ sign) - sign
    place = values.argmax() if shape.photometric == "MONOCHROME1" else values.argmin()
    word: np.generic = frame[place]
    return word


def _blank(picture: NDArray[np.generic], box: BlankBox, black: np.generic | int, shape: _Shape) -> None:
    if box.left >= shape.columns or box.top >= shape.rows:
        raise unsupported("cannot-blank", "PixelData")
    where = slice(box.top, box.bottom), slice(box.left, box.right)
    picture[(slice(None), *where) if shape.planar else where] = black


def _decoded(file: int, bits: int, *, signed: bool) -> bytes:
    """Every frame of a compressed file, as native pixel data."""
    try:
        with warnings.catch_warnings(), os.fdopen(os.dup(file), "rb") as stream:
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            stream.seek(0)
            dtype = f"<{'i' if signed else 'u'}{bits // _BYTE}"
            content: bytes = pixel_array(stream).astype(dtype, casting="safe").tobytes()
    except Exception as error:  # decoders raise nearly anything on a broken frame; the texts may quote values
        raise unsupported("cannot-blank", "PixelData") from error
    return content


def _put(out: int, content: bytes, place: int) -> None:
    view = memoryview(content)
    while view:
        done = os.pwrite(out, view, place)
        view, place = view[done:], place + done
