"""The first look lets a text pass whose words, numbers and signs the lists name, and finds any other."""

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.ids import SiteId
from shared.protocol.loader import load_profile, profile_names
from shared.protocol.words import unmarked
from site_node.validate.characters import charset_of
from site_node.validate.conformance import check_part, make_rules
from site_node.validate.elements import Document, Element
from site_node.validate.words import TextLook
from tests.factories.validated import runs_of

PROFILE = load_profile()
RULES = make_rules(PROFILE, SiteId("123456"))
LISTS = PROFILE.vocabulary
NUMBERS = LISTS.rules.numbers
LOOK = TextLook(LISTS)
EMPTY = Document(b"", (), "", True, (), None, False, ())
STYLES = st.sampled_from([str, str.upper, str.title])
SPECIAL = (
    NUMBERS.months | NUMBERS.ages | NUMBERS.units | NUMBERS.markers
)  # beside a number these make something else of it
PLAIN = sorted(word for word in LISTS.in_text - SPECIAL if len(word) > 1 and word.upper().casefold() == word)
GLUED = sorted(LISTS.glued)
DEVICES = sorted(LISTS.devices)
UNITS = sorted(NUMBERS.units - NUMBERS.ages)

words = st.builds(lambda word, style: style(word), st.sampled_from(PLAIN), STYLES)
glued = st.lists(st.sampled_from(GLUED), min_size=2, max_size=3).map("".join)
cased = st.lists(st.sampled_from(GLUED), min_size=2, max_size=3).map(lambda parts: "".join(map(str.title, parts)))
letters = st.sampled_from(sorted(LISTS.rules.letters.single - NUMBERS.ages - NUMBERS.units))
integers = st.integers(0, 999).map(str)
decimals = st.one_of(
    st.decimals(0, 999, places=1, allow_nan=False).map(str), st.sampled_from(["1.25", "0.625", "2.00", "3.75"])
)
amounts = st.one_of(st.integers(0, 9999).map(str), st.decimals(0, 9999, places=3, allow_nan=False).map(str))
measures = st.builds(
    lambda first, joint, second, gap, unit: f"{first}{joint}{second if joint else ''}{gap}{unit}",
    amounts,
    st.sampled_from(["", "/", "x", "-", "*", "_", " x "]),
    amounts,
    st.sampled_from(["", " "]),
    st.sampled_from(UNITS),
).filter(lambda measure: not re.search(r"[/x*_-] ?[0-9.]+ [^\W\d]$", measure))  # `12/05 L` may be a day and a side
forms = st.sampled_from(["B60f", "FC13", "Br40", "T1", "H31s", "3D", "AIDR3D", "C7", "t2star", "L5"])
numbered = st.builds(
    lambda word, number: f"{word}{number}", st.sampled_from(sorted(LISTS.glued - SPECIAL)), st.integers(0, 99)
)
together = st.builds(
    lambda word, other, first: f"{word}{other}" if first else f"{other}{word}",
    st.sampled_from(GLUED), st.sampled_from(["T1", "2", "5mm", "B60f", "30"]), st.booleans(),
)  # fmt: skip
tokens = st.one_of(words, glued, cased, letters, forms, numbered, together)
apart = st.sampled_from([" ", "_", "-", " / ", ", ", " (", ") ", "^", "+", ": "])


@st.composite
def public_texts(draw: st.DrawFn) -> list[str]:
    """Tokens and signs in turn; between two numbers stands a word."""
    parts = [draw(words)]
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.one_of(integers, decimals, measures, st.none()))
        if number is not None:
            parts += [" ", number]
        parts += [draw(apart) if number is None else " ", draw(words), draw(apart), draw(tokens), " ", draw(words)]
    return parts


@given(public_texts())
def test_a_text_of_public_tokens_passes(parts: list[str]) -> None:
    """Words as written, without marks or glued, numbers in a named form, technical names, with signs between."""
    assert LOOK.code_of("".join(parts), "LO") == ""


