"""Where bytes could travel unseen in kept numbers and tables: more of them than the Standard has a use for.

No viewer reads a lookup table that no picture uses, entries past a table's end, or eight numbers where one is meant,
and no search for text looks into them.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import ge, le
from types import MappingProxyType

from pydicom.datadict import dictionary_VM

from shared.protocol.profile import Rule
from shared.protocol.search_terms import search_terms
from shared.protocol.vr import WORD_SIZES
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Elements, bytes_of

_PHOTOMETRIC = 0x00280004
_LUT_DESCRIPTOR, LUT_DATA = 0x00283002, 0x00283006
_MOST_ENTRIES = 1 << 16  # what a descriptor's 0 means (PS3.3 section C.11.1.1.1)
_ENTRY = 2  # bytes at most
_BYTE = 8  # bits
PALETTES: Mapping[int, int] = MappingProxyType(  # of red, green, blue, alpha -> the descriptor
    {0x00281200 + colour: 0x00281100 + colour for colour in range(1, 5)}
)


def unused_tables(facts: Elements, *, encapsulated: bool) -> frozenset[int]:
    """The tables that mean nothing at the top of such a file: palettes of grey pictures, offsets of native ones."""
    tags = search_terms().tags
    is_palette = bytes_of(facts, _PHOTOMETRIC).strip(b" \0") == b"PALETTE COLOR"
    return (frozenset() if is_palette else tags.palettes) | (frozenset() if encapsulated else tags.offsets)


def check_palettes(facts: Elements) -> None:
    """Raise `DicomUnsupported` where a palette of a palette picture is longer than its descriptor says."""
    for data, descriptor in PALETTES.items():
        if bytes_of(facts, _PHOTOMETRIC).strip(b" \0") == b"PALETTE COLOR":
            _check_length(bytes_of(facts, data), bytes_of(facts, descriptor), "PhotometricInterpretation")


def is_of_length(rule: Rule, vr: str, raw: bytes) -> bool:
    """Whether a binary value is made of whole words, and of no more than the attribute's multiplicity allows."""
    size, (_, most) = WORD_SIZES[vr], multiplicity_of(rule)
    value_size = 2 * size if vr == "AT" else size  # a tag is two words
    return len(raw) % size == 0 and (most is None or len(raw) <= most * value_size or vr.startswith("O"))


def check_table(item: Elements) -> None:
    """Raise `DicomUnsupported` where an item's LUTData is longer than the entries that its descriptor counts.

    Nor may it both rise and fall: a modality or VOI lookup table does not (PS3.3 section C.11), and text does.
    """
    data, descriptor = bytes_of(item, LUT_DATA), bytes_of(item, _LUT_DESCRIPTOR)
    _check_length(data, descriptor, "LUTData")
    entries, bits = (int.from_bytes(descriptor[at : at + 2], "little") for at in (0, 4))
    readings = ("B",) if bits <= _BYTE and len(data) <= (entries or _MOST_ENTRIES) + 1 else ("H", "h")
    whole = data[: len(data) // _ENTRY * _ENTRY]
    if not any(_is_monotonic([entry for (entry,) in struct.iter_unpack(f"<{code}", whole)]) for code in readings):
        raise unsupported("malformed-value", "LUTData")


def _is_monotonic(entries: Sequence[int]) -> bool:
    return all(map(le, entries, entries[1:])) or all(map(ge, entries, entries[1:]))


def _check_length(data: bytes, descriptor: bytes, attribute: str) -> None:
    entries = int.from_bytes(descriptor[:2], "little") or _MOST_ENTRIES
    if data and (not descriptor or len(data) > entries * _ENTRY):
        raise unsupported("malformed-value", attribute)


def multiplicity_of(rule: Rule) -> tuple[int, int | None]:
    """The least and the greatest number of values of an attribute; `None` where there is no bound or none is known."""
    return _bounds(rule.multiplicity or _multiplicity(rule.tag))


@lru_cache(maxsize=4096)
def _multiplicity(tag: int) -> str:
    try:
        return str(dictionary_VM(tag))
    except KeyError:
        return ""


@lru_cache(maxsize=256)
def _bounds(multiplicity: str) -> tuple[int, int | None]:
    """Of `1`, `3`, `1-n`, `2-2n` or `1-8`, as PS3.6 writes them."""
    first, _, last = multiplicity.partition("-")
    last = last or first
    return int(first) if first.isdecimal() else 1, int(last) if last.isdecimal() else None
