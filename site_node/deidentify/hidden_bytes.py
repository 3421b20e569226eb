"""Where bytes could travel unseen in kept numbers and tables: more of them than the Standard has a use for.

No viewer reads a lookup table that no picture uses, entries past a table's end, or eight numbers where one is meant,
and no search for text looks into them.
"""

from functools import lru_cache

import numpy as np
from pydicom.datadict import dictionary_VM, keyword_for_tag

from shared.protocol.profile import Rule
from shared.protocol.search_terms import search_terms
from shared.protocol.vr import WORD_SIZES
from site_node.deidentify.reasons import unsupported
from site_node.dicom.elements import Elements, bytes_of

_PHOTOMETRIC = 0x00280004
_LUT_DESCRIPTOR, LUT_DATA = 0x00283002, 0x00283006
_MOST_ENTRIES = 1 << 16  # what a descriptor's 0 means (PS3.3 section C.11.1.1.1)
_ENTRY, _BYTE = 2, 8  # bytes of an entry at most; bits of one that may be packed
_FIRST_PALETTE, _TO_DESCRIPTOR = 0x00281200, 0x0100  # where data begin, and how far before them their descriptors are
_MOST_TURNS = 8  # between rise and fall; scales of colours have few, letters many


def has_palette(facts: Elements) -> bool:
    """Whether the pixels are numbers of colours."""
    return bytes_of(facts, _PHOTOMETRIC).strip(b" \0") == b"PALETTE COLOR"


def unused_tables(facts: Elements, *, encapsulated: bool) -> frozenset[int]:
    """The tables that mean nothing at the top of such a file: palettes of grey pictures, offsets of native ones."""
    tags = search_terms().tags
    return (frozenset() if has_palette(facts) else tags.palettes) | (frozenset() if encapsulated else tags.offsets)


def is_of_length(rule: Rule, vr: str, raw: bytes) -> bool:
    """Whether a binary value is made of whole words, and of no more than the attribute's multiplicity allows."""
    size, (_, most) = WORD_SIZES[vr], multiplicity_of(rule)
    value_size = 2 * size if vr == "AT" else size  # a tag is two words
    return len(raw) % size == 0 and (most is None or len(raw) <= most * value_size or vr.startswith("O"))


def check_table(item: Elements) -> None:
    """Raise `DicomUnsupported` where LUTData are not as many entries as the descriptor counts, or no lookup table.

    A modality or VOI table only rises or only falls, so that it cannot spell anything.
    """
    data = bytes_of(item, LUT_DATA)
    if data and not _is_table(data, bytes_of(item, _LUT_DESCRIPTOR), turns=0):
        raise unsupported("malformed-value", "LUTData")


def check_palettes(dataset: Elements) -> None:
    """Raise `DicomUnsupported` where a palette is not as its descriptor counts, or turns too often to be colours."""
    for tag in search_terms().tags.palettes:
        data = bytes_of(dataset, tag) if tag >= _FIRST_PALETTE else b""
        if data and not _is_table(data, bytes_of(dataset, tag - _TO_DESCRIPTOR), turns=_MOST_TURNS):
            raise unsupported("malformed-value", keyword_for_tag(tag) or "PhotometricInterpretation")


def _is_table(data: bytes, descriptor: bytes, *, turns: int) -> bool:
    """Whether data are the entries that a descriptor counts, in its bits, and change between rise and fall seldom."""
    entries, bits = int.from_bytes(descriptor[:2], "little") or _MOST_ENTRIES, int.from_bytes(descriptor[4:6], "little")
    in_bytes = bits == _BYTE and len(data) == entries + entries % 2
    if len(descriptor) != 6 or not 0 < bits <= _BYTE * _ENTRY or not (in_bytes or len(data) == entries * _ENTRY):
        return False
    values = np.frombuffer(data, "u1" if in_bytes else "<u2")[:entries].astype(np.int32)
    steps = np.sign(np.diff(values))
    steps = steps[steps != 0]
    return int(values.max()) < 1 << bits and int(np.count_nonzero(np.diff(steps))) <= turns


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