@given(public_texts(), st.data())
def test_a_word_outside_the_lists_is_found(parts: list[str], data: st.DataObject) -> None:
    """Whatever word of any script is planted anywhere as a token of its own."""
    alphabet = st.characters(categories=["Lu", "Ll", "Lo"])
    word = data.draw(st.one_of(st.text(alphabet, min_size=2, max_size=9), st.sampled_from(sorted(LISTS.surnames))))
    assume(all(letter.isalpha() for letter in unicodedata.normalize("NFC", word)))
    assume(not LOOK.is_public(unicodedata.normalize("NFC", word), in_code=False))
    assume(not all(LOOK.is_public(part, in_code=False) for part in re.findall("[A-Z]?[^A-Z]+|[A-Z]+(?![a-z])", word)))
    assume(unmarked(word) not in NUMBERS.units and word.casefold() not in NUMBERS.units)
    place = data.draw(st.integers(0, len(parts)))
    assert LOOK.code_of(" ".join(["".join(parts[:place]), word, "".join(parts[place:])]), "LO")


dates = st.dates().flatmap(
    lambda day: st.sampled_from(
        [f"{day:%d.%m.%Y}", f"{day:%Y-%m-%d}", f"{day:%m/%d/%y}", f"{day:%d %m %y}", f"{day:%d_%m}", f"{day:%Y%m%d}",
         f"{day.day} Mar {day:%y}", f"{day:%H:%M}"]
    )
)  # fmt: skip
phones = st.from_regex(
    r"[2-9][0-9]{2}[ ./-][0-9]{3}[ ./-][0-9]{4}|[0-9]{3} [0-9]{4}|\+[0-9]{2} [0-9]{2,3} [0-9]{2}", fullmatch=True
)
ages = st.builds(
    lambda age, style: style.format(age),
    st.integers(90, 115),
    st.sampled_from(
        ["{}Y", "F{}", "{} yo", "aged {}", "{} F", "{}F", "0{}Y", "age: {}", "{} ans", "age{}", "{} m", "M {} s"]
    ),
)
mixed = st.from_regex(r"[A-Z]{2,5}[0-9]{3,7}|[0-9]{3,6}[g-z]{3}|[A-Z][0-9]{4,7}", fullmatch=True).filter(
    lambda token: not LISTS.rules.form.fullmatch(token.casefold())
)
scripts = st.text(st.characters(categories=["Nd"], exclude_characters="0123456789"), min_size=1, max_size=3)
marked = st.builds(lambda word, number: f"{word}: {number}", st.sampled_from(sorted(NUMBERS.markers)), integers)
long_numbers = st.integers(1000, 10**12).map(str)


def test_no_measure_is_an_age() -> None:
    """So that one passes whatever its number is: the words of ages are units in no edition."""
    for name in profile_names():
        numbers = load_profile(name).vocabulary.rules.numbers
        assert not numbers.units & numbers.ages


@given(public_texts(), st.one_of(dates, phones, ages, mixed, scripts, marked, long_numbers), st.booleans())
def test_a_number_that_is_no_measure_is_found(parts: list[str], number: str, first: bool) -> None:
    """Dates, telephone numbers, ages over 89, identifiers and digits of other scripts, first or last in a text."""
    text = f"{number} chest {''.join(parts)}" if first else f"{''.join(parts)} {number}"
    assert LOOK.code_of(text, "LO")


@given(st.characters(categories=["S", "P", "Cc", "Cf", "Z"], exclude_characters="\\ \0_" + LISTS.rules.letters.signs))
def test_another_sign_is_found(sign: str) -> None:
    assume(unicodedata.is_normalized("NFC", sign))
    assert LOOK.code_of(f"CT {sign} chest", "LO")


