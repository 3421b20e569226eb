"""Native pixels by themselves: how many bytes they are, and bits in them that are no part of a value (PS3.5 8.1.1).

Independent of `site_node.deidentify.native_pixels` on purpose: words are shifted here, there they are masked.
"""

import numpy as np

from site_node.validate.elements import Document, forget

_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011
_ALLOCATED, _STORED, _HIGH = 0x00280100, 0x00280101, 0x00280102
_PIECE = 1 << 18  # bytes looked at together
_WINDOW = 1 << 22  # bytes of a mapped file that may be in memory at once


def pixel_bytes(document: Document) -> int:
    """The bytes of all frames, as rows, columns, samples, bits and frames say."""
    frames, samples = document.first(_FRAMES).strip() or b"1", number_of(document, _SAMPLES) or 1
    if samples == 3 and document.first(_PHOTOMETRIC).endswith(b"_422"):
        samples = 2
    bits = number_of(document, _ROWS) * number_of(document, _COLUMNS) * samples * number_of(document, _ALLOCATED)
    return (bits * int(frames) + 7) // 8 if frames.isdigit() else 0


def hides_bits(document: Document, pixels: memoryview) -> bool:
    """Whether bits beside the stored ones are neither zero nor, in a whole piece, copies of the values' highest bit."""
    allocated, stored = number_of(document, _ALLOCATED), number_of(document, _STORED)
    above = allocated - 1 - (number_of(document, _HIGH) or stored - 1)
    below = allocated - above - stored
    if not 0 < stored < allocated or allocated not in {8, 16, 32}:
        return False
    if above < 0 or below < 0:
        return True
    whole = len(pixels) - len(pixels) % (allocated // 8)
    for start in range(0, whole, _PIECE):
        words = np.frombuffer(pixels[start : min(start + _PIECE, whole)], f"<u{allocated // 8}")
        signed = words.view(f"<i{allocated // 8}")
        low = bool(below) and bool((words << allocated - below).any())
        if low or (int(words.max()) >> allocated - above and ((signed << above >> above) != signed).any()):
            return True
        if start % _WINDOW == 0:
            forget(pixels)
    return False


def number_of(document: Document, tag: int) -> int:
    """An unsigned short, 0 where there is none; bytes of it that are spaces are no padding."""
    part = document.top.get(tag)
    return int.from_bytes(part[0].raw[:2], "little") if part else 0
