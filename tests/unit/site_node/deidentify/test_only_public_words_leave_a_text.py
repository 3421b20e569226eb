"""The rule on texts: a word leaves only if it is public, a number only as a measure or in a named form."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.protocol.loader import load_profile
from site_node.deidentify.identifiers import IdentifyingValue, find_identifiers
from site_node.deidentify.text import TextRule

WORDS = load_profile().vocabulary
VALUES = {0x00100010: b"Kowalczyk^Berenika", 0x00081070: b"Hart^Low", 0x00080080: b"Silverbrook Tracker Chest"}
BIRTH = IdentifyingValue(0x00100030, (), b"19610514")
NAMED = find_identifiers(
    [*(IdentifyingValue(tag, ("iso8859",), raw) for tag, raw in VALUES.items()), BIRTH], ["MRN4473921", "60", "1024"]
)
RULE = TextRule(WORDS, NAMED)
ORDINARY = ["CT", "Thorax", "CHEST", "PA", "LAT", "B60f", "5.0", "5 mm", "100kV", "30%", "routine", "contrast", "T1"]
letters = st.text(st.characters(codec="utf-8", categories=["L"]), min_size=2, max_size=12)


@pytest.mark.parametrize(
    "text",
    [
        "DR CHEST", "MR Thorax", "MS CT Thorax", "CT THORAX 5.0 B60f", "CHEST PA/LAT", "5/5mm", "30% 100kV",
        "Thorax^Routine (Adult)", "CT Chest w/o contrast", "C/A/P w/ 5.0 mm", "chestabdpel", "ChestAbd", "B30f 3",
        "Lung 1.25 mm", "AXIAL 5x5mm", "T1W TSE", "Schädel nativ", "VA48A_SP4", "T1Pre", "CHEST 2V", "Lung 3.000",
        "LOW DOSE", "60 kV B60f", "1024 ms",
    ],
)  # fmt: skip
def test_what_is_public_stays_as_it_is(text: str) -> None:
    """Titles that are modalities, measures, kernels, glued words, and short identifiers within technical tokens."""
    assert RULE.remains(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Dr. Quentin Hathersage CT", "CT"),
        ("CT born Aug 1954 y1954", "CT"),
        ("XR 092Y F92 92 Jahre aged 92", "XR"),
        ("CT age 92", "CT age"),
        ("CT B.K. KOWALCZ KOWALCYK", "CT"),
        ("CT L. Peverell", "CT"),
        ("CT (501) 555-0199 THORAX", "CT THORAX"),
        ("CHESTDOE", ""),
        ("ChestDoe", ""),
        ("DoeChest", ""),
        ("Peverell-Thorax", "Thorax"),
        ("Thorax-Peverell", "Thorax"),
        ("Peverell-5mm", "5mm"),
        ("CHEST Doe-Smith (PA)", "CHEST (PA)"),
        ("1.3.6.77", ""),
        ("CT 10.12.14.16", "CT"),
        ("CT 05-Mar-2019", "CT"),
        ("CT set 3", "CT"),
        ("CT 17 XI 2021", "CT"),
        ("CT 14.5", "CT"),
        ("CT 4473 921", "CT"),
        ("MRN 1024", ""),
        ("ID 102 CHEST", "ID CHEST"),
        ("CT \u0664\u0664\u0667\u0663", "CT"),
        ("CT 4473921 mm", "CT mm"),
        ("CT TRACKER THORAX", "CT THORAX"),
        ("CT\0\0Anna", "CT"),
    ],
)
def test_all_else_is_dropped_and_the_rest_stays_in_order(text: str, left: str) -> None:
    """Names, initials, titles before them, dates, ages over 89, telephone numbers, addresses, identifiers."""
    assert RULE.remains(text) == left


def test_a_word_that_somebody_bears_stays_only_if_it_is_known_everywhere() -> None:
    """A place's word goes where few collections have it; CHEST and LOW tell nothing of a person or place."""
    assert (RULE.remains("Tracker"), RULE.remains("CHEST LOW")) == ("", "CHEST LOW")
    assert TextRule(WORDS, find_identifiers([], [])).remains("Tracker") == "Tracker"


def test_a_surname_that_is_hardly_public_stays_in_codes_only() -> None:
    """`hart` and `kopf` are words of imaging and names: a coded attribute may hold them."""
    rule = TextRule(WORDS, find_identifiers([], []))
    assert [rule.remains(word) for word in ("hart", "kopf")] == ["", ""]
    assert [rule.code(word) for word in ("HART", "KOPF")] == ["HART", "KOPF"]


def test_an_accepted_word_leaves() -> None:
    """The site's own list adds to the public one."""
    assert TextRule(WORDS, NAMED, frozenset({"galligas"})).remains("Galligas Lung") == "Galligas Lung"
    assert RULE.remains("Galligas Lung") == "Lung"


