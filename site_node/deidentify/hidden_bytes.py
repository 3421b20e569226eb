"""Where bytes could travel unseen in kept numbers and tables: more of them than the Standard has a use for.

No viewer reads a lookup table that no picture uses, entries past a table's end, or eight numbers where one is meant,
and no search for text looks into them.
"""

from functools import lru_cache

from pydicom.datadict import dictionary_VM

from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import WORD_SIZES, Elements, bytes_of

_PHOTOMETRIC = 0x00280004
_OFFSETS = frozenset({0x7FE00001, 0x7FE00002})  # ExtendedOffsetTable and its lengths
PALETTES = frozenset(
    {*range(0x00281101, 0x00281105), *range(0x00281111, 0x00281115), *range(0x00281200, 0x00281205)}
    | {*range(0x00281211, 0x00281214), *range(0x00281221, 0x00281225)}
)
_LUT_DESCRIPTOR, LUT_DATA = 0x00283002, 0x00283006
_MOST_ENTRIES = 1 << 16  # what a descriptor's 0 means (PS3.3 section C.11.1.1.1)
_ENTRY = 2  # bytes at most


def unused_tables(facts: Elements, *, encapsulated: bool) -> frozenset[int]:
    """The tables that mean nothing at the top of such a file: palettes of grey pictures, offsets of native ones."""
    is_palette = bytes_of(facts, _PHOTOMETRIC).strip(b" \0") == b"PALETTE COLOR"
    return (frozenset() if is_palette else PALETTES) | (frozenset() if encapsulated else _OFFSETS)


def is_of_length(tag: int, vr: str, raw: bytes) -> bool:
    """Whether a binary value is made of whole words, and of no more than the attribute's multiplicity allows."""
    size = WORD_SIZES[vr]
    most = _most_values(tag)
    value_size = 2 * size if vr == "AT" else size  # a tag is two words
    return len(raw) % size == 0 and (most is None or len(raw) <= most * value_size or vr.startswith("O"))


def check_table(item: Elements) -> None:
    """Raise `DicomUnsupported` where an item's LUTData is longer than the entries that its descriptor counts."""
    data, descriptor = bytes_of(item, LUT_DATA), bytes_of(item, _LUT_DESCRIPTOR)
    entries = int.from_bytes(descriptor[:2], "little") or _MOST_ENTRIES
    if data and (not descriptor or len(data) > entries * _ENTRY):
        raise unsupported("malformed-value", "LUTData")


@lru_cache(maxsize=4096)
def _most_values(tag: int) -> int | None:
    """The upper bound of an attribute's multiplicity (PS3.6); None where it has none, or the attribute is unknown."""
    try:
        last = dictionary_VM(tag).split("-")[-1]
    except KeyError:
        return None
    return int(last) if last.isdigit() else None
