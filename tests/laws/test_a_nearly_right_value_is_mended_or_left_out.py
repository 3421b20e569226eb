"""Laws of nearly right values: what is meant is written, an odd value costs itself, a person decides on ages."""

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from shared.protocol.loader import load_criteria
from shared.protocol.value_terms import value_terms
from site_node.deidentify.study import deidentify, foresee
from site_node.screen.decide import screen
from site_node.study import Deidentified, Ending, Excluded, Refused, Validated
from site_node.validate.validation import validate
from tests.factories.deidentified import PROFILE, PSEUDONYMS
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_included, make_received

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is written on purpose
Factory = pytest.TempPathFactory
several = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Notes = set[tuple[str, str | None]]
TERMS = sorted(value_terms().character_sets.terms)
ODD = st.sampled_from("-+/.&(") | st.sampled_from("éµß")


def put(dataset: Dataset, tag: int, vr: str, raw: bytes) -> Dataset:
    """The data set with an element whose bytes nobody checked."""
    raw += b" " * (len(raw) % 2)
    dataset._dict[Tag(tag)] = pydicom.dataelem.RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)
    return dataset


def made(factory: Factory, dataset: Dataset) -> tuple[Dataset, Notes]:
    """The new file of a data set and what is noted of it, after validation found nothing."""
    folder = factory.mktemp("value")
    study = make_included(make_received(folder / "in", [dataset]))
    done = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(done, Deidentified), done.reasons
    checked = validate(study, done, profile=PROFILE, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    assert isinstance(checked, Validated), checked.reasons
    notes = {(note.code, note.attribute) for note in done.instances[0].notes}
    return pydicom.dcmread(done.instances[0].path), notes


def stopped(factory: Factory, dataset: Dataset) -> tuple[str, Ending]:
    """Why a data set goes no further, and how it ends."""
    folder = factory.mktemp("value")
    study = make_included(make_received(folder / "in", [dataset]))
    done = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out")
    assert isinstance(done, Refused)
    return done.reasons[0].code, done.ending


@given(
    term=st.sampled_from(TERMS), signs=st.lists(st.sampled_from(["", " ", "_", "-"]), min_size=3), small=st.booleans()
)
@several
def test_any_spelling_of_a_character_set_is_the_standards(
    tmp_path_factory: Factory, term: str, signs: list[str], small: bool
) -> None:
    """`ISO-IR 100`, `ISO_2022_IR_6`, `iso ir192`: the term stays and its spelling is the Standard's."""
    words = term.replace("_", " ").split()
    spelled = "".join(word + sign for word, sign in zip(words, [*signs[: len(words) - 1], "", ""], strict=False))
    raw = (spelled.lower() if small else spelled).encode()
    new, notes = made(tmp_path_factory, put(make_dx(), 0x00080005, "CS", raw))
    assert new.SpecificCharacterSet == term
    assert (("value-mended", "SpecificCharacterSet") in notes) == (raw.decode() != term)


@pytest.mark.parametrize(("spelling", "term"), sorted(value_terms().character_sets.spellings.items()))
def test_other_names_of_a_character_set(tmp_path_factory: Factory, spelling: str, term: str) -> None:
    """`UTF-8`, `ISO-8859-1` and `US-ASCII` are what systems write."""
    new, _ = made(tmp_path_factory, put(make_dx(), 0x00080005, "CS", spelling.encode()))
    assert new.SpecificCharacterSet == term


@given(odd=st.text("ABC123", max_size=4), sign=ODD, place=st.integers(2, 3))
@several
def test_an_odd_value_costs_that_value(tmp_path_factory: Factory, odd: str, sign: str, place: int) -> None:
    """ImageType of Type 1 keeps its other values at their places, the first two always."""
    values = ["ORIGINAL", "PRIMARY", "AXIAL", "HELIX"]
    values[place] = f"{odd}{sign}STD"
    slice_ = put(make_ct(slices=1)[0], 0x00080008, "CS", "\\".join(values).encode("latin-1"))
    new, notes = made(tmp_path_factory, slice_)
    values[place] = ""
    assert "\\".join(new.ImageType) == "\\".join(values).rstrip("\\")
    assert notes >= {("value-left-out", "ImageType")}


@given(part=st.sampled_from(sorted(value_terms().body_parts.terms)), sign=st.sampled_from("-/. "), at=st.integers(1, 2))
@several
def test_a_body_part_is_the_standards_term(tmp_path_factory: Factory, part: str, sign: str, at: int) -> None:
    """`C-SPINE` is CSPINE; `Chest` is CHEST; words with a space between stay two."""
    written = f"{part[:at]}{sign}{part[at:]}"[:16]
    new, _ = made(tmp_path_factory, put(make_dx(), 0x00180015, "CS", written.lower().encode()))
    term = part if len(part) < 16 else None
    assert new.BodyPartExamined in ({written.upper(), ""} if sign == " " else {term, ""})


@pytest.mark.parametrize("dataset", [make_dx(), make_ct()[0]], ids=["DX", "CT"])
def test_nothing_is_noted_of_what_stays(tmp_path_factory: Factory, dataset: Dataset) -> None:
    """A file as the Standard wants it needs no mending."""
    assert made(tmp_path_factory, dataset)[1] == set()


@pytest.mark.parametrize("values", [[b"1.5", b"2.5"], [b"1.5", b"", b"2.5"]])
def test_what_is_mended_among_several_values_is_told_from_what_is_left_out(
    tmp_path_factory: Factory, values: list[bytes]
) -> None:
    """A point for a comma is mended; a value that is none of its kind, beside others, is left out."""
    for odd, code in ((b"3,5", "value-mended"), (b"seventy", "value-left-out")):
        film = put(make_dx(), 0x00181114, "DS", odd)
        assert (code, "EstimatedRadiographicMagnificationFactor") in made(tmp_path_factory, film)[1]
        table = put(make_ct()[0], 0x00281050, "DS", b"\\".join([*values, odd]))
        table = put(table, 0x00281051, "DS", b"\\".join([b"4"] * (len(values) + 1)))
        notes = made(tmp_path_factory, table)[1]
        assert (code, "WindowCenter") in notes
        assert not notes & {("value-left-out" if code == "value-mended" else "value-mended", "WindowCenter")}


@pytest.mark.parametrize("text", ["2020", "202002", "20200203"])
def test_a_part_of_a_date_is_completed_only_where_a_date_must_be(tmp_path_factory: Factory, text: str) -> None:
    """AcquisitionDate `2020` becomes empty; where the object needs the date, its first day is shifted."""
    film, _ = made(tmp_path_factory, put(make_dx(), 0x00080022, "DA", text.encode()))
    assert bool(film.AcquisitionDate) == (len(text) == 8)
    sources, _ = made(tmp_path_factory, put(make_ct()[0], 0x00189369, "DT", text.encode()))
    first = text + "0101"[len(text) - 4 :]
    whole, _ = made(tmp_path_factory, put(make_ct()[0], 0x00189369, "DT", first.encode()))
    assert sources.SourceStartDateTime == whole.SourceStartDateTime
    assert len(sources.SourceStartDateTime) == 8


def test_a_date_that_must_be_there_is_none(tmp_path_factory: Factory) -> None:
    """Without it the object is none, and another may not be made up."""
    slices = put(make_ct()[0], 0x00189369, "DT", b"next week")
    assert stopped(tmp_path_factory, slices) == ("invalid-date", Ending.REFUSED)


@given(number=st.decimals(-999, 999, places=3), places=st.integers(1, 2))
@several
def test_a_decimal_comma_is_a_point(tmp_path_factory: Factory, number: object, places: int) -> None:
    """`0,1` is 0.1; `1,500` may be a thousand and a half, so it goes."""
    text = f"{number:.{places}f}"
    new, notes = made(tmp_path_factory, put(make_dx(), 0x00181114, "DS", text.replace(".", ",").encode()))
    assert str(new.EstimatedRadiographicMagnificationFactor) == text
    assert ("value-mended", "EstimatedRadiographicMagnificationFactor") in notes
    new, _ = made(tmp_path_factory, put(make_dx(), 0x00181114, "DS", b"1,500"))
    assert new.EstimatedRadiographicMagnificationFactor is None


@given(number=st.floats(-9e4, 9e4).map(lambda number: round(number, 2)))
@several
def test_an_integer_with_a_fraction_is_the_nearest(tmp_path_factory: Factory, number: float) -> None:
    """ExposureTime `3.2` is 3."""
    new, _ = made(tmp_path_factory, put(make_dx(), 0x00181150, "IS", f"{number:.2f}".encode()))
    assert abs(int(new.ExposureTime) - number) <= 0.5


@given(years=st.integers(18, 120), spelled=st.sampled_from(["{:03d}Y", "{}Y", "{}y", "{:03d}", "{}", ""]))
@several
def test_an_age_is_mended_or_computed(tmp_path_factory: Factory, years: int, spelled: str) -> None:
    """`45Y` and `045` are 45 years; where the dates alone say the age, it is computed; over 89 is 090Y."""
    dates = {"PatientBirthDate": f"{2020 - years}0101", "StudyDate": "20200618"}
    film = make_dx(PatientAge=None, **dates)  # type: ignore[arg-type]  # any attribute
    if spelled:
        put(film, 0x00101010, "AS", spelled.format(years).encode())
    new, notes = made(tmp_path_factory, film)
    assert new.PatientAge == f"{min(years, 90):03d}Y"
    assert (("age-computed", "PatientAge") in notes) == (not spelled and years < 90)
    is_mended = bool(spelled) and years < 90 and spelled.format(years) != new.PatientAge
    assert (("value-mended", "PatientAge") in notes) == is_mended


@given(years=st.integers(0, 130), stated=st.integers(0, 130))
@several
def test_contradicting_ages_go_to_a_person(tmp_path_factory: Factory, years: int, stated: int) -> None:
    """More than a year apart: quarantined by name, and excluded as a child only where both ages are a child's."""
    film = make_dx(PatientAge=f"{stated:03d}Y", PatientBirthDate=f"{2020 - years}0101", StudyDate="20200618")
    received = make_received(tmp_path_factory.mktemp("screened"), [film])
    screened = screen(received, criteria=load_criteria("adults"), clinical=None, clinical_checked=False)
    assert isinstance(screened, Excluded) == (
        min(years, stated) < 18 and (abs(years - stated) < 2 or max(years, stated) < 18)
    )
    if abs(years - stated) > 1:
        assert stopped(tmp_path_factory, film) == ("age-conflict", Ending.QUARANTINED)


@pytest.mark.parametrize("age", ["000Y", "000D", "0", "999Y", "131Y"])
def test_a_placeholder_goes_to_a_person(tmp_path_factory: Factory, age: str) -> None:
    """Nobody is 0 or over 130 years old, as far as anybody knows who lacks the birth date."""
    film = put(make_dx(PatientBirthDate=""), 0x00101010, "AS", age.encode())
    assert stopped(tmp_path_factory, film) == ("age-placeholder", Ending.QUARANTINED)


FLAWS = st.lists(
    st.sampled_from(
        [(0x00101010, "AS", b"ABCY"), (0x00101010, "AS", b"000Y"), (0x00080005, "CS", b"ISO_IR 999"),
         (0x00180060, "DS", b"seventy"), (0x00280301, "CS", b"YES"), (0x00080064, "CS", b"WSD"),
         (0x00100040, "CS", b"F")]
    ),
    max_size=2,
)  # fmt: skip


@given(flaws=FLAWS)
@several
def test_the_screen_says_what_deidentification_would_leave_out(
    tmp_path_factory: Factory, flaws: list[tuple[int, str, bytes]]
) -> None:
    """The same instances for the same reasons, before anything is written."""
    folder = tmp_path_factory.mktemp("foreseen")
    slices = make_ct(slices=2)
    for flaw in flaws:
        put(slices[1], *flaw)
    study = make_included(make_received(folder / "in", slices))
    done = deidentify(study, profile=PROFILE, pseudonyms=PSEUDONYMS, out=folder / "out", searched=True)
    assert foresee(study, profile=PROFILE, pseudonyms=PSEUDONYMS) == done.left_out
