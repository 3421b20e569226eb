"""What a PACS is asked, and what it answers, as values of ours: PHI, so none of them shows itself in a log.

A broken answer has empty fields; pydicom's complaints, which quote it, go nowhere.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import Field
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from shared.errors import InvalidArgument
from shared.frozen import Frozen

_Value = TypeVar("_Value")

PENDING = frozenset({0xFF00, 0xFF01})
SUCCESS = 0x0000
_WARNINGS = frozenset({0xB000})  # sub-operations complete, one or more failures or warnings
STUDY_KEYS = (
    *("AccessionNumber", "PatientID", "IssuerOfPatientID", "StudyDate", "ModalitiesInStudy", "StudyInstanceUID"),
    *("NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries"),
)
SERIES_KEYS = ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
INSTANCE_KEYS = ("SOPInstanceUID",)
_UID = re.compile(r"[0-9.]{1,64}")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_REASONS = MappingProxyType(
    {  # PS3.4 tables C.4-2 and C.4-3
        0xA701: "pacs-out-of-resources",
        0xA702: "pacs-could-not-send",
        0xA801: "destination-unknown",
        0xA900: "pacs-did-not-understand",
        0xFE00: "cancelled-by-pacs",
    }
)


class Query(Frozen):
    """What studies are asked for: whole values only, since a wildcard asks a PACS for everything."""

    accession: str = ""
    patient_id: str = ""
    dates: str = Field(default="", pattern=r"^(|\d{8}|\d{8}-\d{8}|\d{8}-|-\d{8})$")
    modality: str = Field(default="", pattern=r"^[A-Z]{0,16}$")
    study_uid: str = Field(default="", pattern=r"^[0-9.]{0,64}$")

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Query(…)"

    def checked(self) -> "Query":
        """Itself; raises `InvalidArgument` where it holds a wildcard or asks for everything."""
        for name, value in (("The accession number", self.accession), ("The patient ID", self.patient_id)):
            if set(value) & set("*?\\") or any(ord(one) < ord(" ") for one in value):
                raise InvalidArgument(
                    name=name, problem="it holds a wildcard or a control character; give whole values"
                )
        if not any((self.accession, self.patient_id, self.dates, self.study_uid)):
            raise InvalidArgument(name="The query", problem="give an accession number, a patient ID or dates")
        return self


class StudyFound(Frozen):
    """A study as the PACS tells of it: PHI. `instances` is `None` where the PACS does not count."""

    study_uid: str
    accession: str
    patient_id: str
    issuer: str
    date: str
    modalities: str
    instances: int | None
    series: int | None

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "StudyFound(…)"


class SeriesFound(Frozen):
    """A series as the PACS tells of it."""

    series_uid: str
    modality: str
    instances: int | None

    def __repr__(self) -> str:
        """Nothing, likewise."""
        return "SeriesFound(…)"


class Fetch(Frozen):
    """What is to be retrieved: a study, or some instances of one of its series."""

    study_uid: str
    series_uid: str = ""
    sop_uids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Nothing, likewise."""
        return "Fetch(…)"

    def includes(self, study_uid: str, sop_uid: str) -> bool:
        """Whether that instance is asked for."""
        return study_uid == self.study_uid and (not self.sop_uids or sop_uid in self.sop_uids)


class Outcome(Frozen):
    """How a retrieval ended, as the PACS tells; a reason where it was not a success. Counts may be missing."""

    reason: str = ""
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


