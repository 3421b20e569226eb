"""Laws of numbers: none of the patient's leaves as a decimal, float or integer; short ones harm no other number."""

import struct
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from shared.protocol.loader import load_profile
from site_node.deidentify.study import deidentify
from site_node.study import Deidentified, Validated
from site_node.validate.conformance import check_output
from site_node.validate.validation import validate
from tests.factories.deidentified import PSEUDONYMS
from tests.factories.dicom import make_ct, make_dx
from tests.factories.studies import make_included, make_received

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
Factory = pytest.TempPathFactory
several = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TCIA = load_profile("tcia")
NUMBERS = st.integers(1_000_000, 999_999_999).filter(lambda number: number % 10 > 0)  # 1.0 shows no 1000000
TEXT_FORMS = st.sampled_from(
    [
        "{0}",
        "+{0}",
        "000{0}",
        "{0}.0",
        "-{0}",
        "{0}e0",
        "{1}.{2}e6",
        "{0}.5",
        "{1}.{2}",
        "0.{0}",
        "1.5\\{0}",
        "1\\2\\{0}",
    ]
)
BINARY_FORMS = st.sampled_from(
    [("FD", 0x00189332, "<d"), ("FL", 0x00189352, "<f"), ("UL", 0x00209228, "<L"), ("FD", 0x00189073, "<d")]
)


def put(dataset: Dataset, tag: int, vr: str, raw: bytes) -> Dataset:
    """The data set with an element whose bytes nobody checked."""
    raw += b" " * (len(raw) % 2)
    dataset._dict[Tag(tag)] = pydicom.dataelem.RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)
    return dataset


def outcome(factory: Factory, dataset: Dataset) -> tuple[str, Dataset | None]:
    """The code of why a file is refused, or the new file, in which validation finds nothing."""
    folder = factory.mktemp("number")
    study = make_included(make_received(folder / "in", [dataset]))
    done = deidentify(study, profile=TCIA, pseudonyms=PSEUDONYMS, out=folder / "out")
    if not isinstance(done, Deidentified):
        return done.reasons[0].code, None
    checked = validate(study, done, profile=TCIA, pseudonyms=PSEUDONYMS, report=folder / "report.json")
    assert isinstance(checked, Validated), checked.reasons
    return "", pydicom.dcmread(done.instances[0].path)


def codes_of(folder: Path, dataset: Dataset) -> set[str]:
    """What the validator finds in a file by itself."""
    raw = make_received(folder, [dataset]).instances[0].path.read_bytes()
    return {finding.code for finding in check_output(raw, profile=TCIA, site_id=PSEUDONYMS.site_id)}


@given(number=NUMBERS, form=TEXT_FORMS, tag=st.sampled_from([0x00181114, 0x00181302, 0x00181411]))
@several
def test_not_as_a_decimal(tmp_path_factory: Factory, number: int, form: str, tag: int) -> None:
    """Whatever sign, zeros, exponent, point or place among several values."""
    digits = str(number)
    raw = form.format(digits, digits[0], digits[1:]).encode()
    film = put(make_dx(PatientID=f"MRN{number}"), tag, "DS", raw)
    code, new = outcome(tmp_path_factory, film)
    left = str(new.get(tag).value or "") if new is not None and tag in new else ""
    assert code in {"", "malformed-value"}
    assert digits not in left.replace(".", "").replace("\\", "")


@given(number=NUMBERS, form=BINARY_FORMS, sign=st.sampled_from([1, -1]), places=st.integers(0, 5))
@several
def test_not_as_a_binary_number(
    tmp_path_factory: Factory, number: int, form: tuple[str, int, str], sign: int, places: int
) -> None:
    """As it is, or with the point elsewhere."""
    vr, tag, code = form
    value = number if vr == "UL" else sign * number / 10**places
    raw = struct.pack(code, value)
    slice_ = put(make_ct(slices=1, PatientID=f"{number}")[0], tag, vr, raw)
    _, new = outcome(tmp_path_factory, slice_)
    assert new is None or tag not in new or new[tag].value in {None, ""}


