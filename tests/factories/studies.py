"""Studies at each of the early stages, from data sets, for tests of a single stage."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from shared.ids import Sha256, StudyKey
from site_node.study import Identity, Included, Instance, LeftOut, Reason, Received
from tests.factories.dicom import make_ct, make_dx, write_file


def make_instance(path: Path) -> Instance:
    """The instance that `receive` would make of a file in the spool."""
    content = path.read_bytes()
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return Instance(
        path=path,
        size=len(content),
        sha256=Sha256(hashlib.sha256(content).hexdigest()),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
    )


def make_received(folder: Path, datasets: Sequence[Dataset], syntax: UID = ExplicitVRLittleEndian) -> Received:
    """Write the data sets into `folder` under opaque names and return them as one received study."""
    paths = [write_file(dataset, folder / f"{number:06d}", syntax) for number, dataset in enumerate(datasets)]
    first = datasets[0]
    patient_id = str(first.get("PatientID", "")).strip(" \0")
    issuer = str(first.get("IssuerOfPatientID", "")).strip(" \0")
    return Received(
        key=StudyKey(hashlib.sha256(str(first.StudyInstanceUID).encode()).hexdigest()[:32]),
        study_instance_uid=str(first.StudyInstanceUID),
        identity=Identity(issuer=issuer, patient_id=patient_id) if patient_id else None,
        instances=tuple(make_instance(path) for path in paths),
    )


def received_from(path: Path) -> Received:
    """A file that lies somewhere as a received study of its own; a patient without a number is `nobody`."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return Received(
        key=StudyKey(hashlib.sha256(str(dataset.StudyInstanceUID).encode()).hexdigest()[:32]),
        study_instance_uid=str(dataset.StudyInstanceUID),
        identity=Identity(issuer="", patient_id=str(dataset.get("PatientID", "")).strip(" \0") or "nobody"),
        instances=(make_instance(path),),
    )


def make_study(folder: Path, kind: str = "dx", *, syntax: UID = ExplicitVRLittleEndian, **changes: object) -> Received:
    """A received study: `dx`, `cr` (one frontal film) or `ct` (an axial series); `changes` as in the factories."""
    if kind == "ct":
        return make_received(folder, make_ct(**changes), syntax)  # type: ignore[arg-type]  # attribute changes are any
    return make_received(folder, [make_dx(modality=kind.upper(), **changes)], syntax)  # type: ignore[arg-type]  # likewise


def make_included(study: Received, *, left_out: Sequence[LeftOut] = (), warnings: Sequence[Reason] = ()) -> Included:
    """A study that passed `screen`, without the instances in `left_out`."""
    excluded = {entry.instance.sop_instance_uid for entry in left_out}
    kept = tuple(instance for instance in study.instances if instance.sop_instance_uid not in excluded)
    return Included(study=study, kept=kept, left_out=tuple(left_out), warnings=tuple(warnings))
