"""Whether every image is of the study, the patient and the modality that its site signed for."""

from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from coordinator.curation.opening import OpenedStudy
from coordinator.curation.review.images import DAMAGED
from coordinator.curation.review.verdict import CheckResult, Verdict
from shared.ids import Uid

UID_ROOT = "1.2.826.0.1.3680043.10.474."  # below which every site's node makes UIDs
_REASONS = {
    "not-dicom": "Its header cannot be read.",
    "other-patient": "It names another patient than the study's list.",
    "other-study": "It names another study, series or image than the study's list.",
    "other-modality": "Its modality is none of those that the study's list names.",
    "foreign-uid": "A UID of it was not made by a site's node: it begins otherwise.",
}


def check_identity(study: OpenedStudy) -> Iterator[CheckResult]:
    """Compare each image's header with the list that the site signed; a difference rejects the study."""
    problems = dict[str, list[Uid]]()
    series = {instance.sop_instance_uid: instance.series_instance_uid for instance in study.contents.instances}
    for path in study.instances:
        for code in _problems(path, study, series[Uid(path.stem)]):
            problems.setdefault(code, []).append(Uid(path.stem))
    for code, instances in problems.items():
        yield CheckResult(
            check="identity", verdict=Verdict.REJECT, code=code, reason=_REASONS[code], instances=tuple(instances)
        )


def _problems(path: Path, study: OpenedStudy, series: Uid) -> Iterator[str]:
    try:
        header = dcmread(path, stop_before_pixels=True)
        values = {name: _text(header, name) for name in ("PatientID", "PatientName", "Modality", *_UIDS)}
    except DAMAGED:
        yield "not-dicom"
        return
    contents = study.contents
    if {values["PatientID"], values["PatientName"]} != {contents.patient}:
        yield "other-patient"
    if [values[name] for name in _UIDS] != [contents.study, series, path.stem]:
        yield "other-study"
    if values["Modality"] not in contents.modalities:
        yield "other-modality"
    if not all(values[name].startswith(UID_ROOT) for name in _UIDS):
        yield "foreign-uid"


_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def _text(header: Dataset, name: str) -> str:
    return str(header.get(name, ""))
