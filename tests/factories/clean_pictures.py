"""Pictures without text, to burn text into: drawn and public films, and stacks of slices, from a seed."""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels import pixel_array

from compose.sample import films

_DATA = Path(__file__).resolve().parents[3] / "shared/data"
Values = NDArray[np.float32]
CXR = _DATA / "cxr/images"
# CT slices of 512 x 512 without text, each of another scanner
CT_FILES = [
    "pydicom/693_J2KI.dcm", "dcm_qa_ct/I10__2", "dcm_qa_ct/01.dcm", "dcmqi/03.dcm", "pydicom-data/explicit_VR-UN.dcm",
    "cornerstoneWADOImageLoader/CT2_J2KR",
]  # fmt: skip


def drawn_film(rng: np.random.Generator, rows: int = 1024) -> Values:
    """A film that is drawn, square."""
    image = films.frontal(rng, rows, positive=True) * 3000 + 200
    return (image + rng.normal(0, 8, image.shape)).astype(np.float32)


def enlarged_film(rng: np.random.Generator, rows: int = 2048) -> Values:
    """Any public film of 224 rows, enlarged."""
    return enlarged(rng.choice(sorted(CXR.glob("*.jpg"))), rng, rows)


def enlarged(file: Path, rng: np.random.Generator, rows: int = 2048) -> Values:
    """That film, with the noise of a detector."""
    small = Image.open(file).convert("F")
    image = np.asarray(small.resize((rows, rows), Image.Resampling.BICUBIC))
    return (image * 14 + 200 + rng.normal(0, 8, image.shape)).astype(np.float32)


def drawn_slices(rng: np.random.Generator, count: int = 12) -> list[Values]:
    """Slices of a drawn thorax whose organs grow, with the noise of each."""
    return _grown(films.frontal(rng, 512, positive=True) * 1400, rng, count)


def scanned_slices(rng: np.random.Generator, count: int = 12) -> list[Values]:
    """The same of a public CT slice."""
    return _grown(_without_noise(str(rng.choice(CT_FILES)), 384), rng, count)


def soft_slices(rng: np.random.Generator, count: int = 12) -> list[Values]:
    """The same as by a soft kernel: little noise."""
    return _grown(_without_noise(str(rng.choice(CT_FILES)), 192), rng, count, noise=3)


def _without_noise(name: str, rows: int) -> Values:
    """A public CT slice as one of so many rows that was enlarged: noise that moves with an organ is none."""
    image = Image.fromarray(scanned(name))
    small = image.resize((rows, rows), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BICUBIC))


def _grown(image: Values, rng: np.random.Generator, count: int, noise: float = 12) -> list[Values]:
    """As slices of a millimetre: edges far from the middle move by a pixel and a half from one to the next."""
    drawn, size, middle = Image.fromarray(image), image.shape[::-1], image.shape[0] / 2
    slices = []
    for number in range(count):
        by = 1 / (1 + 0.006 * number)
        across = (by, 0, middle * (1 - by), 0, by, middle * (1 - by))
        moved = np.asarray(drawn.transform(size, Image.Transform.AFFINE, across, Image.Resampling.BICUBIC))
        slices.append(moved + rng.normal(0, noise, image.shape).astype(np.float32))
    return slices


@cache
def scanned(name: str) -> Values:
    """A public CT slice in Hounsfield units or so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = pixel_array(_DATA / "dicom" / name).astype(np.float32)
        slope = float(pydicom.dcmread(_DATA / "dicom" / name, stop_before_pixels=True).get("RescaleSlope") or 1)
    values: Values = stored.clip(-2000, None) * np.float32(slope)
    return values
