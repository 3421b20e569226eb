"""A lookup table has as many entries as its descriptor counts, in its bits, and turns too seldom to spell anything.

The stage that copies it and the one that looks again judge each alike, by methods of their own.
"""

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from site_node.deidentify.hidden_bytes import check_palettes, check_table, unused_tables
from site_node.dicom.elements import Element, Elements
from site_node.validate import elements as validated
from site_node.validate.hidden_bytes import bad_palettes, bad_tables, is_palette, unread_tables

PHOTOMETRIC, RED, RED_DESCRIPTOR = 0x00280004, 0x00281201, 0x00281101


def refused(values: list[int], *, entries: int, bits: int, width: int = 2, extra: bytes = b"", palette: bool) -> bool:
    """Whether a table of words of `width` bytes is refused, as a palette or as a VOI table."""
    data = b"".join(value.to_bytes(width, "little") for value in values) + extra
    descriptor = struct.pack("<HHH", entries % 65536, 0, bits)
    tags = (RED, RED_DESCRIPTOR) if palette else (0x00283006, 0x00283002)
    dataset: Elements = {tag: Element("OW", raw) for tag, raw in zip(tags, (data, descriptor), strict=True)}
    part = tuple(validated.Element((), tag, "OW", raw) for tag, raw in zip(tags, (data, descriptor), strict=True))
    document: Any = SimpleNamespace(top={element.tag: (element,) for element in part})
    is_seen_again = bool([*(bad_palettes(document) if palette else bad_tables(part))])
    error = None
    try:
        (check_palettes if palette else check_table)(dataset)
    except DicomUnsupported as caught:
        error = caught
    assert is_seen_again is (error is not None)
    if error is None:
        return False
    assert error.fields["code"] == "malformed-value"
    assert error.fields["attribute"] == ("RedPaletteColorLookupTableData" if palette else "LUTData")
    return True


@given(entries=st.integers(4, 40), bits=st.integers(1, 16), palette=st.booleans(), falls=st.booleans())
def test_entries_are_as_many_and_as_wide_as_is_said(entries: int, bits: int, palette: bool, falls: bool) -> None:
    """One more or less, or one that needs a further bit, is refused; as words, few entries could be more as bytes."""
    most = (1 << bits) - 1
    values = sorted((most * at // (entries - 1) for at in range(entries)), reverse=falls)
    assert not refused(values, entries=entries, bits=bits, palette=palette)
    for count in (entries - 1, entries + 1, entries + 2):
        assert refused(values, entries=count, bits=bits, palette=palette)
    assert refused(values, entries=entries, bits=bits, extra=b"\0", palette=palette)
    if bits < 16:
        assert refused([*values[:-1], 1 << bits], entries=entries, bits=bits, palette=palette)
        assert refused([1 << bits, *values[1:]], entries=entries, bits=bits, palette=palette)
    if bits == 8:
        padding = b"\0" * (entries % 2)
        assert not refused(values, entries=entries, bits=8, width=1, extra=padding, palette=palette)
        assert refused(values, entries=entries, bits=8, width=1, extra=b"\0" * (1 - entries % 2), palette=palette)
    elif bits < 8:
        assert refused(values, entries=entries, bits=bits, width=1, extra=b"\0" * (entries % 2), palette=palette)


@pytest.mark.parametrize("bits", [0, 17])
def test_no_table_has_such_bits(bits: int) -> None:
    """From one to sixteen."""
    descriptor = Element("US", struct.pack("<HHH", 2, 0, bits))
    with pytest.raises(DicomUnsupported):
        check_table({0x00283006: Element("OW", bytes(4)), 0x00283002: descriptor})


@pytest.mark.parametrize(("palette", "turns"), [(False, 0), (True, 8)])
def test_a_table_that_turns_more_often_could_spell(palette: bool, turns: int) -> None:
    """A grey scale never does, a scale of colours eight times; entries that stay as they are turn nowhere."""
    waves = [value for _ in range(turns + 2) for value in (1, 1, 9, 9)]
    for pairs in range(2, turns + 4):
        values = waves[: 2 * pairs]
        assert refused(values, entries=len(values), bits=8, palette=palette) is (pairs - 2 > turns)


def test_no_count_means_all_of_them() -> None:
    """A descriptor's 0 stands for 65536; one of another length is none."""
    assert not refused([*range(65536)], entries=65536, bits=16, palette=False)
    assert refused([0], entries=65536, bits=16, palette=False)
    for descriptor in (b"", struct.pack("<HH", 1, 0), struct.pack("<HHHH", 1, 0, 16, 0)):
        with pytest.raises(DicomUnsupported):
            check_table({0x00283006: Element("OW", b"\1\0"), 0x00283002: Element("US", descriptor)})
    check_table({0x00283002: Element("US", b"")})
    check_palettes({RED_DESCRIPTOR: Element("US", b"\1")})


def test_palettes_mean_nothing_beside_grey_and_offsets_nothing_beside_native_pixels() -> None:
    """Else they stay."""
    grey: Elements = {PHOTOMETRIC: Element("CS", b"MONOCHROME2 ")}
    colour: Elements = {PHOTOMETRIC: Element("CS", b"PALETTE COLOR ")}
    assert RED in unused_tables(grey, encapsulated=True)
    assert RED not in unused_tables(colour, encapsulated=True)
    for facts in (grey, colour):
        assert 0x7FE00001 in unused_tables(facts, encapsulated=False)
        assert 0x7FE00001 not in unused_tables(facts, encapsulated=True)
    assert unused_tables(colour, encapsulated=True) == frozenset()
    for photometric, encapsulated in ((b"MONOCHROME2", True), (b"PALETTE COLOR", False), (b"PALETTE COLOR", True)):
        tops = {RED: None, 0x7FE00001: None, 0x00280010: None}
        document: Any = SimpleNamespace(
            top=tops, encapsulated=encapsulated, first=lambda _, photometric=photometric: photometric
        )
        assert [*unread_tables(document)] == [
            *([RED] if photometric != b"PALETTE COLOR" else []), *([] if encapsulated else [0x7FE00001])
        ]  # fmt: skip
    assert is_palette(RED)
    assert not is_palette(0x00280010)
