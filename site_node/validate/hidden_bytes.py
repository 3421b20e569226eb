"""Numbers and tables that no viewer reads, in which bytes could pass every search for text.

Independent of `site_node.deidentify.hidden_bytes` on purpose; the tags of palettes and offsets are shared data.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from operator import ne

from pydicom.datadict import get_entry

from shared.protocol.profile import Rule
from shared.protocol.search_terms import search_terms
from shared.protocol.vr import WORD_SIZES
from site_node.validate.elements import Document, Element, Part, Path

_PHOTOMETRIC = 0x00280004
_COUNTED = frozenset({"CS", "DS", "IS", "TM"})
_DESCRIPTOR, _DATA = 0x00283002, 0x00283006
_PALETTE_TURNS = 8


def unread_tables(document: Document) -> Iterator[int]:
    """Tags at the top level of palettes beside grey pixels, and of frame offsets beside native ones."""
    if document.first(_PHOTOMETRIC) != b"PALETTE COLOR":
        yield from sorted(search_terms().tags.palettes.intersection(document.top))
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


def bad_tables(part: Part) -> Iterator[Element]:
    """LUTData that are not as many as their LUTDescriptor says (PS3.3 section C.11), or that rise and fall."""
    descriptors: dict[Path, bytes] = {element.path: element.raw for element in part if element.tag == _DESCRIPTOR}
    for element in part:
        if element.tag == _DATA and not _is_table(element.raw, descriptors.get(element.path, b""), most_turns=0):
            yield element


def bad_palettes(document: Document) -> Iterator[int]:
    """Tags of palettes that are not as many colours as their descriptor says, or turn as often as letters do."""
    for tag in sorted(search_terms().tags.palettes.intersection(document.top)):
        if tag & 0xFF00 == 0x1200:
            descriptor = document.top.get(tag & ~0xFF00 | 0x1100)
            raw = descriptor[0].raw if descriptor else b""
            if not _is_table(document.top[tag][0].raw, raw, most_turns=_PALETTE_TURNS):
                yield tag


def _is_table(raw: bytes, descriptor: bytes, *, most_turns: int) -> bool:
    if not raw:
        return True
    if len(descriptor) != 6:
        return False
    count, width = int.from_bytes(descriptor[:2], "little") or 65_536, int.from_bytes(descriptor[4:], "little")
    if len(raw) == 2 * count:
        entries = [low | high << 8 for low, high in zip(raw[::2], raw[1::2], strict=True)]
    elif width == 8 and len(raw) == count + count % 2:
        entries = list(raw[:count])
    else:
        return False
    rises = [second > first for first, second in pairwise(entries) if first != second]
    return max(entries) >> width == 0 and sum(map(ne, rises, rises[1:])) <= most_turns


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
