"""Whether the dates that left with a study lie together, as they do where one shift moved all of a patient's dates."""

from collections.abc import Iterator
from datetime import date
from functools import partial
from pathlib import Path

from pydicom import Dataset, dcmread

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.images import DAMAGED
from coordinator.curation.review.screening import read_row
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.ids import Uid

_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_SESSION = 31  # days from a study's date to those of its images; reconstructions are dated days later
_ILLNESS = 400  # days from a study's date to those of its clinical row: a shift is longer where it is another's

_result = partial(CheckResult, check="clinical", verdict=Verdict.REVIEW)


def check_dates(study: OpenedStudy) -> Iterator[CheckResult]:
    """Compare the days in the headers with one another, and with those of the clinical row."""
    days = {Uid(path.stem): _days(path) for path in study.instances}
    of_study = sorted({stated["StudyDate"] for stated in days.values() if "StudyDate" in stated})
    if len(of_study) > 1:
        yield _result(code="study-dates", reason="Its images give different dates of the study.")
    apart = [
        uid
        for uid, stated in days.items()
        if any(abs((day - stated.get("StudyDate", day)).days) > _SESSION for day in stated.values())
    ]
    if apart:
        reason = f"Dates of an image lie more than {_SESSION} days from its study's, as if shifted otherwise."
        yield _result(code="dates-apart", reason=reason, instances=tuple(apart))
    row = read_row(study) or {}
    dates = [day for name, value in row.items() if name.endswith("_date") and (day := _day(value))]
    if any(abs((day - other).days) > _ILLNESS for day in dates for other in of_study):
        reason = f"A date of its clinical row lies more than {_ILLNESS} days from its images'."
        yield _result(code="clinical-dates-apart", reason=reason)


def _days(path: Path) -> dict[str, date]:
    try:
        header: Dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(_DATES))
        stated = {name: _day(header.get(name)) for name in _DATES}
    except DAMAGED:
        return {}
    return {name: day for name, day in stated.items() if day is not None}


def _day(value: object) -> date | None:
    """The day that a header or a row writes, in either form of ISO 8601; `None` where it is none."""
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        return None
