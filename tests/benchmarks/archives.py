"""The two archives that de-identification is measured on, in memory-backed storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tests.factories.dicom import make_ct, make_dx, plant_identifiers, write_file

MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder on memory-backed storage that is deleted afterwards."""
    with TemporaryDirectory(dir=MEMORY, prefix="ricord-bench-") as folder:
        yield Path(folder)


def write_ct(folder: Path, count: int = 400, study: str = "study-1") -> Path:
    """`count` axial slices of a study: 512x512x16 bits, about 140 elements, nested sequences and 10 KB private each."""
    noise = np.random.default_rng(1).integers(-1000, 1000, (512, 512), dtype=np.int16).tobytes()
    for number, dataset in enumerate(make_ct(slices=count, rows=16, study=study), start=1):
        dataset.Rows = dataset.Columns = 512
        dataset.PixelData = noise
        plant_identifiers(dataset)
        _add_vendor_elements(dataset)
        write_file(dataset, folder / f"{study}-{number:06d}.dcm")
    return folder


def write_dx(folder: Path, count: int = 100, *, apart: bool = False) -> Path:
    """`count` films of 2500x2048x16 bits; `apart`, each in a study of its own."""
    noise = np.random.default_rng(2).integers(0, 4096, (2500, 2048), dtype=np.uint16).tobytes()
    dataset = make_dx(rows=16)
    dataset.Rows, dataset.Columns = 2500, 2048
    dataset.PixelData = noise
    plant_identifiers(dataset)
    for number in range(1, count + 1):
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{number}"
        dataset.InstanceNumber = number
        if apart:
            dataset.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.0.{number}"
            dataset.SeriesInstanceUID = f"{dataset.StudyInstanceUID}.1"
        write_file(dataset, folder / f"{number:06d}.dcm")
    return folder


def write_film(folder: Path, frames: int) -> Path:
    """One film of many frames, 10 MB each."""
    dataset = make_dx(rows=16)
    dataset.Rows, dataset.Columns = 2500, 2048
    dataset.NumberOfFrames = frames
    dataset.PixelData = bytes(2500 * 2048 * 2 * frames)
    plant_identifiers(dataset)
    write_file(dataset, folder / "000001.dcm")
    return folder


def _add_vendor_elements(dataset: Dataset) -> None:
    """Add to a slice what a vendor writes: its time and tube current, the series' scouts, and a private block."""
    number = int(dataset.InstanceNumber)
    dataset.AcquisitionTime = dataset.ContentTime = f"1012{number // 10 % 60:02d}.{number % 10}00000"
    dataset.SliceLocation = f"{number * 1.25:.2f}"
    dataset.XRayTubeCurrent, dataset.Exposure = 200 + number % 37, 100 + number % 41
    references = []
    for scout in range(3):
        item = Dataset()
        item.ReferencedSOPClassUID = dataset.SOPClassUID
        item.ReferencedSOPInstanceUID = f"{dataset.SeriesInstanceUID}.{scout}"
        references.append(item)
    dataset.ReferencedImageSequence = Sequence(references)
    block = dataset.private_block(0x0019, "BENCH VENDOR 1", create=True)
    for offset in range(40):
        block.add_new(offset, "LO", f"private value {offset}")
    block.add_new(0xF0, "OB", bytes(10_000))
