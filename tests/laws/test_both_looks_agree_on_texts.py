"""Laws of the two looks at a text: what the first one leaves the second one passes; what is joined passes neither."""

from time import process_time

import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from shared.protocol.loader import load_profile
from site_node.deidentify.identifiers import IdentifyingValue, find_identifiers
from site_node.deidentify.study import deidentify
from site_node.deidentify.text import TextRule
from site_node.study import Deidentified, Validated
from site_node.validate.validation import validate
from site_node.validate.words import TextLook
from tests.factories.deidentified import PROFILE, PSEUDONYMS
from tests.factories.dicom import make_dx
from tests.factories.studies import make_included, make_received

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is written on purpose
LISTS = [load_profile(name).vocabulary for name in ("ricord", "tcia")]
LOOKS = [(TextRule(words, find_identifiers([], [])), TextLook(words)) for words in LISTS]
WORDS, NUMBERS = LISTS[0], LISTS[0].rules.numbers
SIGNS = [" "] * 8 + ["", "_", "-", "/", ".", ", ", " (", ") ", "^", ": ", "..", " / ", " x "]
FORMS = ["B60f", "T1", "H31s", "3D", "AIDR3D", "fl3d", "b1000", "2nd", "5x5", "2V", "SP4", "s2", "C7", "1H"]
STYLES = st.sampled_from([str, str.upper, str.title])

signs = st.sampled_from(SIGNS)
listed = st.sampled_from(sorted(WORDS.in_text))
glued = st.lists(st.sampled_from(sorted(WORDS.glued)), min_size=2, max_size=5)
special = st.sampled_from(sorted(NUMBERS.ages | NUMBERS.months | NUMBERS.markers | WORDS.rules.letters.titles))
amounts = st.one_of(
    st.integers(0, 9999).map(str),
    st.decimals(0, 9999, places=1).map(str),
    st.decimals(0, 99, places=3).map(lambda number: str(number).replace(".", ",")),
    st.sampled_from(["0.625", "1.25", ".5", "007", "92"]),
)
units = st.sampled_from(sorted(NUMBERS.units))
measures = st.tuples(
    amounts, st.sampled_from(["", "/", "x", "-", " x "]), amounts, st.sampled_from(["", " "]), units,
    st.sampled_from(["", "/"]), units,
).map(lambda parts: "".join(parts[:5]) + (f"/{parts[6]}" if parts[5] else ""))  # fmt: skip
styled = st.builds(lambda word, style: style(word), st.one_of(listed, special, glued.map("".join)), STYLES)
cased = glued.map(lambda parts: "".join(map(str.title, parts)))
joined = st.builds(
    lambda word, other, first: word + other if first else other + word,
    st.one_of(styled, cased), st.one_of(amounts, st.sampled_from(FORMS), measures), st.booleans(),
)  # fmt: skip
marked = st.builds(lambda word: f"{word}\u0301", st.one_of(listed, st.sampled_from("lraKx")))
letters = st.text("lrapwcxsotzbdfghLRTSG0123456789é①", min_size=1, max_size=4)
tokens = st.one_of(styled, cased, amounts, measures, joined, marked, letters, st.sampled_from(FORMS))
texts = st.lists(st.tuples(tokens, signs), min_size=1, max_size=6).map(
    lambda parts: "".join(token + sign for token, sign in parts)
)


@given(texts)
@example("446 mgi/kg 1024,5 ms")
@example("447 3921 ms 742 l, PATIENT 5 s May 7/8x33kev")
@example("ChestAbdPelvisRoutine2 latTE\u0328TNICZA n\u0301")
@settings(max_examples=1500, deadline=None)
def test_what_is_left_of_a_text_passes_the_second_look(text: str) -> None:
    """Words, glued and marked ones, numbers, measures of one unit and two, months and ages, with any sign between."""
    for rule, look in LOOKS:
        left = rule.remains(text)
        assert look.code_of(left, "LO") == ""
        code = rule.code(text.upper())
        assert look.code_of(code, "CS") == ""


MONTHS = st.sampled_from(["jan", "Mar", "MAY", "mai", "juni", "Aug", "août", "oct", "out", "november", "dez"])


