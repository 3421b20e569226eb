"""A film as a reading page shows it: its stored values at full depth and how to window them, and nothing of its header.

A browser's canvas has 8 bits a pixel, so the page gets the values and windows them itself (PS3.3, C.11.2).
"""

import gzip
import io
from pathlib import Path
from struct import error
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from shared.errors.inputs import FilmUnreadable
from shared.frozen import Frozen

_MOST_PIXELS = 64 << 20
_DARKEST, _BRIGHTEST = 0.5, 99.5  # percentiles, where a film names no window
_DAMAGED = (InvalidDicomError, OSError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, error)
_DAMAGED_PIXELS = (*_DAMAGED, RuntimeError, IndexError, MemoryError)

Values = NDArray[np.uint16]  # rows x columns


class FilmFacts(Frozen):
    """What is needed to show a film: its size in pixels, its window in stored values from 0, and whether 0 is white."""

    rows: int
    columns: int
    largest: int  # the highest value that its bits can hold
    center: float | None = None
    width: float | None = None
    inverted: bool = False


def film_facts(file: Path) -> FilmFacts:
    """Read a film's header; raises `FilmUnreadable` for what is no film of shades of grey."""
    return _facts(_read(file, stop_before_pixels=True))


def film_values(file: Path) -> Values:
    """The stored values from 0, rows x columns; raises `FilmUnreadable` where they cannot be decoded."""
    dataset = _read(file, stop_before_pixels=False)
    facts = _facts(dataset)
    try:
        stored = dataset.pixel_array.astype(np.int32) + _offset(dataset)
    except _DAMAGED_PIXELS as damage:
        raise FilmUnreadable(type(damage).__name__, problem="its pixels cannot be decoded") from damage
    if stored.shape != (facts.rows, facts.columns) or stored.min() < 0 or stored.max() > np.iinfo(np.uint16).max:
        raise FilmUnreadable(problem="its pixels are not those that its header describes")
    return np.asarray(stored, np.uint16)


def packed(values: Values) -> bytes:
    """The values row by row as 16-bit little-endian numbers, compressed by gzip."""
    return gzip.compress(values.astype("<u2", copy=False).tobytes(), compresslevel=1, mtime=0)


def as_png(values: Values, facts: FilmFacts) -> bytes:
    """The film in its own window at 8 bits, for a browser without scripts."""
    if facts.center is None or facts.width is None:
        low, high = np.percentile(values, (_DARKEST, _BRIGHTEST))
    else:
        low, high = facts.center - facts.width / 2, facts.center + facts.width / 2
    grey = ((values.astype(np.float32) - low) * (255 / max(high - low, 1))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(255 - grey if facts.inverted else grey).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _read(file: Path, *, stop_before_pixels: bool) -> Dataset:
    try:
        return dcmread(file, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError as damage:
        raise FilmUnreadable(problem="it is here no more") from damage
    except _DAMAGED as damage:
        raise FilmUnreadable(type(damage).__name__, problem="its header cannot be read") from damage


def _facts(dataset: Dataset) -> FilmFacts:
    try:
        return _described(dataset)
    except _DAMAGED as damage:
        raise FilmUnreadable(type(damage).__name__, problem="its header cannot be read") from damage


def _described(dataset: Dataset) -> FilmFacts:
    photometric = str(dataset.PhotometricInterpretation)
    rows, columns, bits = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsStored)
    frames = int(dataset.get("NumberOfFrames") or 1)
    slope, intercept = (_number(dataset, name, default) for name, default in _RESCALE)
    center, width = _number(dataset, "WindowCenter", None), _number(dataset, "WindowWidth", None)
    if not photometric.startswith("MONOCHROME") or frames != 1 or not 1 <= bits <= 16:
        raise FilmUnreadable(problem="it is not a single frame in shades of grey")
    if not 0 < rows * columns <= _MOST_PIXELS:
        raise FilmUnreadable(problem="it has no pixels, or too many")
    has_window = center is not None and width is not None and width > 0 and slope
    return FilmFacts(
        rows=rows,
        columns=columns,
        largest=(1 << bits) - 1,
        center=(center - (intercept or 0)) / slope + _offset(dataset) if has_window else None,
        width=abs(width / slope) if has_window else None,
        inverted=photometric == "MONOCHROME1",
    )


_RESCALE: tuple[tuple[str, float | None], ...] = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))


def _number(dataset: Dataset, name: str, default: float | None) -> Any:
    value = dataset.get(name)
    first = value[0] if isinstance(value, MultiValue) and value else value
    return default if first is None or first == "" else float(first)


def _offset(dataset: Dataset) -> int:
    """What makes the lowest value that its bits can hold 0."""
    return 1 << (int(dataset.BitsStored) - 1) if int(dataset.get("PixelRepresentation", 0)) else 0
