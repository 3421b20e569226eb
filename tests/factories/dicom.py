"""Small DICOM data sets and files for tests, conformant until a test changes them.

Further keyword arguments of a factory are attribute changes: `make_dx(PatientID="X")` sets, `make_dx(PatientID=None)`
deletes. Equal calls give equal data sets.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from compose.sample import identifiers, objects
from compose.sample.objects import Header

SECRETS = identifiers.Secrets(
    family="Kelstrupova",
    given="Janikaela",
    patient_id="MRN7731904",
    accession="ACC9910042",
    birth_date="19610514",
    institution="Sankt Invented Hospital",
    physician="Quillfeather",
    address="17 Nowhere Lane, Inventville",
    phone="555-0199-887",
)


def make_dx(
    *,
    view: str = "PA",
    modality: str = "DX",
    rows: int = 64,
    study: str = "study-1",
    header: Header | None = None,
    **changes: object,
) -> Dataset:
    """A frontal (or any `view`) chest film, 12 bits in 16, `rows` x `rows`, in a study of its own."""
    header = header or Header()
    header = replace(header, study_uid=objects.uid(study), series_uid=objects.uid(study, "film", view))
    ramp = np.linspace(0, 4000, rows * rows, dtype=np.uint16).reshape(rows, rows)
    return changed(objects.radiograph(ramp, header, view=view, modality=modality), changes)


def make_ct(
    *,
    slices: int = 4,
    rows: int = 32,
    plane: str = "axial",
    study: str = "study-1",
    header: Header | None = None,
    thickness: float = 3.0,
    **changes: object,
) -> list[Dataset]:
    """One CT series of a study; `plane` is `axial`, `coronal` or `scout`; positions are `thickness` mm apart."""
    header = header or Header(description="CT THORAX", model="CT One")
    header = replace(header, study_uid=objects.uid(study), series_uid=objects.uid(study, plane))
    flat = np.full((rows, rows), -700, dtype=np.int16)
    orientation = objects.AXIAL if plane == "axial" else objects.CORONAL
    return [
        changed(
            objects.ct_slice(
                flat + np.int16(number), header, number=number, position=number * thickness, thickness=thickness,
                orientation=orientation, localizer=plane == "scout",
            ),
            changes,
        )
        for number in range(1, slices + 1)
    ]  # fmt: skip


def changed(dataset: Dataset, changes: dict[str, object]) -> Dataset:
    """Set each named attribute; a None deletes it. Changes and returns `dataset`."""
    for keyword, value in changes.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)
    return dataset


def plant_identifiers(dataset: Dataset, secrets: identifiers.Secrets = SECRETS) -> tuple[str, ...]:
    """Plant identifiers in text, sequences, private blocks and overlays of `dataset`; returns the planted texts."""
    dataset.PatientName = f"{secrets.family}^{secrets.given}"
    dataset.PatientID = secrets.patient_id
    dataset.AccessionNumber = secrets.accession
    dataset.PatientBirthDate = secrets.birth_date
    return identifiers.plant(dataset, secrets)


def write_file(
    dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian, *, preamble: bytes = b"\0" * 128
) -> Path:
    """Write one file; any uncompressed syntax, deflated, RLE Lossless or JPEG 2000 Lossless."""
    return objects.write(dataset, path, syntax, preamble=preamble)
