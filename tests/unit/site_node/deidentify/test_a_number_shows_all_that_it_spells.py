"""A number is somebody's in whatever form it is written; one beyond all measure, or of too many bytes, is none."""

import struct
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.protocol.profile import Action, Rule
from shared.protocol.value_terms import value_terms
from site_node.deidentify.hidden_bytes import is_of_length, multiplicity_of
from site_node.deidentify.numbers import is_beyond, numbers_in, unpacked, words_of
from site_node.deidentify.value_forms import is_standard, mended

WHOLE = {"SS": 16, "SL": 32, "SV": 64, "US": 16, "UL": 32, "UV": 64}
LETTERS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}


def rule(multiplicity: str = "1", keyword: str = "ExposureTime", tag: int = 0x00181150) -> Rule:
    return Rule(
        tag=tag, keyword=keyword, vrs=frozenset({"IS"}), action=Action.KEEP, multiplicity=multiplicity, source=""
    )


@given(number=st.integers(1, 10**12), zeros=st.integers(0, 4), sign=st.sampled_from(["", "+", "-"]))
def test_a_whole_number_shows_its_digits_in_any_form(number: int, zeros: int, sign: str) -> None:
    """With leading zeros, a point, decimals of nought, or as a power of ten."""
    digits = str(number)
    for text in (
        f"{sign}{'0' * zeros}{digits}", f" {sign}{digits}.", f"{sign}{digits}.{'0' * zeros} ",
        f"{sign}{digits[0]}.{digits[1:]}e{len(digits) - 1}", f"{sign}{digits}0E-1", f"{sign}0.{digits}E+{len(digits)}",
    ):  # fmt: skip
        assert digits in {*numbers_in(text)}, text


@given(number=st.integers(1, 10**12), places=st.integers(1, 12))
@example(number=100_000, places=1)
@example(number=99_999, places=1)
def test_a_fraction_of_seven_digits_shows_them_without_its_point(number: int, places: int) -> None:
    """Fewer occur by chance."""
    digits = str(number * 10 + 1)
    text = f"{Decimal(digits).scaleb(-places):f}"
    whole = text.partition(".")[0].lstrip("0")
    assert {*numbers_in(text)} == {shown for shown in (digits, whole) if len(shown) >= 7}


@pytest.mark.parametrize("text", ["", "abc", "1-2", "1.2.3", "1e", "1e1234"])
def test_what_is_no_number_shows_none(text: str) -> None:
    """Nor does nothing."""
    assert not [shown for shown in numbers_in(text) if shown]


def test_a_power_beyond_all_digits_shows_only_those_that_it_has() -> None:
    """Forty at most are written out."""
    assert {*numbers_in("1e39")} == {"1" + "0" * 39}
    assert not {*numbers_in("1e40")}


@given(number=st.integers(10_000, 2**63 - 1), vr=st.sampled_from(sorted(LETTERS)), sign=st.sampled_from([1, -1]))
@example(number=10_000, vr="US", sign=1)
@example(number=10_000, vr="SS", sign=-1)
@example(number=9_999_999, vr="FD", sign=1)
def test_a_number_of_five_digits_is_known_in_every_word_that_holds_it(number: int, vr: str, sign: int) -> None:
    """Of either sign."""
    words = words_of(vr, frozenset({f"00{number}"}))
    try:
        word = struct.pack(f"<{LETTERS[vr]}", sign * number)
    except (struct.error, OverflowError):
        return
    assert word in words
    assert [*unpacked(vr, word)] == [pytest.approx(sign * number)]


@given(number=st.integers(1_000_000, 10**9), places=st.integers(1, 6), vr=st.sampled_from(["FD", "FL"]))
def test_a_long_number_is_known_as_a_fraction(number: int, places: int, vr: str) -> None:
    """With the point before any of its digits."""
    assert struct.pack(f"<{LETTERS[vr]}", number / 10**places) in words_of(vr, frozenset({str(number)}))


def test_a_short_number_is_known_in_no_word() -> None:
    """Four digits, six with a point, and what is no number occur by chance or not at all."""
    for vr in LETTERS:
        assert not words_of(vr, frozenset({"9999", "00009999", "abcde", "9" * 41}))
    assert struct.pack("<d", 99999.9) not in words_of("FD", frozenset({"999999"}))
    assert words_of("UV", frozenset({"9" * 19})) == {struct.pack("<Q", int("9" * 19))}
    assert [*unpacked("OB", b"1234")] == []


