"""Queries to a PACS and its answers as our own types. They are PHI, so their `repr` is empty.

A broken answer has empty fields; pydicom's errors, which quote it, are dropped.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import Field
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from shared.errors.inputs import InvalidArgument
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
        0xA700: "pacs-out-of-resources",
        0xA701: "pacs-out-of-resources",
        0xA702: "pacs-could-not-send",
        0xA801: "destination-unknown",
        0xA900: "pacs-did-not-understand",
        0xFE00: "cancelled-by-pacs",
    }
)


class Query(Frozen):
    """Which studies to find: whole values only, since a wildcard asks a PACS for everything."""

    accession: str = ""
    patient_id: str = ""
    dates: str = Field(default="", pattern=r"^(|\d{8}|\d{8}-\d{8}|\d{8}-|-\d{8})$")
    modality: str = Field(default="", pattern=r"^[A-Z]{0,16}$")
    study_uid: str = Field(default="", pattern=r"^[0-9.]{0,64}$")

    def __repr__(self) -> str:
        """Nothing: every field identifies."""
        return "Query(…)"

    def checked(self) -> "Query":
        """The query itself; raises `InvalidArgument` if it holds a wildcard or matches everything."""
        for name, value in (("The accession number", self.accession), ("The patient ID", self.patient_id)):
            if set(value) & set("*?\\") or any(ord(character) < ord(" ") for character in value):
                raise InvalidArgument(
                    name=name, problem="it holds a wildcard or a control character; give whole values"
                )
        if not any((self.accession, self.patient_id, self.dates, self.study_uid)):
            raise InvalidArgument(name="The query", problem="give an accession number, a patient ID or dates")
        return self


class StudyMatch(Frozen):
    """A study that matches a query: PHI. `instances` and `series` are `None` if the PACS does not count them."""

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
        return "StudyMatch(…)"


class SeriesMatch(Frozen):
    """A series that matches a query."""

    series_uid: str
    modality: str
    instances: int | None

    def __repr__(self) -> str:
        """Nothing: a UID identifies."""
        return "SeriesMatch(…)"


class Fetch(Frozen):
    """What to retrieve: a study, or some instances of one of its series."""

    study_uid: str
    series_uid: str = ""
    sop_uids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Nothing: a UID identifies."""
        return "Fetch(…)"

    def includes(self, study_uid: str, sop_uid: str) -> bool:
        """Whether that instance is to be retrieved."""
        return study_uid == self.study_uid and (not self.sop_uids or sop_uid in self.sop_uids)


class Outcome(Frozen):
    """How a retrieval ended, as the PACS reports it: a reason unless it succeeded, and counts that may be missing."""

    reason: str = ""
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None


def outcome_of(answers: Iterator[tuple[Dataset, Dataset | None]]) -> Outcome:
    """The last status of a retrieval. If it is empty or missing, the outcome is unknown and has the last counts."""
    outcome = Outcome(reason="no-answer")
    for status, _ in answers:
        code = status.get("Status")
        counts = {
            name: _number(status, f"NumberOf{name.title()}Suboperations") for name in ("completed", "failed", "warning")
        }
        outcome = Outcome(reason="no-answer", **{name: count for name, count in counts.items() if count is not None})
        if code is not None and code not in PENDING:
            return outcome.model_copy(update={"reason": _reason(code, outcome.failed)})
    return outcome


def reason_of_status(code: int) -> str:
    """The reason that a status of failure means; its number where it has no meaning of its own."""
    return _REASONS.get(code, f"pacs-status-{code:04x}")


def _reason(code: int, failed: int | None) -> str:
    if code == SUCCESS and not failed:
        return ""
    if code == SUCCESS or code in _WARNINGS:
        return "pacs-sent-in-part"
    return reason_of_status(code)


def matching_keys(query: Query) -> dict[str, str]:
    """The matching keys of a query, by keyword."""
    values = {
        "AccessionNumber": query.accession,
        "PatientID": query.patient_id,
        "StudyDate": query.dates,
        "ModalitiesInStudy": query.modality,
        "StudyInstanceUID": query.study_uid,
    }
    return {key: value for key, value in values.items() if value}


def find_identifier(level: str, return_keys: Sequence[str], query: Query) -> Dataset:
    """The identifier of a C-FIND: the matching keys of `query`, and `return_keys`."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for key in return_keys:
        setattr(identifier, key, "" if not key.startswith("Number") else None)
    for key, value in matching_keys(query).items():
        setattr(identifier, key, value)
    if not query.accession.isascii() or not query.patient_id.isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"
    return identifier


def retrieve_identifier(fetch: Fetch) -> Dataset:
    """The identifier of a C-MOVE or C-GET (PS3.4 C.4.2.2.1: unique keys only)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE" if fetch.sop_uids else "STUDY"
    identifier.StudyInstanceUID = fetch.study_uid
    if fetch.sop_uids:
        identifier.SeriesInstanceUID = fetch.series_uid
        identifier.SOPInstanceUID = list(fetch.sop_uids)
    return identifier


def from_dicom_json(answer: object) -> dict[str, Any]:
    """One answer in the DICOM JSON model (PS3.18 F.2) as values by keyword; only plain values."""
    values: dict[str, Any] = {}
    for tag, element in answer.items() if isinstance(answer, dict) else ():
        value = element.get("Value") if isinstance(element, dict) else None
        if _TAG.fullmatch(tag) and isinstance(value, list):
            plain = [item for item in value if isinstance(item, str | int | float)]
            values[keyword_for_tag(int(tag, 16))] = plain[0] if len(plain) == 1 else plain
    return values


def is_uid(text: str) -> bool:
    """Whether it has the characters of a UID, so that a URL may contain it; leading zeros do occur."""
    return _UID.fullmatch(text) is not None


def series_match(answer: Mapping[str, Any]) -> SeriesMatch:
    """One answer at series level."""
    return SeriesMatch(
        series_uid=text_of(answer, "SeriesInstanceUID"),
        modality=text_of(answer, "Modality"),
        instances=_number(answer, "NumberOfSeriesRelatedInstances"),
    )


def study_match(answer: Mapping[str, Any]) -> StudyMatch:
    """One answer at study level."""
    return StudyMatch(
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
    """A value as text, without padding; multiple values are joined as in the file. An unreadable one is empty."""
    return _value_or_none(lambda: "\\".join(_parts(answer.get(keyword))).strip(" \0")) or ""


def _parts(value: object) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str) or not hasattr(value, "__iter__") else [str(part) for part in value]


def _number(answer: Mapping[str, Any], keyword: str) -> int | None:
    value = _value_or_none(lambda: int(answer.get(keyword, "")))
    return value if value is not None and value >= 0 else None


def _value_or_none(read: Callable[[], _Value]) -> _Value | None:
    try:
        return read()
    except Exception:  # noqa: BLE001 -- pydicom raises whatever it meets in a broken answer, and quotes it
        return None