ENCODINGS = ["utf-8", "latin-1", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "euc_jp", "euc_kr", "gb18030"]
DECLARED = ["", "ISO_IR 100", "ISO_IR 101", "ISO_IR 144", "ISO_IR 126", "ISO_IR 13", "ISO_IR 192", "GB18030"]
NAMES = ["Иванченко", "Παπαδόπουλος", "山田太郎", "김희중", "Wójcik", "Þórsson", "Şahin", "ﾔﾏﾀﾞ", "陈小明", "Žižka"]


@pytest.mark.parametrize("declared", DECLARED)
@given(st.sampled_from(NAMES), st.sampled_from(ENCODINGS))
def test_a_name_in_any_encoding_is_found(declared: str, name: str, written: str) -> None:
    """Whatever character set the file declares, the bytes of a name in another one are no public words."""
    try:
        raw = f"CHEST {name}".encode(written)
    except UnicodeEncodeError:
        return
    assert _codes(Element((), 0x0008103E, "LO", raw), charset=declared) & {"word-not-public", "number-in-text"}


def test_a_public_word_with_marks_passes_in_the_declared_encoding() -> None:
    assert not _codes(Element((), 0x0008103E, "LO", "SCHÄDEL ".encode("latin-1")), charset="ISO_IR 100")
    assert _codes(Element((), 0x0008103E, "LO", "SCHÄDEL".encode()), charset="ISO_IR 100")


def test_a_device_is_named_whole_or_by_words() -> None:
    """Makers and models are a list of their own, for the attributes that name them."""
    device = next(device for device in DEVICES if LOOK.code_of(device, "LO"))
    assert LOOK.code_of(device, "LO", of_device=True) == ""
    assert LOOK.code_of(f"{device} Kelstrupova", "LO", of_device=True)


def test_defined_terms_pass_in_codes_only() -> None:
    for term in ("ISO_10918_1", "MONOCHROME2", "ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI", "F", "KOPF"):
        assert LOOK.code_of(term, "CS") == ""
    assert LOOK.code_of("HFS\\KELSTRUPOVA", "CS")
    assert LOOK.code_of("KOPF", "LO")


@pytest.mark.parametrize("term", ["CW", "DFOV"])
def test_a_term_between_two_numbers_keeps_them_apart(term: str) -> None:
    """Two numbers side by side may be a telephone number; a defined term of a code is a word like any other."""
    assert LOOK.code_of(f"12 {term} 345", "CS") == ""
    assert LOOK.code_of(f"{term} 12 345", "CS")


def test_lines_are_of_long_texts_only() -> None:
    assert LOOK.code_of("CT chest\r\nlung", "LT") == ""
    assert LOOK.code_of("CT chest\r\nlung", "LO")
    assert LOOK.code_of("CT\\chest", "ST")


REGION = 0x00082218


def _code(scheme: str, value: str, meaning: str) -> set[str]:
    item = {0x00080100: ("SH", value), 0x00080102: ("SH", scheme), 0x00080104: ("LO", meaning)}
    elements = [Element((REGION, 0), tag, vr, text.encode()) for tag, (vr, text) in item.items()]
    return _codes(Element((), REGION, "SQ", b"", 1), *elements)


def test_a_code_is_of_a_public_scheme_and_form() -> None:
    """The meaning is the Standard's for this code, or of public words."""
    assert not _code("SCT", "51185008", "Chest ")
    assert not _code("DCM", "121320", "Uncompressed predecessor")
    assert not _code("SRT", "T-D3000 ", "Chest ")
    assert _code("99SILVERBROOK", "1 ", "Chest ") == {"code-not-public"}
    assert _code("SCT", "4473921A", "Chest ") == {"code-not-public"}
    assert _code("SCT", "51185008", "Kelstrupova ") == {"word-not-public"}
    assert _code("", "51185008", "Chest ") == {"code-not-public"}


def _codes(*part: Element, charset: str = "") -> set[str]:
    """Codes of what is found in a part by itself, but for its form."""
    declared = replace(EMPTY, runs=runs_of(Element((), 0x00080005, "CS", charset.encode())))
    return {finding.code for finding in check_part(part, RULES, {}, charset_of(declared))} - {"value-form"}