@given(
    st.one_of(
        st.builds(lambda day, month, first: f"{day}{month}" if first else f"{month}{day}",
                  st.integers(4, 31), MONTHS, st.booleans()).filter(lambda text: not WORDS.rules.form.fullmatch(text)),
        st.builds("{}{}".format, st.sampled_from(["patient", "case", "age9", "years9"]), st.integers(0, 9)),
        st.builds("{}th {}".format, st.integers(4, 9), MONTHS),
        st.builds("{}-{} {}".format, st.integers(1, 12), st.integers(1, 31), st.sampled_from("lstLST")),
        st.builds("{} {} ms".format, st.integers(1, 999), st.integers(1000, 9999)),
        st.builds("b{}".format, st.integers(1901, 1999)),
        st.builds("{}{}".format, st.sampled_from(["SE", "IR", "GR"]), st.integers(1000, 10**6)),
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_no_look_passes_a_day_an_age_or_a_long_number_that_is_joined_to_a_word(text: str) -> None:
    """A day and its month written as one, an age over 89, a day and month before a side, a number cut by its unit."""
    for rule, look in LOOKS:
        left = rule.remains(text)
        assert not {*filter(str.isdigit, left)}, left
        assert look.code_of(text, "LO")


def _checked(factory: pytest.TempPathFactory, dataset: Dataset) -> Dataset:
    """The new file of a data set, after validation found nothing."""
    folder = factory.mktemp("looks")
    study = make_included(make_received(folder / "in", [dataset]))
    done = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(done, Deidentified), done.reasons
    checked = validate(study, done, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    assert isinstance(checked, Validated), checked.reasons
    return pydicom.dcmread(done.instances[0].path)


def _coded(scheme: str, value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator, item.CodeValue, item.CodeMeaning = scheme, value, meaning
    return make_dx(AnatomicRegionSequence=[item])


NAMED = st.text("abcdeghijklmnoprstuvy", min_size=3, max_size=8).map(str.title)


@given(st.sampled_from(sorted(set(WORDS.rules.schemes))), st.one_of(NAMED, NAMED.map(str.upper)))
def test_no_form_of_codes_has_room_for_a_name(scheme: str, name: str) -> None:
    """A word in place of a code is none, but where the Standard's table of the scheme has it."""
    assert WORDS.rules.scheme_forms[scheme].fullmatch(name) is None


@pytest.mark.parametrize(
    ("scheme", "value", "meaning", "left"),
    [
        ("UCUM", "[hnsf'U]", "Hounsfield unit", "Hounsfield unit"),
        ("UCUM", "g/ml{SUVbw}", "Standardized Uptake Value body weight", "Standardized Uptake Value body weight"),
        ("DCM", "CT", "Computed Tomography", "Computed Tomography"),
        ("SCT", "39607008", "Lung Kelstrupova", None),
    ],
)
def test_a_code_of_the_standards_tables_stays(
    tmp_path_factory: pytest.TempPathFactory, scheme: str, value: str, meaning: str, left: str | None
) -> None:
    """Whatever letters it has; a meaning with a name in it gives way to one of those that the Standard has."""
    item = _checked(tmp_path_factory, _coded(scheme, value, meaning)).AnatomicRegionSequence[0]
    assert item.CodeValue == value
    assert item.CodeMeaning == (left or item.CodeMeaning)
    assert "Kelstrup" not in item.CodeMeaning


def test_many_items_are_numbered_in_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of 10,000 codes every second is of an unknown scheme; each of the others has a meaning that is replaced."""
    dataset = _coded("SCT", "51185008", "Kelstrupova")
    (known,), (unknown,) = dataset.AnatomicRegionSequence, _coded("99HERE", "1", "Chest").AnatomicRegionSequence
    dataset.AnatomicRegionSequence = [unknown, known] * 5_000
    start = process_time()
    assert len(_checked(tmp_path_factory, dataset).AnatomicRegionSequence) == 5_000
    assert process_time() - start < 8  # seconds; it took minutes where every item was counted anew


def test_a_name_in_place_of_a_code_loses_its_item(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`Kelstrup` is no unit and no code of the Standard."""
    for scheme in ("UCUM", "DCM", "BI", "MDC"):
        assert not _checked(tmp_path_factory, _coded(scheme, "KELSTRUP", "Chest")).AnatomicRegionSequence


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("UTF-8", "Schädel Quillfeather 胸部".encode()),
        ("\\ISO 2022 IR 87", b"\x1b$B6;It\x1b(B " * 8 + b"Quillfeather"),
        ("\\ISO 2022 IR 87", b"Chest  Quillfeather \x1b$B6;It"),
    ],
)  # fmt: skip
def test_texts_of_other_scripts_pass(tmp_path_factory: pytest.TempPathFactory, charset: str, raw: bytes) -> None:
    """In a character set that is misspelled, in more bytes than letters, with an escape sequence left open."""
    dataset = make_dx(SpecificCharacterSet=None)
    for tag, vr, value in ((0x00080005, "CS", charset.encode()), (0x0008103E, "LO", raw)):
        place, padded = pydicom.tag.Tag(tag), value + b" " * (len(value) % 2)
        element = pydicom.dataelem.RawDataElement(place, vr, len(padded), padded, 0, False, True)
        dataset._dict[place] = element
    assert "胸部" in _checked(tmp_path_factory, dataset).SeriesDescription


def test_terms_of_the_standard_outside_codes_pass(tmp_path_factory: pytest.TempPathFactory) -> None:
    """FilterType is a short string with defined terms; LossyImageCompressionMethod names standards by their numbers."""
    dataset = make_dx(
        FilterType="KOPF", LossyImageCompressionMethod="ISO_10918_1", DetectorManufacturerName="chest " * 30
    )
    new = _checked(tmp_path_factory, dataset)
    assert (new.FilterType, new.LossyImageCompressionMethod) == ("KOPF", "ISO_10918_1")


def test_two_names_written_together_go() -> None:
    """Of `Co^R` the word `cor` tells; one public everywhere tells nothing."""
    named = find_identifiers([IdentifyingValue(0x00100010, (), b"Trac^Ker")], [])
    assert TextRule(WORDS, named).remains("Tracker CT") == "CT"


def test_a_long_number_of_another_spelling_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Too many digits are a form error of the source, with a decimal comma too; midnight at its end is no time."""
    dataset = make_dx()
    for tag, vr, raw in ((0x00181114, "DS", b"0,123456789012345678"), (0x0008002A, "DT", b"20200101240000")):
        place = pydicom.tag.Tag(tag)
        dataset._dict[place] = pydicom.dataelem.RawDataElement(place, vr, len(raw), raw, 0, False, True)
    new = _checked(tmp_path_factory, dataset)
    assert new.get_item(0x00181114).value == b"0.123456789012345678"
    assert not new.AcquisitionDateTime