@given(day=st.dates().filter(lambda day: day.year > 1900), order=st.sampled_from(["%Y%m%d", "%d%m%Y", "%m%d%Y"]))
@several
def test_not_the_birth_date_as_a_float(tmp_path_factory: Factory, day: object, order: str) -> None:
    """In any order of its parts."""
    film = make_dx(PatientBirthDate=f"{day:%Y%m%d}", StudyDate="", PatientAge="")
    new = outcome(tmp_path_factory, put(film, 0x00189332, "FD", struct.pack("<d", float(format(day, order)))))[1]
    assert new is None or not new.get("ExposureInmAs")


@given(number=st.integers(10_000_000, 99_999_999), cut=st.integers(1, 7))
@example(number=10_000_001, cut=1)
@several
def test_not_split_over_values(tmp_path_factory: Factory, number: int, cut: int) -> None:
    """No window centres are left that make the number when read one after the other."""
    digits = str(number)
    raw = f"{digits[:cut]}\\{digits[cut:]}".encode()
    new = outcome(tmp_path_factory, put(make_dx(PatientID=digits), 0x00281050, "DS", raw))[1]
    left = str(new.get("WindowCenter", "")) if new is not None else ""
    assert digits not in "".join(filter(str.isdigit, left))


@given(text=st.text("abcdefghijklmnopqrstuvwxyz ,.", min_size=8, max_size=64))
@several
def test_no_text_as_floats(tmp_path_factory: Factory, text: str) -> None:
    """Neither in a private array without a stated multiplicity nor in a standard one."""
    raw = text.encode()[: len(text) // 8 * 8]
    film = put(make_dx(), 0x20010010, "LO", b"Philips Imaging DD 001")
    new = outcome(tmp_path_factory, put(put(film, 0x20011003, "FL", raw), 0x00189332, "FD", raw[:8]))[1]
    assert new is not None
    assert 0x20011003 not in new
    assert 0x00189332 not in new or new[0x00189332].value in {None, ""}
    assert {"unread", "number"} & codes_of(tmp_path_factory.mktemp("raw"), film)


@given(text=st.text("abcdefghijklmnopqrstuvwxyz ", min_size=16, max_size=512).filter(lambda text: len(set(text)) > 4))
@several
def test_no_text_as_a_lookup_table(tmp_path_factory: Factory, text: str) -> None:
    """A table that rises and falls is none; one that rises goes on."""
    words = (text * 2)[: len(text) // 2 * 2].encode()
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [len(words) // 2, 0, 16], "HU"
    put(item, 0x00283006, "OW", words)
    film = make_dx(ModalityLUTSequence=Sequence([item]), RescaleSlope=None, RescaleIntercept=None, RescaleType=None)
    code, new = outcome(tmp_path_factory, film)
    values = struct.unpack(f"<{len(words) // 2}H", words)
    is_monotonic = list(values) in (sorted(values), sorted(values, reverse=True))
    assert (code, new is None) == (("", False) if is_monotonic else ("malformed-value", True))
    assert ("unread" in codes_of(tmp_path_factory.mktemp("raw"), film)) != is_monotonic
    put(item, 0x00283006, "OW", struct.pack(f"<{len(words) // 2}H", *sorted(values)))
    assert outcome(tmp_path_factory, film)[1] is not None


@given(number=st.integers(1, 9_999), of=st.sampled_from(["PatientID", "AccessionNumber"]))
@several
def test_a_short_identifier_harms_no_number(tmp_path_factory: Factory, number: int, of: str) -> None:
    """PatientID 1024 stops no CT with the intercept -1024, accession 100 no `ISO_IR 100`, 2048 no WindowWidth."""
    numbers = {"RescaleIntercept": -number, "WindowWidth": number, "WindowCenter": number, "KVP": number}
    slice_ = make_ct(slices=1, **{of: str(number)}, SpecificCharacterSet="ISO_IR 100", **numbers)[0]  # type: ignore[arg-type]  # any
    new = outcome(tmp_path_factory, slice_)[1]
    assert new is not None
    assert {keyword: new[keyword].value for keyword in numbers} == numbers
    assert new.SpecificCharacterSet == "ISO_IR 100"
