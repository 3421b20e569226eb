"""A CT study as so many slices in the lung window: those of its largest series, evenly from one end to the other.

Slices are ordered along the normal of their plane (PS3.3 C.7.6.2.1.1), where that is not said by InstanceNumber;
localizers are left out. All headers are read first, then the pixels of the chosen slices only.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from torch.nn.functional import adaptive_avg_pool2d

from shared.errors.studies import PixelsUnreadable
from site_node.federate.decoded import UNREADABLE, Decoded
from site_node.home.library import LibraryStudy

_CENTRE, _HALF = -600.0, 750.0  # HU: a lung window from -1350 to 150
_HEADER = ["ImageType", "ImageOrientationPatient", "ImagePositionPatient", "InstanceNumber"]


def read_volume(folder: Path, study: LibraryStudy, size: int, slices: int) -> Decoded:
    """The slices, shape (slices, size, size), from -1 to 1 in the window; none where no slice can be read.

    A file that cannot be read is counted, and another slice stands for it. A series with fewer slices has some twice.
    """
    largest = max(
        (series for series in study.series if series.modality == "CT"),
        key=lambda series: (series.instance_count, series.uid),
        default=None,
    )
    files = [folder / each.file for each in study.instances if largest is not None and each.series == largest.uid]
    places = {file: _place(file) for file in files}
    unreadable = sum(place is None for place in places.values())
    ordered = [file for place, file in sorted((place, file) for file, place in places.items() if place)]
    images: dict[Path, npt.NDArray[np.float32]] = {}
    while ordered:
        chosen = [ordered[number] for number in np.linspace(0, len(ordered) - 1, slices).round().astype(int)]
        broken = _read(chosen, size, images)
        if broken is None:
            return Decoded(np.stack([images[file] for file in chosen]), unreadable)
        ordered.remove(broken)
        unreadable += 1
    return Decoded(np.zeros((0, size, size), np.float32), unreadable)


def _place(file: Path) -> tuple[float, ...] | None:
    """Where a slice lies in its series; `()` for a localizer, `None` where that cannot be read."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_HEADER)
        if "LOCALIZER" in (header.get("ImageType") or ()):
            return ()
        plane, position = header.get("ImageOrientationPatient"), header.get("ImagePositionPatient")
        normal = np.cross([float(x) for x in plane[:3]], [float(x) for x in plane[3:]]) if plane else np.zeros(3)
        along = float(np.dot(normal, [float(x) for x in position])) if position else 0.0
        place = along, float(header.get("InstanceNumber") or 0)
    except UNREADABLE:
        return None
    return place if np.isfinite(place).all() else None


def _read(files: Sequence[Path], size: int, images: dict[Path, npt.NDArray[np.float32]]) -> Path | None:
    """Read those of the slices that `images` has not; returns the first that cannot be read."""
    for file in files:
        if file not in images:
            try:
                images[file] = read_slice(file, size)
            except PixelsUnreadable:
                return file
    return None


def in_units(windowed: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Slices in the lung window as Hounsfield units, those beyond the window as its ends."""
    return windowed * np.float32(_HALF) + np.float32(_CENTRE)


def read_slice(file: Path, size: int) -> npt.NDArray[np.float32]:
    """A slice in the lung window, shape (size, size); raises `PixelsUnreadable`."""
    try:
        dataset = pydicom.dcmread(file)
        slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
        units = dataset.pixel_array.astype(np.float32) * slope + intercept
    except UNREADABLE as error:
        raise PixelsUnreadable(type(error).__name__) from error
    if units.ndim != 2 or not np.isfinite(units).all():
        raise PixelsUnreadable("no slice of finite pixels")
    window = torch.from_numpy(np.clip((units - _CENTRE) / _HALF, -1, 1).astype(np.float32))
    small: npt.NDArray[np.float32] = adaptive_avg_pool2d(window[None, None], size)[0, 0].numpy()
    return small