@given(st.lists(st.sampled_from(ORDINARY), max_size=4), letters, st.lists(st.sampled_from(ORDINARY), max_size=4))
def test_a_planted_word_never_leaves_and_costs_no_other_word(before: list[str], word: str, after: list[str]) -> None:
    """Any letters that are not in the lists go, however they are cased; the words beside them stay."""
    left = RULE.remains(" ".join([*before, word, *after]))
    if not RULE.remains(word):
        assert word not in left.split()
    assert [part for part in left.split() if part.isalpha() and part != word] == [
        part for part in " ".join([*before, *after]).split() if part.isalpha()
    ]


@given(st.integers(1000, 10**12), st.sampled_from(["", "-", ".", "/", " ", ":", "_"]), st.data())
def test_a_planted_number_never_leaves(number: int, sign: str, data: st.DataObject) -> None:
    """Four digits or more go, and so they do when signs part them, but for a decimal of the forms that the rule has."""
    digits = str(number)
    cuts = data.draw(st.integers(1, 3))
    text = sign.join(digits[at : at + cuts] for at in range(0, len(digits), cuts))
    is_decimal = WORDS.rules.decimal.fullmatch(text) is not None
    assert RULE.remains(f"CT {text} Thorax") == (f"CT {text} Thorax" if is_decimal else "CT Thorax")


@given(st.lists(st.sampled_from(sorted(WORDS.glued)), min_size=2, max_size=3), st.sampled_from([str, str.upper]))
def test_words_that_are_written_as_one_stay(parts: list[str], style: Callable[[str], str]) -> None:
    """Two or three of those that stand so in titles; a part that no list names costs the whole."""
    rule = TextRule(WORDS, find_identifiers([], []))
    assert rule.remains(style("".join(parts))) == style("".join(parts))
    assert rule.remains("".join(map(str.title, parts))) == "".join(map(str.title, parts))
    assert rule.remains(style("".join([*parts, "zqx"]))) == rule.remains("".join(map(str.title, [*parts, "zqx"]))) == ""


@given(st.text(max_size=80))
def test_what_is_left_is_left_again(text: str) -> None:
    """The rule on what it left changes nothing: nothing new forms where something was cut out."""
    left = RULE.remains(text)
    assert RULE.remains(left) == left


@given(st.lists(st.sampled_from([*ORDINARY, "Kowalczyk", "1961", "14.5.61"]), max_size=20), st.integers(2, 64))
def test_a_value_is_no_longer_than_its_representation_allows(parts: list[str], longest: int) -> None:
    """What is too long is cut at a token, and what is left of it may leave."""
    left = RULE.remains(" ".join(parts), longest=longest)
    assert len(left) <= longest
    assert RULE.remains(left) == left


@given(st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ_ 0123456789"), min_size=1, max_size=16))
def test_a_code_stays_whole_or_goes(value: str) -> None:
    """Nothing is cut out of a coded value."""
    assert RULE.code(value) in {value, ""}


@pytest.mark.parametrize("length", range(4, 10))
def test_a_name_that_is_cut_short_is_a_name(length: int) -> None:
    """From four letters on, even where the site lets that word pass."""
    word = "Kowalczyk"[:length]
    rule = TextRule(WORDS, NAMED, frozenset({word.casefold()}))
    assert rule.remains(f"Thorax {word}") == "Thorax"
    assert not rule.used - {word.casefold()}


@pytest.mark.parametrize(
    "held", ["4473921", "MRN4473921", "Kowalczyk", "Berenika", "Silverbrook", "19610514", "14051961"]
)
@pytest.mark.parametrize("around", ["{}", "SN{}X", "sn-{}", "{} 7", "x{}"])
def test_what_a_device_is_called_holds_no_name_or_number(held: str, around: str) -> None:
    """Alone or within other letters, however it is cased; another number of a device stays as it is."""
    for text in (held, held.upper(), held.lower()):
        assert RULE.declared(around.format(text)) == ""
    assert RULE.declared(around.format("88120047")) == around.format("88120047")


def test_a_word_with_digits_is_no_name() -> None:
    """A kernel that stands in a place's name is a kernel all the same."""
    rule = TextRule(WORDS, find_identifiers([IdentifyingValue(0x00080080, ("iso8859",), b"Silverbrook B60f")], []))
    assert rule.declared("Revolution B60f") == "Revolution B60f"
    assert rule.declared("Silverbrook B60f") == ""


@pytest.mark.parametrize("sign", "\x1b\x07\u2028\u00a7\u200f")
def test_a_code_or_device_has_no_sign_that_no_text_has(sign: str) -> None:
    """Such a sign may be read as anything."""
    assert RULE.code(f"CHEST{sign}PA") == ""
    assert sign not in RULE.remains(f"CHEST{sign}PA")
