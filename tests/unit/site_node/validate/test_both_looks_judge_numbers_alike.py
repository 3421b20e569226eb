"""Numbers, ages and pixels as the first stage leaves them pass the second look; what says another thing is found."""

import struct
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.errors.studies import DicomUnsupported
from shared.protocol.profile import Action, Rule
from shared.protocol.value_terms import value_terms
from site_node.deidentify.hidden_bytes import is_of_length
from site_node.deidentify.native_pixels import native_pixels
from site_node.deidentify.numbers import is_beyond as is_beyond_first
from site_node.deidentify.patient_age import new_age
from site_node.dicom.elements import Element as FirstElement
from site_node.validate.elements import Element
from site_node.validate.hidden_bytes import has_too_many
from site_node.validate.meant import charset_terms, is_age_of, says_the_same
from site_node.validate.native_pixels import hides_bits, pixel_bytes
from site_node.validate.numbers import is_beyond, numbers_of, shows

ROWS, COLUMNS, SAMPLES, PHOTOMETRIC, FRAMES = 0x00280010, 0x00280011, 0x00280002, 0x00280004, 0x00280008
ALLOCATED, STORED, HIGH = 0x00280100, 0x00280101, 0x00280102
LETTERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
DAY = date(2020, 6, 1)


def rule(multiplicity: str = "1", keyword: str = "ExposureTime") -> Rule:
    return Rule(
        tag=0x00181150, keyword=keyword, vrs=frozenset(), action=Action.KEEP, multiplicity=multiplicity, source=""
    )


def headers(values: dict[int, int | bytes]) -> tuple[dict[int, FirstElement], Any]:
    """The same header for both stages."""
    raw = {tag: value if isinstance(value, bytes) else struct.pack("<H", value) for tag, value in values.items()}
    top = {tag: (Element((), tag, "US", value),) for tag, value in raw.items()}
    document = SimpleNamespace(top=top, first=lambda tag: raw.get(tag, b"").rstrip(b" \0"))
    return {tag: FirstElement("US", value) for tag, value in raw.items()}, document


