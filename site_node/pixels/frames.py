"""Which frames of a study are searched for text, and each of them as an 8-bit picture.

Text may be on any frame of a film, a secondary capture or an ultrasound. In a CT series it is, if anywhere, on the
first or last image (a dose sheet, a scout), so those are searched, by position and by number, for each matrix size in
the series. All frames of any other object are searched.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import apply_color_lut, pixel_array

from shared.errors import PixelsUnreadable
from site_node.pixels.frame import Frame

_HEADER = [
    "SOPClassUID", "Modality", "ImageType", "BurnedInAnnotation", "NumberOfFrames", "Rows", "Columns",
    "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient",
]  # fmt: skip
CT = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCEDCT = (f"{CT}.1", f"{CT}.2")  # Enhanced CT, Legacy Converted Enhanced CT
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles; a few odd pixels must not decide what is black and white
_GREY, _COLOUR = 2, 3  # dimensions of a picture


def choose_frames(paths: Iterable[Path]) -> tuple[Frame, ...]:
    """The frames to search, in the order of `paths`; raises `PixelsUnreadable` where a file has no header."""
    chosen: set[Frame] = set()
    slices: dict[tuple[str, int, int], list[tuple[Path, pydicom.Dataset]]] = {}
    for path in paths:
        header = _header(path)
        count = int(header.get("NumberOfFrames") or 1)
        if _is_searched_whole(header):
            chosen.update(Frame(path, index, _declares_text(header)) for index in range(count))
        elif header.SOPClassUID in _ENHANCEDCT:
            chosen.update({Frame(path, 0), Frame(path, count - 1)})
        else:
            matrix = (str(header.get("SeriesInstanceUID")), int(header.Rows), int(header.Columns))
            slices.setdefault(matrix, []).append((path, header))
    for members in slices.values():
        chosen.update(Frame(path, 0) for path in _ends(members))
    return tuple(sorted(chosen))


def read_picture(frame: Frame) -> NDArray[np.uint8]:
    """One frame as `(rows, columns)` or `(rows, columns, 3)` in RGB, 0 black; raises `PixelsUnreadable`.

    Grey values are stretched between robust percentiles, and MONOCHROME1 is inverted (PS3.3 C.7.6.3.1.2).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            header = pydicom.dcmread(frame.path, stop_before_pixels=True)
            inverted = str(header.PhotometricInterpretation) == "MONOCHROME1"
            stored = pixel_array(frame.path, index=frame.number)
            if header.PhotometricInterpretation == "PALETTE COLOR":
                stored = apply_color_lut(stored, header)
    except Exception as error:
        # pydicom and the decoders raise nearly anything on a broken frame; the texts may quote values
        raise PixelsUnreadable from error
    colour = stored.ndim == _COLOUR and stored.shape[-1] == 3
    if stored.size == 0 or not (stored.ndim == _GREY or colour):
        raise PixelsUnreadable
    grey = _stretched(stored)
    return np.full_like(grey, 255) - grey if inverted else grey


def _stretched(stored: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Any numbers as 0..255; a picture of one value is black."""
    if stored.dtype == np.uint8 and stored.ndim == _COLOUR:
        return stored.astype(np.uint8)
    values = np.nan_to_num(stored.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, (_DARKEST, _BRIGHTEST))
    if high <= low:
        low, high = values.min(), values.max()
    scaled = (values - low) * (255.0 / max(float(high - low), 1e-6))
    picture: NDArray[np.uint8] = scaled.clip(0, 255).astype(np.uint8)
    return picture


def _header(path: Path) -> pydicom.Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_HEADER)
            int(header.Rows), int(header.Columns), int(header.get("NumberOfFrames") or 1), header.SOPClassUID
    except Exception as error:
        # as above; a file without a matrix holds no picture to search
        raise PixelsUnreadable from error
    return header


def _is_searched_whole(header: pydicom.Dataset) -> bool:
    """Whether every frame is searched: in all objects but plain CT images."""
    if header.SOPClassUID not in (CT, *_ENHANCEDCT) or _declares_text(header):
        return True
    image_type = header.get("ImageType") or ()
    return "LOCALIZER" in image_type or "SCREEN SAVE" in image_type


def _declares_text(header: pydicom.Dataset) -> bool:
    return str(header.get("BurnedInAnnotation", "")).strip().upper() == "YES"


def _ends(members: Sequence[tuple[Path, pydicom.Dataset]]) -> set[Path]:
    """The first and the last slice, by position along the slices' normal and by number."""
    by_number = [(_number(header), path) for path, header in members]
    by_position = [(where, path) for path, header in members if (where := _position(header)) is not None]
    return {end(group)[1] for group in (by_number, by_position) if group for end in (min, max)}


def _number(header: pydicom.Dataset) -> int:
    try:
        return int(header.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0


def _position(header: pydicom.Dataset) -> float | None:
    """Where a slice lies along its normal in mm; `None` where the file does not say."""
    try:
        across, down = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        return float(np.cross(across, down) @ np.array(header.ImagePositionPatient, dtype=float))
    except (AttributeError, TypeError, ValueError):
        return None
