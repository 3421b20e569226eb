"""Dates that were shifted otherwise, and images that do not belong to one series, wait for a person."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydicom
import pytest

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.clinical import check_dates
from coordinator.curation.review.consistency import check_consistency
from coordinator.curation.review.screening import check_screening
from coordinator.curation.review.verdict import Verdict
from shared.protocol.loader import load_criteria
from tests.factories.dicom import changed, make_ct, make_dx
from tests.factories.reviewed import open_datasets


def change_last(study: OpenedStudy, changes: Mapping[str, object]) -> OpenedStudy:
    path = max(study.instances)
    changed(pydicom.dcmread(path), dict(changes)).save_as(path)
    return study


def day_of(study: OpenedStudy, *, years: int = 0) -> str:
    day = str(pydicom.dcmread(study.instances[0]).StudyDate)
    return f"{int(day[:4]) + years}{day[4:6]}01"


def row(**values: str | int) -> dict[str, str | int]:
    return {"covid_status": "negative", "covid_method": "rt-pcr", "age": 59, "sex": "F", **values}


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("study-dates", lambda study: {"StudyDate": day_of(study, years=-1), "SeriesDate": None}),
        ("dates-apart", lambda study: {"ContentDate": day_of(study, years=1)}),
        ("dates-apart", lambda study: {"AcquisitionDate": day_of(study, years=-3)}),
    ],
)
def test_dates_of_one_shift_lie_together(
    tmp_path: Path, code: str, change: Callable[[OpenedStudy], dict[str, Any]]
) -> None:
    """A site moves all of a patient's dates alike, so one that lies elsewhere was moved otherwise, or not at all."""
    study = open_datasets(tmp_path, make_ct())
    assert not list(check_dates(study))
    results = list(check_dates(change_last(study, change(study))))
    assert code in {result.code for result in results}
    assert {result.verdict for result in results} == {Verdict.REVIEW}


@pytest.mark.parametrize(
    ("years", "codes"), [(0, set()), (-3, {"clinical-dates-apart"}), (4, {"clinical-dates-apart"})]
)
def test_a_row_was_shifted_with_its_images(tmp_path: Path, years: int, codes: set[str]) -> None:
    """The test's day lies about the study's."""
    day = day_of(open_datasets(tmp_path / "first", [make_dx()]), years=years)
    study = open_datasets(tmp_path, [make_dx()], clinical=row(test_date=f"{day[:4]}-{day[4:6]}-{day[6:]}"))
    assert {result.code for result in check_dates(study)} == codes


@pytest.mark.parametrize(
    ("values", "codes"),
    [({}, set()), ({"age": 35}, {"age-disagrees"}), ({"sex": "M"}, {"sex-disagrees"}), ({"age": 60}, set())],
)
def test_a_row_is_of_the_patient_in_the_headers(tmp_path: Path, values: dict[str, Any], codes: set[str]) -> None:
    """Age within a year, and sex."""
    study = open_datasets(tmp_path, [make_dx()], clinical=row(**values))
    assert {result.code for result in check_screening(study, load_criteria())} == codes


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("mixed-modalities", {"Modality": "CR"}),
        ("mixed-references", {"FrameOfReferenceUID": "2.25.9"}),
        ("mixed-spacing", {"PixelSpacing": [1.0, 1.0]}),
    ],
)
def test_images_of_a_series_are_of_one_kind(tmp_path: Path, code: str, changes: dict[str, object]) -> None:
    """The finding names the images of that series."""
    study = open_datasets(tmp_path, make_ct())
    assert not list(check_consistency(study))
    (result,) = check_consistency(change_last(study, changes))
    assert (result.code, result.verdict) == (code, Verdict.REVIEW)
    assert set(result.instances) <= {path.stem for path in study.instances}


def test_damaged_headers_end_no_check(tmp_path: Path) -> None:
    """An image that is no DICOM is a result of the screen, and the other checks pass over it."""
    study = open_datasets(tmp_path, make_ct())
    max(study.instances).write_bytes(b"no dicom")
    assert not [*check_dates(study), *check_consistency(study)]
    instances = {result.code: result.instances for result in check_screening(study, load_criteria())}
    assert instances["unreadable"] == (max(study.instances).stem,)
