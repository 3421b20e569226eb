"""What every stage must know of a file: whose it is, which object it holds, and how old the patient was."""

import re
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from shared.ids import Sha256
from site_node.dicom.unreadable import unreadable
from site_node.study import FileStamp, Identity, Instance

STUDY_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")  # the first that is a day counts
_REQUIRED = MappingProxyType(
    {
        "StudyInstanceUID": "no-study-uid",
        "SeriesInstanceUID": "no-series-uid",
        "SOPInstanceUID": "no-sop-uid",
        "SOPClassUID": "no-sop-class",
    }
)
AGE_KEYWORDS = ("PatientBirthDate", "PatientAge", *STUDY_DATES)
HEADER_KEYWORDS = (*_REQUIRED, "PatientID", "IssuerOfPatientID", *AGE_KEYWORDS)


class Attributes(Protocol):
    """A data set as its reader gives it: pydicom's, or a `FastDataset`."""

    def get(self, keyword: str, /) -> Any:
        """An attribute's value: text or number, a list of them, a list of data sets, or None where it is absent."""


class Header(NamedTuple):  # as a pydantic model it takes eight times as long to make
    """The identifying attributes of a file. PHI."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    identity: Identity | None  # None: the file has no PatientID
    birth_date: date | None = None
    study_date: date | None = None
    age: str = ""  # PatientAge in capitals

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Header(…)"

    def instance(
        self,
        path: Path,
        size: int,
        *,
        sha256: Sha256 | None = None,
        stamp: FileStamp | None = None,
        opaque_name: str = "",
    ) -> Instance:
        """The instance whose file, of `size` bytes, lies at `path`; see `Instance` for what else it is known by."""
        return Instance(
            path=path,
            size=size,
            sha256=sha256,
            stamp=stamp,
            opaque_name=opaque_name,
            sop_instance_uid=self.sop_instance_uid,
            sop_class_uid=self.sop_class_uid,
            series_instance_uid=self.series_instance_uid,
            transfer_syntax_uid=self.transfer_syntax_uid,
        )


def header_of(dataset: Attributes, syntax: str) -> Header:
    """The header of a data set; raises `DicomUnreadable` where a UID that every object must have is missing."""
    uids = {keyword: _identifier(dataset, keyword) for keyword in _REQUIRED}
    for keyword, code in _REQUIRED.items():
        if not uids[keyword]:
            raise unreadable(code)
    patient, issuer = _identifier(dataset, "PatientID"), _identifier(dataset, "IssuerOfPatientID")
    return Header(
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=uids["SOPClassUID"],
        transfer_syntax_uid=syntax,
        identity=Identity(issuer=issuer, patient_id=patient) if patient else None,
        birth_date=day_of(text_of(dataset, "PatientBirthDate")),
        study_date=study_date_of(dataset),
        age=text_of(dataset, "PatientAge").upper(),
    )


def study_date_of(dataset: Attributes) -> date | None:
    """The day of the study, or of what comes nearest to it."""
    return next((day for keyword in STUDY_DATES if (day := day_of(text_of(dataset, keyword)))), None)


def day_of(text: str) -> date | None:
    """The day of a DA value, also in the old form with dots; `None` where it is not a day."""
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip())
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def text_of(dataset: Attributes, keyword: str) -> str:
    """An attribute's values as a text without padding, a space between each two."""
    return " ".join(str(value) for value in values_of(dataset, keyword)).strip(" \0")


def values_of(dataset: Attributes, keyword: str) -> tuple[Any, ...]:
    """An attribute's values, none where it is absent or empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    return tuple(value) if hasattr(value, "append") else (value,)


def _identifier(dataset: Attributes, keyword: str) -> str:
    """One attribute without padding: trailing spaces and NULs do not make another patient (PS3.5 section 6.2)."""
    value = dataset.get(keyword)
    values = [value] if isinstance(value, str) or value is None else list(value)
    return "\\".join(str(part).strip(" \0") for part in values if part is not None)