def test_what_no_device_measures_is_beyond() -> None:
    """From the largest on, to the smallest, of either sign; nought is a measure; an attribute may be unbounded."""
    terms = value_terms().numbers
    for number, expected in (
        (0, False), (terms.beyond, True), (-terms.beyond, True), (terms.beyond - 1, False), (1 - terms.beyond, False),
        (terms.nothing, True), (-terms.nothing, True), (terms.nothing * 2, False), (float("nan"), True),
        (float("inf"), True),
    ):  # fmt: skip
        assert is_beyond(rule(), [1, number]) is expected, number
    assert not is_beyond(rule(keyword=min(terms.unbounded)), [terms.beyond])
    assert not is_beyond(rule(), [])


@given(vr=st.sampled_from(["US", "FD", "AT", "OW"]), values=st.integers(0, 6), more=st.integers(0, 3))
def test_a_value_has_whole_words_and_as_many_as_its_attribute(vr: str, values: int, more: int) -> None:
    """A tag is two words; tables of other words have no bound."""
    size = {"US": 2, "FD": 8, "AT": 4, "OW": 2}[vr]
    raw = bytes(values * size + more)
    is_whole = len(raw) % {"US": 2, "FD": 8, "AT": 2, "OW": 2}[vr] == 0
    for multiplicity, most in (("1", 1), ("3", 3), ("2-4", 4), ("1-n", None), ("2-2n", None)):
        is_few = most is None or vr == "OW" or len(raw) <= most * size
        assert is_of_length(rule(multiplicity), vr, raw) is (is_whole and is_few)


def test_multiplicity_is_as_the_standard_writes_it() -> None:
    """Of the rule, else of the Standard's own dictionary; of what it lacks nothing is known."""
    bounds = {"1": (1, 1), "3": (3, 3), "1-n": (1, None), "2-2n": (2, None), "1-8": (1, 8)}
    assert {text: multiplicity_of(rule(text)) for text in bounds} == bounds
    assert multiplicity_of(rule("", tag=0x00200032)) == (3, 3)  # ImagePositionPatient
    assert multiplicity_of(rule("", tag=0x00091001)) == (1, None)


@pytest.mark.parametrize(
    ("vr", "raw", "multiplicity", "expected"),
    [
        ("DS", b"1,5", "1", b"1.5"),
        ("DS", b"1,500", "1", b""),  # a thousand and a half, or one and a half
        ("DS", b"0,500", "1", b"0.500"),
        ("DS", b"1,5\\2\\3", "2", b"1.5\\2"),
        ("DS", b"1\\x\\3", "3", b""),  # a place without one of its numbers is none
        ("DS", b"1\\\\3", "3", b"1\\\\3"),
        ("DS", b"1\\2\\x", "2-n", b"1\\2"),
        ("IS", b"2.5", "1", b"2"),
        ("IS", b"3.5", "1", b"4"),
        ("IS", b"2147483647.0", "1", b"2147483647"),
        ("IS", b"2147483648.0", "1", b""),
        ("IS", b"-2147483648.0", "1", b""),
        ("TM", b"x", "1", b""),
        ("CS", b"chest", "1", b"CHEST"),
        ("CS", b"c-spine", "1", b""),
    ],
)
def test_a_value_is_mended_where_it_is_plain_what_was_meant(
    vr: str, raw: bytes, multiplicity: str, expected: bytes
) -> None:
    """Else nothing of it is left."""
    assert mended(rule(multiplicity), vr, raw) == expected


def test_a_body_part_with_other_signs_is_the_standards_term() -> None:
    """Of that attribute alone, and of a term that there is."""
    part = rule(keyword="BodyPartExamined", tag=0x00180015)
    assert mended(part, "CS", b"C-Spine") == b"CSPINE"
    assert mended(part, "CS", b"Oak-Rd") == b""


def test_a_value_of_unknown_kind_must_have_the_form_that_we_give_it() -> None:
    """Each value of it, of the length that its representation allows."""
    assert is_standard("DA", b"20200101\\\\20200102 ")
    assert not is_standard("DA", b"20200101\\2020")
    assert is_standard("SH", b"x" * 16)
    assert not is_standard("SH", b"x" * 17)
