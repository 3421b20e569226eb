"""Which stacks of frames a study has, and the stored values of a frame.

Slices of a CT series are one picture after another along the patient, frames of a multi-frame object in time or space:
text on some of them is not on the frame before. What declares text, a localizer and a screen are searched alone.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array

from shared.errors.studies import PixelsUnreadable
from site_node.pixels.contrast import Stored
from site_node.pixels.frame import Frame, Stack

_HEADER = [
    "SOPClassUID", "ImageType", "BurnedInAnnotation", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel",
    "PhotometricInterpretation", "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient",
]  # fmt: skip
CT = "1.2.840.10008.5.1.4.1.1.2"
_DEEPEST = 32  # frames of a stack: more would hide faint text behind the noise of all the others
_LARGEST = 1 << 25  # pixels of a stack, which are in memory together
_GREY, _COLOUR = 2, 3  # dimensions of a picture


def choose_stacks(paths: Iterable[Path]) -> tuple[Stack, ...]:
    """Every frame of every file, in one stack each; raises `PixelsUnreadable` where a file has no header."""
    stacks: list[Stack] = []
    slices: dict[tuple[str, int, int, int], list[tuple[Path, pydicom.Dataset]]] = {}
    for path in sorted(paths):
        header = _header(path)
        frames = [
            Frame(path, number, _photometric(header), _declares_text(header))
            for number in range(int(header.get("NumberOfFrames") or 1))
        ]
        if _declares_text(header):
            stacks += [Stack((frame,)) for frame in frames]
        elif len(frames) > 1 or not _is_slice(header):
            stacks += _parts(frames, header)
        else:
            matrix = (int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1))
            slices.setdefault((str(header.get("SeriesInstanceUID")), *matrix), []).append((path, header))
    for members in slices.values():
        stacks += _parts(_in_order(members), members[0][1])
    return tuple(stacks)


def read_values(frame: Frame) -> Stored:
    """A frame's stored values, `(rows, columns)` or `(rows, columns, 3)` in RGB; raises `PixelsUnreadable`.

    Floats are brought to 0..65535, what is not a number to 0.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            stored = pixel_array(frame.path, index=frame.number)
            if frame.photometric == "PALETTE COLOR":
                stored = apply_color_lut(stored, pydicom.dcmread(frame.path, stop_before_pixels=True))
    except Exception as error:
        # pydicom and the decoders raise nearly anything on a broken frame; the texts may quote values
        raise PixelsUnreadable from error
    colour = stored.ndim == _COLOUR and stored.shape[-1] == 3
    if stored.size == 0 or not (stored.ndim == _GREY or colour):
        raise PixelsUnreadable
    return stored if stored.dtype.kind in "iub" else _levelled(stored)


def _levelled(stored: Stored) -> Stored:
    values = stored.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, dtype=np.float32)
    low, high = values[finite].min(), values[finite].max()
    level = (values / 2 - low / 2) * (65535 / max(high / 2 - low / 2, 1e-300))  # halves: the range itself may overflow
    return np.where(finite, level, 0).astype(np.float32)


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


def _parts(frames: Sequence[Frame], header: pydicom.Dataset) -> Iterator[Stack]:
    """Frames in order, as stacks that follow each other."""
    deep = max(1, min(_DEEPEST, _LARGEST // max(1, int(header.Rows) * int(header.Columns))))
    for start in range(0, len(frames), deep):
        after = start + deep
        beside = (frames[start - 1] if start else None, frames[after] if after < len(frames) else None)
        yield Stack(tuple(frames[start:after]), *beside)


def _is_slice(header: pydicom.Dataset) -> bool:
    """Whether a file is one of the slices of a CT series."""
    image_type = header.get("ImageType") or ()
    return header.SOPClassUID == CT and "LOCALIZER" not in image_type and "SCREEN SAVE" not in image_type


def _photometric(header: pydicom.Dataset) -> str:
    return str(header.get("PhotometricInterpretation", ""))


def _declares_text(header: pydicom.Dataset) -> bool:
    return str(header.get("BurnedInAnnotation", "")).strip().upper() == "YES"


def _in_order(members: Sequence[tuple[Path, pydicom.Dataset]]) -> list[Frame]:
    """Slices by position along their normal, or where a file does not say it, by number."""
    places = [_position(header) for _, header in members]
    if any(place is None for place in places):
        places = [0.0] * len(members)
    numbered = zip(
        places,
        (_number(header) for _, header in members),
        (Frame(path, 0, _photometric(header)) for path, header in members),
        strict=True,
    )
    return [frame for _, _, frame in sorted(numbered)]


def _number(header: pydicom.Dataset) -> int:
    try:
        return int(header.get("InstanceNumber") or 0)
    except (TypeError, ValueError):
        return 0


def _position(header: pydicom.Dataset) -> float | None:
    """Where a slice lies along its normal in mm; `None` where the file does not say."""
    try:
        across, down = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        place = float(np.cross(across, down) @ np.array(header.ImagePositionPatient, dtype=float))
    except (AttributeError, TypeError, ValueError):
        return None
    return place if np.isfinite(place) else None
