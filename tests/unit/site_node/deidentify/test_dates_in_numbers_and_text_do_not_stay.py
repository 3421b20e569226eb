"""Dates and numbers of the patient do not stay in numbers, technical text or descriptions."""

from pathlib import Path

import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.factories.deidentified import run_bytes, run_one
from tests.factories.dicom import make_dx, write_file

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of what is planted on purpose
DATES = {"PatientBirthDate": "19610514", "StudyDate": "20210302"}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("number", ["20210302", "19610514", "14051961", "610514"])
def test_a_date_as_a_number(tmp_path: Path, number: str, syntax: UID) -> None:
    """Some series have the date as their number."""
    outcome = run_one(tmp_path, make_dx(SeriesNumber=number, **DATES), syntax)  # type: ignore[arg-type]  # any
    assert outcome.dataset.SeriesNumber is None


@pytest.mark.parametrize(
    "text",
    ["EXAM 2021-03-02", "14MAY1961", "14. Mai 1961", "DOB 5/14/61", "v20210302101500", "May 14th, 1961", "610514"],
)
def test_a_date_in_technical_text(tmp_path: Path, text: str) -> None:
    """A day is cut out of a kept text; `EXAM` is a word."""
    dataset = make_dx(SoftwareVersions=text, **DATES)  # type: ignore[arg-type]  # any attribute
    assert run_one(tmp_path, dataset).dataset.SoftwareVersions in {"", "EXAM"}


@pytest.mark.parametrize(
    "text",
    ["May 14, 1961", "14. Mai 1961", "5_14_61", "5 14 61", "1961年5月14日", "March 2, 2021", "92Y", "May 3, 2019"],
)
def test_a_date_in_a_description(tmp_path: Path, text: str) -> None:
    """It is cut out, whatever signs and names it is written with; so is an age over 89."""
    dataset = make_dx(SeriesDescription=f"PA {text}", SpecificCharacterSet="ISO_IR 192", **DATES)  # type: ignore[arg-type]  # any
    assert run_one(tmp_path, dataset).dataset.SeriesDescription == "PA"


@pytest.mark.parametrize(
    ("patient", "value"),
    [
        ("MRN7731904", "7731904"),
        ("MRN-7731904", "7731904"),
        ("0007731904", "7731904"),
        ("7731904", "1\\ 7731904"),
        ("7731904", "+7731904"),
        ("7731904", "0007731904"),
    ],
)
def test_the_patients_number_without_its_prefix(tmp_path: Path, patient: str, value: str) -> None:
    """A number is the patient's whether or not its prefix, zeros, sign and blanks are there."""
    dataset = make_dx(PatientID=patient, AcquisitionNumber=1234567, ConvolutionKernel=value.strip("1\\ +"))
    content = write_file(dataset, tmp_path / "one").read_bytes()
    short = b"\x20\0\x12\0IS\x08\x001234567 "
    assert content.count(short) == 1
    raw = value.encode() + b" " * (len(value) % 2)
    new = b"\x20\0\x12\0IS" + len(raw).to_bytes(2, "little") + raw
    outcome = run_bytes(tmp_path, dataset, content.replace(short, new))
    assert outcome.code is None
    assert b"7731904" not in outcome.raw


def test_decimal_strings_of_the_patients_number(tmp_path: Path) -> None:
    """A fraction of zeros hides nothing."""
    outcome = run_one(tmp_path, make_dx(PatientID="7731904", KVP="7731904.0"))
    assert b"7731904" not in outcome.raw


def test_ordinary_numbers_and_text_stay(tmp_path: Path) -> None:
    """Small numbers, real measures and versions identify nobody."""
    harmless = {
        "SeriesNumber": 14, "AcquisitionNumber": 1961, "KVP": "120", "SoftwareVersions": "VB20A 5.1",
        "StudyTime": "210302", "ConvolutionKernel": "B31f", "SeriesDescription": "PA 14 chest",
    }  # fmt: skip
    dataset = run_one(tmp_path, make_dx(PatientID="A-00014", **DATES, **harmless)).dataset  # type: ignore[arg-type]  # any
    assert {keyword: str(dataset.get(keyword)) for keyword in harmless} == {key: str(harmless[key]) for key in harmless}
