"""The images of an opened study in the order in which they are looked at, and their decoded values."""

from collections.abc import Iterator
from pathlib import Path
from struct import error
from typing import NamedTuple

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from coordinator.curation.opening import OpenedStudy
from shared.ids import Uid
from site_node.pixels.contrast import Stored
from site_node.pixels.frame import Frame
from site_node.pixels.frames import read_values

DAMAGED = (InvalidDicomError, OSError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, error)
_TAGS = [
    "Modality", "NumberOfFrames", "PhotometricInterpretation", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept", "WindowCenter",
    "WindowWidth", "PixelSpacing", "FrameOfReferenceUID", "Rows", "Columns", "SharedFunctionalGroupsSequence",
]  # fmt: skip
_MOST_FRAMES = 100_000
_SLOPES, _INTERCEPTS = (1e-3, 1e6), (0.0, 1e5)  # sizes; by others single precision would make all values one
_LARGEST = 1e9  # a number above is none of an image

Window = tuple[float, float]  # the least and the greatest value that it shows


class Image(NamedTuple):
    """One image of a study by its header; `frames` is 0 where the header cannot be read."""

    uid: Uid
    path: Path
    series: str = ""
    modality: str = ""
    photometric: str = ""
    frames: int = 0
    place: float = 0.0  # mm along the normal of its slices, else its number
    slope: float = 1.0
    intercept: float = 0.0
    window: Window | None = None  # as the header states it, of rescaled values
    spacing: tuple[float, ...] = ()  # mm
    reference: str = ""  # the frame of reference

    @property
    def is_film(self) -> bool:
        """Whether it is shown by itself, and not as a slice among others."""
        return self.modality != "CT"

    def values(self, number: int) -> Stored:
        """The stored values of a frame, `(rows, columns)` or with RGB; raises `PixelsUnreadable`."""
        return read_values(Frame(self.path, number, self.photometric))


def images_of(study: OpenedStudy) -> tuple[Image, ...]:
    """Every image of the study once, a series after the other, each along its patient."""
    images = (read_image(Uid(path.stem), path) for path in study.instances)
    return tuple(sorted(images, key=lambda image: (image.series, image.place, image.uid)))


def read_image(uid: Uid, path: Path) -> Image:
    """An image by its header; one without a readable header has no frames."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        return Image(
            uid=uid,
            path=path,
            series=str(header.get("SeriesInstanceUID", "")),
            modality=str(header.get("Modality", "")),
            photometric=str(header.get("PhotometricInterpretation", "")),
            frames=min(max(1, int(header.get("NumberOfFrames") or 1)), _MOST_FRAMES),
            place=_place(header),
            slope=_number(header, "RescaleSlope", 1.0, _SLOPES),
            intercept=_number(header, "RescaleIntercept", 0.0, _INTERCEPTS),
            window=_window(header),
            spacing=_numbers(header, "PixelSpacing"),
            reference=str(header.get("FrameOfReferenceUID", "")),
        )
    except DAMAGED:
        return Image(uid, path)


def to_grey(stored: Stored) -> Stored:
    """Values of one number a pixel: colours lie side by side, so that nothing of one hides behind another."""
    grey = stored if stored.ndim == 2 else np.concatenate(list(np.moveaxis(stored, -1, 0)), axis=1)
    return grey.astype(np.uint8) if grey.dtype.kind == "b" else grey


def series_of(images: tuple[Image, ...]) -> Iterator[tuple[Image, ...]]:
    """The images of each series."""
    for series in dict.fromkeys(image.series for image in images):
        yield tuple(image for image in images if image.series == series)


def _place(header: Dataset) -> float:
    """Where a slice lies along its normal in mm; where the file does not say, its number."""
    position, axes = _numbers(header, "ImagePositionPatient"), _numbers(header, "ImageOrientationPatient")
    if len(position) == 3 and len(axes) == 6:
        return float(np.cross(axes[:3], axes[3:]) @ np.array(position))
    return _number(header, "InstanceNumber", 0.0)


def _window(header: Dataset) -> Window | None:
    centre, width = _numbers(header, "WindowCenter"), _numbers(header, "WindowWidth")
    if not centre or not width or width[0] < 1:
        return None
    return centre[0] - width[0] / 2, centre[0] + width[0] / 2


def _number(header: Dataset, name: str, otherwise: float, sizes: tuple[float, float] = (0.0, _LARGEST)) -> float:
    numbers = _numbers(header, name)
    return numbers[0] if numbers and sizes[0] <= abs(numbers[0]) <= sizes[1] else otherwise


def _numbers(header: Dataset, name: str) -> tuple[float, ...]:
    """The numbers of an attribute, also where all frames share them; none where it is not so written."""
    values = header.get(name)
    if values is None:
        groups = header.get("SharedFunctionalGroupsSequence") or ()
        macros = (item for group in groups for element in group for item in element.value)
        values = next((item.get(name) for item in macros if name in item), None)
    try:
        numbers = np.atleast_1d(np.array([] if values is None else values, dtype=np.float64))
    except DAMAGED:
        return ()
    return tuple(numbers.tolist()) if (np.abs(numbers) <= _LARGEST).all() else ()
