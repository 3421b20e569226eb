"""Native pixel data: as long as rows, columns and frames ask for, and nothing in bits that no value uses.

PS3.5 section 8.1.1: a value of BitsStored bits ends at HighBit. What lies above it may only be zero, or repeat the
highest bit of every value. Two bytes of padding after the last frame are dropped.
"""

import struct
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Elements, Span, bytes_of

_ROWS, _COLUMNS, _SAMPLES, _PHOTOMETRIC, FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280004, 0x00280008
_ALLOCATED, _STORED, _HIGH = 0x00280100, 0x00280101, 0x00280102
SHAPE_FACTS = frozenset({_ROWS, _COLUMNS, _SAMPLES, _PHOTOMETRIC, FRAMES, _ALLOCATED, _STORED, _HIGH})
_HALVED = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})  # two bytes for each pixel of three samples
_THREE, _BYTE = 3, 8
_MOST_PADDING = 2  # bytes
_WORDS: MappingProxyType[int, type[np.unsignedinteger[Any]]] = MappingProxyType(
    {8: np.uint8, 16: np.uint16, 32: np.uint32}
)


def frames_of(facts: Elements) -> int:
    """NumberOfFrames, 1 where it is missing; raises `DicomUnsupported` where it is no number."""
    number = _word(facts, FRAMES) or "1"
    if not number.isascii() or not number.isdigit():
        raise unsupported("pixel-length", "NumberOfFrames")
    return int(number)


def number_of(dataset: Elements, tag: int) -> int:
    """An unsigned short, 0 where it is missing."""
    raw = bytes_of(dataset, tag)
    return int(struct.unpack_from("<H", raw)[0]) if len(raw) >= struct.calcsize("<H") else 0


class UnusedBits(NamedTuple):
    """Which bits of a word of native pixels no value uses."""

    word: type[np.unsignedinteger[Any]]
    bits: int  # a mask
    sign: int  # the highest bit of a value

    def check(self, pixels: bytes | memoryview) -> None:
        """Raise `DicomUnsupported` unless these bits of all words are zero, or repeat the highest bit of the value.

        Which of both holds is asked of each call's pixels as a whole, so that single words cannot spell anything.
        """
        words = np.frombuffer(pixels, self.word)
        if self._are_used(words) and self._are_used(words + self.word(self.sign)):  # the carry runs through equal bits
            raise unsupported("pixel-unused-bits", "PixelData")

    def _are_used(self, words: NDArray[np.unsignedinteger[Any]]) -> bool:
        return bool(int(np.bitwise_or.reduce(words)) & self.bits)


class NativePixels(NamedTuple):
    """What a file's header says of its native pixels."""

    size: int  # bytes
    unused: UnusedBits | None

    def without_padding(self, pixels: Span | bytes) -> Span | bytes:
        """The pixels alone; raises `DicomUnsupported` where they are too few, or more than padding follows."""
        length = pixels.length if isinstance(pixels, Span) else len(pixels)
        if length == self.size:
            return pixels
        if not self.size < length <= self.size + _MOST_PADDING:
            raise unsupported("truncated" if length < self.size else "pixel-length", "PixelData")
        return pixels._replace(length=self.size) if isinstance(pixels, Span) else pixels[: self.size]


def native_pixels(facts: Elements) -> NativePixels:
    """The bytes that rows, columns, samples, bits and frames require (PS3.5 section 8), and which bits are unused.

    Raises `DicomUnsupported` where the header contradicts itself.
    """
    frames, rows, columns, bits = frames_of(facts), *(number_of(facts, tag) for tag in (_ROWS, _COLUMNS, _ALLOCATED))
    samples = number_of(facts, _SAMPLES) or 1
    if samples == _THREE and _word(facts, _PHOTOMETRIC) in _HALVED:
        samples = 2
    if not rows or not columns or not bits or frames < 1:
        raise unsupported("pixel-length", "Rows")
    return NativePixels((rows * columns * samples * bits * frames + 7) // _BYTE, _unused_bits(facts))


def _unused_bits(facts: Elements) -> UnusedBits | None:
    allocated, stored = number_of(facts, _ALLOCATED), number_of(facts, _STORED)
    if not 0 < stored < allocated:
        return None
    high = number_of(facts, _HIGH) or stored - 1
    if allocated not in _WORDS or not stored <= high + 1 <= allocated:
        raise unsupported("pixel-unused-bits", "HighBit")
    used = ((1 << stored) - 1) << (high + 1 - stored)
    return UnusedBits(_WORDS[allocated], (1 << allocated) - 1 - used, 1 << high)


def _word(dataset: Elements, tag: int) -> str:
    return bytes_of(dataset, tag).decode("latin-1").strip(" \0")
