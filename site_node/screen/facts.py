"""What the criteria need of one file, read once: no pixels, and only the elements that a rule needs."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from shared.errors.studies import DicomUnreadable
from site_node.dicom.header import Attributes, day_of, study_date_of, text_of, values_of
from site_node.dicom.reading import read_as
from site_node.study import Instance

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionProtocolName")
_STUDY_CODES = ("AnatomicRegionSequence", "ProcedureCodeSequence", "RequestedProcedureCodeSequence")
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
        with instance.path.open("rb") as stream:
            return read_as(partial(_facts, instance), stream, os.fstat(stream.fileno()).st_size)
    except OSError:
        raise DicomUnreadable(problem="it cannot be opened or read") from None


def _facts(instance: Instance, dataset: Attributes) -> Facts:
    return Facts(
        instance=instance,
        modality=text_of(dataset, "Modality").upper(),
        sop_class=text_of(dataset, "SOPClassUID"),
        image_type=tuple(str(value).strip().upper() for value in values_of(dataset, "ImageType")),
        slices=_slices(dataset),
        kernels=tuple(sorted({str(value).strip().upper() for value in _all(dataset, "ConvolutionKernel")})),
        body_part=text_of(dataset, "BodyPartExamined").upper(),
        codes=frozenset(_codes(dataset, _STUDY_CODES)),
        view=text_of(dataset, "ViewPosition").upper(),
        view_codes=frozenset(_codes(dataset, ("ViewCodeSequence",))),
        study_text=text_of(dataset, "StudyDescription"),
        series_text=" ".join(text_of(dataset, keyword) for keyword in _DESCRIPTIONS),
        study_date=study_date_of(dataset),
        birth_date=day_of(text_of(dataset, "PatientBirthDate")),
        age=text_of(dataset, "PatientAge").upper(),
        sex=text_of(dataset, "PatientSex").upper(),
        patient=(text_of(dataset, "IssuerOfPatientID"), text_of(dataset, "PatientID")),
    )


def _numbers(dataset: Attributes, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(value) for value in values_of(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count else None


def _codes(dataset: Attributes, keywords: Iterable[str]) -> Iterator[str]:
    for keyword in keywords:
        for item in dataset.get(keyword) or ():
            yield f"{text_of(item, 'CodingSchemeDesignator')}:{text_of(item, 'CodeValue')}".upper()


def _slices(dataset: Attributes) -> tuple[Slice, ...]:
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), None)
    if not frames:
        return (_slice((dataset,)),)
    return tuple(_slice(_groups(frame, shared)) for frame in frames)


def _groups(frame: Attributes, shared: Attributes | None) -> tuple[Attributes, ...]:
    """The macros of one frame, then those of all frames, flat."""
    sources = [source for source in (frame, shared) if source is not None]
    return tuple(item for source in sources for macro in _PLANE.values() for item in source.get(macro) or ())


def _slice(datasets: Iterable[Attributes]) -> Slice:
    def first(keyword: str, count: int) -> tuple[float, ...] | None:
        return next(
            (numbers for dataset in datasets if (numbers := _numbers(dataset, keyword, count)) is not None), None
        )

    thickness = first("SliceThickness", 1)
    return Slice(
        first("ImageOrientationPatient", 6), first("ImagePositionPatient", 3), thickness[0] if thickness else None
    )


def _all(dataset: Attributes, keyword: str) -> Iterator[Any]:
    """Every value of an attribute that may stand at the top or in the functional groups."""
    yield from values_of(dataset, keyword)
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            for item in group.get(_PLANE[keyword]) or ():
                yield from values_of(item, keyword)
