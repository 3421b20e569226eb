"""Numbers and tables that no viewer reads, in which bytes could pass every search for text.

Independent of `site_node.deidentify.hidden_bytes` on purpose; the tags of palettes and offsets are shared data.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from pydicom.datadict import get_entry

from shared.protocol.profile import Rule
from shared.protocol.search_terms import search_terms
from shared.protocol.vr import WORD_SIZES
from site_node.validate.elements import Document, Element, Part, Path

_PHOTOMETRIC = 0x00280004
_COUNTED = frozenset({"CS", "DS", "IS", "TM"})
_DESCRIPTOR, _DATA = 0x00283002, 0x00283006


def unread_tables(document: Document) -> Iterator[int]:
    """Tags at the top level of palettes beside grey pixels, and of frame offsets beside native ones."""
    if document.first(_PHOTOMETRIC) != b"PALETTE COLOR":
        yield from filter(is_palette, document.top)
    if not document.encapsulated:
        yield from (tag for tag in sorted(search_terms().tags.offsets) if tag in document.top)


def is_palette(tag: int) -> bool:
    """Whether an attribute is part of a Palette Color Lookup Table."""
    return tag in search_terms().tags.palettes


def has_too_many(element: Element, safe: Rule | None) -> bool:
    """Whether a code or number has more values than its attribute's multiplicity allows (PS3.6).

    `safe` is the rule of a listed private element.
    """
    most = _most(safe.multiplicity if safe else _multiplicity(element.tag))
    if element.vr in _COUNTED:
        return 0 < most <= element.raw.count(b"\\")
    if element.vr not in WORD_SIZES or element.vr[0] == "O":
        return False
    size = 4 if element.vr == "AT" else WORD_SIZES[element.vr]  # a tag is two words
    return most > 0 and len(element.raw) > most * size


def wrong_tables(part: Part) -> Iterator[Element]:
    """LUTData longer than its LUTDescriptor says, in words of 16 bits, or that rise and fall (PS3.3 section C.11)."""
    descriptors: dict[Path, bytes] = {element.path: element.raw for element in part if element.tag == _DESCRIPTOR}
    for element in part:
        descriptor = descriptors.get(element.path, b"")
        if element.tag == _DATA and (
            len(element.raw) > _length_of(descriptor) or not _has_direction(element.raw, descriptor)
        ):
            yield element


def long_palettes(document: Document) -> Iterator[int]:
    """The tags of palette data at the top level that are longer than their descriptors say."""
    for colour in range(1, 5):
        data = document.top.get(0x00281200 + colour)
        if data and len(data[0].raw) > _length_of(document.first(0x00281100 + colour)):
            yield data[0].tag


def _length_of(descriptor: bytes) -> int:
    """Bytes of a table of words, at most; none without a descriptor."""
    return 2 * (int.from_bytes(descriptor[:2], "little") or 65_536) if descriptor else 0


def _has_direction(table: bytes, descriptor: bytes) -> bool:
    """Whether entries never rise or never fall; text does both."""
    entries = np.frombuffer(table[: len(table) // 2 * 2], "<u2")
    if descriptor[4:6] <= b"\x08\0" and len(table) <= _length_of(descriptor) // 2 + 1:
        entries = np.frombuffer(table, "u1")
    steps = [np.diff(entries.astype(int)), np.diff(entries.view(f"i{entries.itemsize}").astype(int))]
    return any(bool((step >= 0).all() or (step <= 0).all()) for step in steps)


@lru_cache(maxsize=4096)
def _multiplicity(tag: int) -> str:
    try:
        return str(get_entry(tag)[1])
    except KeyError:
        return ""


def _most(multiplicity: str) -> int:
    """The most values that an attribute may have; 0 where there is no bound."""
    most = multiplicity.rpartition("-")[2]
    return int(most) if most.isdecimal() else 0