@given(data=st.data(), allocated=st.sampled_from([8, 16, 32]))
def test_bits_beside_the_value_are_nought_or_its_sign(data: st.DataObject, allocated: int) -> None:
    """In all words alike; a value that does not lie in its word is refused."""
    stored = data.draw(st.integers(1, allocated))
    high = data.draw(st.integers(0, allocated + 1))
    mask = ((1 << stored) - 1) << max(high + 1 - stored, 0)
    everything = (1 << allocated) - 1
    kinds = [
        st.integers(0, everything).map(lambda word: word & mask & everything),
        st.integers(0, everything).map(
            lambda word: word & mask | (everything & ~((2 << high) - 1) if word >> high & 1 else 0)
        ),
        st.integers(0, everything),
    ]
    words = data.draw(st.one_of([st.lists(kind, min_size=1, max_size=6) for kind in kinds]))
    facts, document = headers({ROWS: 1, COLUMNS: len(words), ALLOCATED: allocated, STORED: stored, HIGH: high})
    pixels = b"".join(word.to_bytes(allocated // 8, "little") for word in words)
    at = high or stored - 1  # nought stands for none
    lies_within = stored <= at + 1 <= allocated
    unused = everything & ~(((1 << stored) - 1) << max(at + 1 - stored, 0))
    above = everything & ~((2 << at) - 1)
    is_plain = all(not word & unused for word in words)
    is_signed = all(word & unused == (above if word >> at & 1 else 0) for word in words)
    expected = stored < allocated and not (lies_within and (is_plain or is_signed))
    assert hides_bits(document, memoryview(pixels)) is expected
    try:
        unused_bits = native_pixels(facts).unused
        if unused_bits is not None:
            unused_bits.check(pixels)
        is_refused = False
    except DicomUnsupported:
        is_refused = True
    assert is_refused is expected


@given(
    rows=st.integers(1, 9), columns=st.integers(1, 9), frames=st.integers(1, 3), bits=st.sampled_from([1, 8, 16]),
    samples=st.sampled_from([0, 1, 3]), photometric=st.sampled_from([b"RGB ", b"YBR_FULL_422"]),
)  # fmt: skip
def test_pixels_are_as_many_as_the_header_says(
    *, rows: int, columns: int, frames: int, bits: int, samples: int, photometric: bytes
) -> None:
    """Two samples for each pixel where the colours are halved, and eight pixels in a byte of single bits."""
    values: dict[int, int | bytes] = {ROWS: rows, COLUMNS: columns, ALLOCATED: bits, FRAMES: b"%d " % frames}
    values |= {SAMPLES: samples, PHOTOMETRIC: photometric}
    facts, document = headers(values)
    each = 2 if samples == 3 and photometric == b"YBR_FULL_422" else samples or 1
    expected = -(-rows * columns * frames * bits * each // 8)
    assert native_pixels(facts).size == pixel_bytes(document) == expected
    for size, code in ((expected - 1, "truncated"), (expected + 3, "pixel-length")):
        with pytest.raises(DicomUnsupported) as caught:
            native_pixels(facts).without_padding(bytes(size))
        assert caught.value.fields["code"] == code
    for size in range(expected, expected + 3):
        assert native_pixels(facts).without_padding(bytes(size)) == bytes(expected)


@pytest.mark.parametrize(
    "values", [{ROWS: 0}, {COLUMNS: 0}, {ALLOCATED: 0}, {FRAMES: b"0"}, {FRAMES: b"x "}, {FRAMES: b"\xb2"}]
)
def test_a_header_without_pixels_is_refused(values: dict[int, int | bytes]) -> None:
    """Nor is a number of frames guessed."""
    facts, document = headers({ROWS: 2, COLUMNS: 2, ALLOCATED: 8, **values})
    with pytest.raises(DicomUnsupported):
        native_pixels(facts)
    assert pixel_bytes(document) == 0


@given(
    years=st.integers(0, 120), off=st.integers(-1, 1), unit=st.sampled_from(["", "Y", "M", "W", "D"]), data=st.data()
)
@example(years=90, off=0, unit="Y", data=None)
@example(years=89, off=0, unit="", data=None)
def test_an_age_is_its_sources(years: int, off: int, unit: str, data: st.DataObject | None) -> None:
    """As it was stated, else by the dates, capped; any other is found."""
    birth, day = f"{DAY.replace(year=2020 - years):%Y%m%d}", f"{DAY:%Y%m%d}"
    stated = f"{max(years + off, 0)}{unit}" if data is None or data.draw(st.booleans()) else ""
    try:
        new = new_age(stated.encode(), birth, day)
    except DicomUnsupported:
        assume(False)
    assume(new)
    assert is_age_of(new, stated.encode(), birth.encode(), day.encode())
    for other in (b"001D", b"089Y", b"090Y", b"091Y", b""):
        assert is_age_of(other, stated.encode(), birth.encode(), day.encode()) is (other == new)


def test_without_age_and_dates_there_is_none() -> None:
    """Nor by what is no age or no day."""
    for old, birth, day in ((b"old", b"19800101", b"20200101"), (b"", b"", b"20200101"), (b"", b"19800101", b"2020")):
        assert not is_age_of(b"040Y", old, birth, day)


@pytest.mark.parametrize(
    ("new", "old", "vr", "same"),
    [
        (b"1.5", b"1,5", "DS", True),
        (b"1.5", b"1.6", "DS", False),
        (b"", b"x", "DS", True),
        (b"1", b"x", "DS", False),
        (b"1\\2", b"1\\2\\3", "DS", True),
        (b"1\\2\\3", b"1\\2", "DS", False),
        (b"2", b"2.5", "IS", True),
        (b"3", b"2.5", "IS", True),
        (b"3", b"2.4", "IS", False),
        (b"1.5", b"1,5", "TM", False),
        (b"CHEST", b"chest ", "CS", True),
        (b"CSPINE", b"c-spine", "CS", True),
        (b"OAKRD", b"Oak-Rd", "CS", False),
        (b"CHEST", b"HAND", "CS", False),
    ],
)
def test_another_spelling_says_the_same(new: bytes, old: bytes, vr: str, same: bool) -> None:
    """Value by value; less may stand there, never another thing."""
    assert says_the_same(new, old, vr) is same


def test_a_character_set_is_one_that_the_standard_has() -> None:
    """However it is spelled; of several each."""
    assert charset_terms(b"ISO_IR 100") == charset_terms(b"iso-ir 100 ") == ("ISO_IR 100",)
    assert charset_terms(b"") == ("",)
    assert charset_terms(b"ISO_IR 100\\KLINGON") is None


@given(
    vr=st.sampled_from(["US", "FD", "AT", "OW"]), values=st.integers(0, 5), multiplicity=st.sampled_from(["1", "2-4"])
)
def test_no_value_holds_more_than_its_attribute_has(vr: str, values: int, multiplicity: str) -> None:
    """As both stages count them."""
    raw = bytes(values * {"US": 2, "FD": 8, "AT": 4, "OW": 2}[vr])
    element = Element((), 0x00181150, vr, raw)
    assert has_too_many(element, rule(multiplicity)) is not is_of_length(rule(multiplicity), vr, raw)
    assert not has_too_many(element, rule("1-n"))


@pytest.mark.parametrize("vr", ["CS", "DS", "IS", "TM"])
def test_no_text_has_more_values_than_its_attribute(vr: str) -> None:
    """By the rule of a private element, else by the Standard."""
    for raw, many in ((b"1", False), (b"1\\2", True), (b"", False)):
        assert has_too_many(Element((), 0x00181150, vr, raw), None) is many  # ExposureTime, one value
        assert not has_too_many(Element((), 0x00080008, vr, raw), None)  # ImageType, any number
        assert not has_too_many(Element((), 0x00091001, vr, raw), None)
        assert has_too_many(Element((), 0x00091001, vr, raw), rule("1")) is many
    assert not has_too_many(Element((), 0x00181150, "LO", b"1\\2"), None)


@given(number=st.integers(10_000, 10**12), vr=st.sampled_from(sorted(LETTERS)), sign=st.sampled_from([1, -1]))
@example(number=10_000, vr="US", sign=1)
@example(number=123_456_789, vr="FL", sign=1)
def test_a_number_of_five_digits_is_found_in_every_word(number: int, vr: str, sign: int) -> None:
    """Also where a short float rounds it; another number is not."""
    try:
        raw = struct.pack(f"<{LETTERS[vr]}", sign * number)
    except struct.error:
        return
    [held] = numbers_of(raw, vr)
    assert shows(held, frozenset({number}), vr)
    assert not shows(held, frozenset({number * 3}), vr)
    assert [*numbers_of(raw + b"\0", vr)] == []


@given(number=st.integers(1, 10**9), places=st.integers(0, 6))
@example(number=999_999, places=2)
@example(number=1_000_001, places=2)
@example(number=9999, places=0)
@example(number=10_000, places=0)
def test_a_long_number_is_found_wherever_its_point_stands(number: int, places: int) -> None:
    """From seven digits on; a shorter one only where it is whole, and of five."""
    assume(number % 10)
    text = f"{number / 10**places:.{places}f}".encode()
    [held] = numbers_of(text, "DS")
    expected = number >= 1_000_000 or (places == 0 and number >= 10_000)
    assert shows(held, frozenset({number}), "DS") is expected


def test_the_whole_part_of_a_long_number_is_found_too() -> None:
    """Of seven digits; not of six, of nought, nor of a number with more digits than anything has."""
    own = frozenset({1_234_567, 123_456})
    for text, expected in ((b"1234567.89", True), (b"123456.789", False), (b"0", False), (b"1e41", False)):
        [held] = numbers_of(text, "DS")
        assert shows(held, own, "DS") is expected, text
    assert [*numbers_of(b"1\\x\\nan\\3", "DS")] == [1, 3]
    assert [*numbers_of(struct.pack("<dd", float("inf"), 2), "FD")] == [2]


def test_both_stages_know_what_no_device_measures() -> None:
    """The largest, the smallest, and what is no number; an attribute may be unbounded."""
    terms = value_terms().numbers
    for number in (0.0, 1.0, terms.beyond, terms.beyond - 1.0, terms.nothing / 2, terms.nothing * 2, float("nan")):
        expected = is_beyond_first(rule(), [number])
        assert is_beyond(struct.pack("<d", number), "FD", "ExposureTime") is expected, number
        assert not is_beyond(struct.pack("<d", number), "FD", min(terms.unbounded))
    assert is_beyond(b"1\\1000000", "DS", "ExposureTime")
    assert not is_beyond(b"1\\x", "DS", "ExposureTime")
    assert not is_beyond(b"1000000", "LO", "ExposureTime")