def outcome_of(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Outcome:
    """The last status of a retrieval. An empty one, or none, is *unknown*: the counts seen so far come with it."""
    seen = Outcome(reason="no-answer")
    for status, _ in answers:
        code = status.get("Status")
        counts = {
            name: _number(status, f"NumberOf{name.title()}Suboperations") for name in ("completed", "failed", "warning")
        }
        seen = Outcome(reason="no-answer", **{name: count for name, count in counts.items() if count is not None})
        if code is not None and code not in PENDING:
            return seen.model_copy(update={"reason": _reason(code, seen.failed)})
    return seen


def _reason(code: int, failed: int | None) -> str:
    if code == SUCCESS and not failed:
        return ""
    if code == SUCCESS or code in _WARNINGS:
        return "pacs-sent-in-part"
    return _REASONS.get(code, f"pacs-status-{code:04x}")


def matched(query: Query) -> dict[str, str]:
    """The attributes that a query matches, by keyword."""
    values = {
        "AccessionNumber": query.accession,
        "PatientID": query.patient_id,
        "StudyDate": query.dates,
        "ModalitiesInStudy": query.modality,
        "StudyInstanceUID": query.study_uid,
    }
    return {key: value for key, value in values.items() if value}


def identifier(level: str, keys: Sequence[str], query: Query) -> Dataset:
    """The data set that asks: `query` to match, `keys` to be told."""
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for key in keys:
        setattr(asked, key, "" if not key.startswith("Number") else None)
    for key, value in matched(query).items():
        setattr(asked, key, value)
    if not query.accession.isascii() or not query.patient_id.isascii():
        asked.SpecificCharacterSet = "ISO_IR 192"
    return asked


def to_retrieve(fetch: Fetch) -> Dataset:
    """The data set that fetches it (PS3.4 C.4.2.2.1: unique keys only)."""
    asked = Dataset()
    asked.QueryRetrieveLevel = "IMAGE" if fetch.sop_uids else "STUDY"
    asked.StudyInstanceUID = fetch.study_uid
    if fetch.sop_uids:
        asked.SeriesInstanceUID = fetch.series_uid
        asked.SOPInstanceUID = list(fetch.sop_uids)
    return asked


def told(answer: object) -> dict[str, Any]:
    """One answer in the DICOM JSON model (PS3.18 F.2), by keyword as a data set has it; only plain values."""
    values: dict[str, Any] = {}
    for tag, element in answer.items() if isinstance(answer, dict) else ():
        value = element.get("Value") if isinstance(element, dict) else None
        if _TAG.fullmatch(tag) and isinstance(value, list):
            plain = [one for one in value if isinstance(one, str | int | float)]
            values[keyword_for_tag(int(tag, 16))] = plain[0] if len(plain) == 1 else plain
    return values


def is_uid(text: str) -> bool:
    """Whether it is made as a UID is, so that it may stand in an address; zeros at a component's begin do occur."""
    return _UID.fullmatch(text) is not None


def series_found(answer: Mapping[str, Any]) -> SeriesFound:
    """One answer at series level."""
    return SeriesFound(
        series_uid=text_of(answer, "SeriesInstanceUID"),
        modality=text_of(answer, "Modality"),
        instances=_number(answer, "NumberOfSeriesRelatedInstances"),
    )


def study_found(answer: Mapping[str, Any]) -> StudyFound:
    """One answer at study level."""
    return StudyFound(
        study_uid=text_of(answer, "StudyInstanceUID"),
        accession=text_of(answer, "AccessionNumber"),
        patient_id=text_of(answer, "PatientID"),
        issuer=text_of(answer, "IssuerOfPatientID"),
        date=text_of(answer, "StudyDate"),
        modalities=text_of(answer, "ModalitiesInStudy"),
        instances=_number(answer, "NumberOfStudyRelatedInstances"),
        series=_number(answer, "NumberOfStudyRelatedSeries"),
    )


def text_of(answer: Mapping[str, Any], keyword: str) -> str:
    """A value as text, without the padding; several are joined as in the file. Unreadable ones are empty."""
    return _read(lambda: "\\".join(_parts(answer.get(keyword))).strip(" \0")) or ""


def _parts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) or not hasattr(value, "__iter__") else [str(one) for one in value]


def _number(answer: Mapping[str, Any], keyword: str) -> int | None:
    value = _read(lambda: int(answer.get(keyword, "")))
    return value if value is not None and value >= 0 else None


def _read(value: Callable[[], _Value]) -> _Value | None:
    try:
        return value()
    except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets in a broken answer, and quotes it
        return None
