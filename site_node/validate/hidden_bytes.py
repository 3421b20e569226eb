"""Numbers and tables that no viewer reads, in which bytes could pass every search for text.

Independent of `site_node.deidentify.hidden_bytes` on purpose; the tags of palettes and offsets are shared data.
"""

from collections.abc import Iterator
from functools import lru_cache

from pydicom.datadict import get_entry

from shared.protocol.search_terms import search_terms
from shared.protocol.vr import WORD_SIZES
from site_node.validate.elements import Document, Element, Part, Path

_PHOTOMETRIC = 0x00280004
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


def has_too_many(element: Element) -> bool:
    """Whether a binary value has more numbers than its attribute's multiplicity allows (PS3.6)."""
    if element.vr not in WORD_SIZES or element.vr[0] == "O":
        return False
    most = _multiplicity(element.tag)
    size = 4 if element.vr == "AT" else WORD_SIZES[element.vr]  # a tag is two words
    return most > 0 and len(element.raw) > most * size


def long_tables(part: Part) -> Iterator[Element]:
    """LUTData longer than its LUTDescriptor says, in words of 16 bits (PS3.3 section C.11)."""
    counts: dict[Path, int] = {
        element.path: int.from_bytes(element.raw[:2], "little") or 65_536
        for element in part
        if element.tag == _DESCRIPTOR
    }
    for element in part:
        if element.tag == _DATA and len(element.raw) > 2 * counts.get(element.path, 0):
            yield element


@lru_cache(maxsize=4096)
def _multiplicity(tag: int) -> int:
    """The most values that an attribute may have; 0 where there is no bound."""
    try:
        most = get_entry(tag)[1].rpartition("-")[2]
    except KeyError:
        return 0
    return int(most) if most.isdecimal() else 0
