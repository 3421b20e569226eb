"""What the criteria need of one file, read once: no pixels, and only the elements that a rule needs."""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from shared.errors import DicomUnreadable
from site_node.study import Instance

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolName")
_STUDY_CODES = ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence")
_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "Modality", "ImageType", "SpecificCharacterSet"),
    *("ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "ConvolutionKernel"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames"),
    *("BodyPartExamined", "StudyDescription", "ViewPosition", "ViewCodeSequence", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientAge", "PatientSex"),
    *(*_DESCRIPTIONS, *_STUDY_CODES, *_DATES),
)
# PS3.3 C.7.6.16: an enhanced object says per frame, or for all frames, what a single-frame object says once.
_PLANE = {
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
}


@dataclass(frozen=True, slots=True)
class Slice:
    """One frame's place: direction cosines of row and column, position and thickness in mm; `None` where missing."""

    orientation: tuple[float, ...] | None
    position: tuple[float, ...] | None
    thickness: float | None


@dataclass(frozen=True, slots=True)
class Facts:
    """One instance as the criteria see it. PHI: shown nowhere."""

    instance: Instance
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    slices: tuple[Slice, ...] = field(repr=False)
    kernels: tuple[str, ...]
    body_part: str
    codes: frozenset[str]  # "scheme:value" of regions and procedures
    view: str
    view_codes: frozenset[str]
    study_text: str = field(repr=False)
    series_text: str = field(repr=False)
    study_date: date | None = field(repr=False)
    birth_date: date | None = field(repr=False)
    age: str = field(repr=False)
    sex: str = field(repr=False)
    patient: tuple[str, str] = field(repr=False)  # issuer, ID


def read_facts(instance: Instance) -> Facts:
    """Read what the rules need; raises `DicomUnreadable` where the file cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a parser's warning quotes the value it warns of
            bare = _is_bare(instance)
            dataset = pydicom.dcmread(instance.path, force=bare, specific_tags=list(_TAGS), stop_before_pixels=True)
            return _facts(instance, dataset)
    except InvalidDicomError:
        raise DicomUnreadable(problem="it lacks the DICOM header") from None
    except Exception:  # noqa: BLE001 -- the parser raises many kinds, and their texts quote values
        raise DicomUnreadable(problem="an element cannot be parsed") from None


def _is_bare(instance: Instance) -> bool:
    """Whether the file starts with its elements: old files lack preamble and `DICM`, and are DICOM all the same."""
    with instance.path.open("rb") as stream:
        start = stream.read(132)
    return start[128:] != b"DICM" and start[:2] in {b"\x02\x00", b"\x08\x00"}


def _facts(instance: Instance, dataset: Any) -> Facts:
    return Facts(
        instance=instance,
        modality=_text(dataset, "Modality").upper(),
        sop_class=_text(dataset, "SOPClassUID"),
        image_type=tuple(str(value).strip().upper() for value in _values(dataset, "ImageType")),
        slices=_slices(dataset),
        kernels=tuple(sorted({str(value).strip().upper() for value in _all(dataset, "ConvolutionKernel")})),
        body_part=_text(dataset, "BodyPartExamined").upper(),
        codes=frozenset(_codes(dataset, _STUDY_CODES)),
        view=_text(dataset, "ViewPosition").upper(),
        view_codes=frozenset(_codes(dataset, ("ViewCodeSequence",))),
        study_text=_text(dataset, "StudyDescription"),
        series_text=" ".join(_text(dataset, keyword) for keyword in _DESCRIPTIONS),
        study_date=next((day for keyword in _DATES if (day := day_of(_text(dataset, keyword)))), None),
        birth_date=day_of(_text(dataset, "PatientBirthDate")),
        age=_text(dataset, "PatientAge").upper(),
        sex=_text(dataset, "PatientSex").upper(),
        patient=(_text(dataset, "IssuerOfPatientID"), _text(dataset, "PatientID")),
    )


def day_of(text: str) -> date | None:
    """The day of a DA value, also in the old form with dots; `None` where it is not a day."""
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip())
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def _text(dataset: Any, keyword: str) -> str:
    return " ".join(str(value) for value in _values(dataset, keyword)).strip(" \0")


def _values(dataset: Any, keyword: str) -> tuple[Any, ...]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return ()
    many = isinstance(value, Iterable) and not isinstance(value, (str, bytes)) and hasattr(value, "append")
    return tuple(value) if many else (value,)


def _numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(value) for value in _values(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None


def _codes(dataset: Any, keywords: Iterable[str]) -> Iterator[str]:
    for keyword in keywords:
        for item in dataset.get(keyword) or ():
            yield f"{_text(item, 'CodingSchemeDesignator')}:{_text(item, 'CodeValue')}".upper()


def _slices(dataset: Any) -> tuple[Slice, ...]:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), None)
    if not frames:
        return (_slice((dataset,)),)
    return tuple(_slice(_groups(frame, shared)) for frame in frames)


def _groups(frame: Any, shared: Any) -> tuple[Any, ...]:
    """The macros of one frame, then those of all frames, flat."""
    sources = [source for source in (frame, shared) if source is not None]
    return tuple(item for source in sources for macro in _PLANE.values() for item in source.get(macro) or ())


def _slice(datasets: Iterable[Any]) -> Slice:
    def first(keyword: str, count: int) -> tuple[float, ...] | None:
        return next(
            (numbers for dataset in datasets if (numbers := _numbers(dataset, keyword, count)) is not None), None
        )

    thickness = first("SliceThickness", 1)
    return Slice(
        first("ImageOrientationPatient", 6), first("ImagePositionPatient", 3), thickness[0] if thickness else None
    )


def _all(dataset: Any, keyword: str) -> Iterator[Any]:
    """Every value of an attribute that may stand at the top or in the functional groups."""
    yield from _values(dataset, keyword)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            for item in group.get(_PLANE[keyword]) or ():
                yield from _values(item, keyword)
