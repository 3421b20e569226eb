"""CT studies of slices that hold the same everywhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.ids import PatientPseudonym, Sha256, Uid
from site_node.home.library import LibraryInstance, LibrarySeries, LibraryStudy, add_study

SIDE = 40


def write_slice(file: Path, units: float, *, place: float, number: int, kind: str = "AXIAL") -> None:
    """A slice of the same Hounsfield units everywhere."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, generate_uid(), "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind]
    dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, place]
    dataset.InstanceNumber, dataset.RescaleSlope, dataset.RescaleIntercept = number, 1, -1024
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows, dataset.Columns = SIDE, SIDE
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = np.full((SIDE, SIDE), units + 1024, np.uint16).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)


def add_ct(library: Path, number: int, units: Sequence[float], *, site: str = "200000", sick: bool = False) -> None:
    """A study whose slices, from feet to head, have these Hounsfield units; its files are in another order."""
    study = Uid(f"2.25.{site}{number:05d}")
    (library.parent / "ct").mkdir(exist_ok=True)
    files = {f"{place:03}.dcm": library.parent / "ct" / f"{place:03}.dcm" for place in range(len(units))}
    for place, file in enumerate(reversed(files.values())):
        write_slice(file, units[place], place=2.5 * place, number=len(units) - place)
    record = LibraryStudy(
        study=study,
        patient=PatientPseudonym(f"{site}-{number:06d}"),
        modalities=("CT",),
        series=(LibrarySeries(uid=study, modality="CT", instance_count=len(units)),),
        instances=tuple(
            LibraryInstance(
                file=name, sop_instance_uid=Uid(f"{study}.{place + 1}"), series=study, sha256=Sha256("0" * 64)
            )
            for place, name in enumerate(files)
        ),
        clinical={"pneumonia": "yes" if sick else "no"},
    )
    add_study(library, record, files)
    for file in files.values():
        file.unlink()
