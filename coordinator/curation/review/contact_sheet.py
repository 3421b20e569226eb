"""Contact sheets: pictures of a study's images, many on one, for a person who looks at all of them.

A row of a CT stands for `EVERY` slices: one of them in a lung and a soft-tissue window, then the greatest, mean and
least value of all of them at each place, so that a letter on any slice shows. A film is shown in its own window, then
what lies below and what above that window and then all of it, each with as much contrast between two values as there
are pixels of them, and last evened around each place: no letter hides by its value. No text of a header is drawn.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from coordinator.curation.review.images import Image, Window, to_grey
from shared.ids import Uid
from site_node.pixels.contrast import Stored, evened, reduced

EVERY = 8  # slices
LUNG, SOFT_TISSUE = (-1350.0, 150.0), (-160.0, 240.0)  # HU: level -600, width 1500; level 40, width 400
ROWS = 6  # of a CT's sheet
SLICE, FILM = 256, 512  # pixels: the side of a cell
_CAPTION = 24  # pixels
_DARK, _GREY, _LIGHT = 0, 96, 235
_LEVELS = 65_536

Cell = NDArray[np.uint8]


class Row(NamedTuple):
    """Cells that stand beside each other, and the images that they show."""

    cells: tuple[Cell, ...]
    instances: tuple[Uid, ...]
    is_film: bool


class Sheet(NamedTuple):
    """One sheet's picture, and the images that it shows."""

    picture: Picture.Image
    instances: tuple[Uid, ...]


class Slices:
    """The next row of a CT: slices come one by one, and nothing of them is kept but what the row shows."""

    def __init__(self) -> None:
        self._instances: list[Uid] = []
        self._shape: tuple[int, ...] = ()
        self._series = ""
        self._count = 0

    def add(self, image: Image, stored: Stored) -> Iterator[Row]:
        """Add the next slice; a row that is full, or that the slice is not of the shape or series of, comes back."""
        values = to_grey(stored).astype(np.float32) * np.float32(image.slope) + np.float32(image.intercept)
        if self._count and (values.shape != self._shape or image.series != self._series):
            yield self.row()
        if not self._count:
            self._shape, self._series, self._shown = values.shape, image.series, values
            self._greatest, self._least, self._sum = values.copy(), values.copy(), values.astype(np.float64)
        else:
            np.maximum(self._greatest, values, out=self._greatest)
            np.minimum(self._least, values, out=self._least)
            self._sum += values
        if self._count == EVERY // 2:
            self._shown = values
        self._instances.append(image.uid)
        self._count += 1
        if self._count == EVERY:
            yield self.row()

    def rest(self) -> Iterator[Row]:
        """What is left after the last slice."""
        if self._count:
            yield self.row()

    def row(self) -> Row:
        """The row of what was added; the next slice begins another."""
        mean = (self._sum / self._count).astype(np.float32)
        windowed = (in_window(self._shown, LUNG), in_window(self._shown, SOFT_TISSUE))
        projected = (in_window(each, _range(each)) for each in (self._greatest, mean, self._least))
        cells = tuple(cell_of(each, SLICE) for each in (*windowed, *projected))
        row = Row(cells, tuple(dict.fromkeys(self._instances)), is_film=False)
        self._instances, self._count = [], 0
        return row


def film_row(image: Image, stored: Stored) -> Row:
    """A film in its window, below it, above it, by how often its values occur, and evened."""
    grey = to_grey(stored)
    levels, low = _levels(grey)
    window = image.window or tuple(np.percentile(grey, (1, 99)))
    rescaled = np.array(window) if image.window is None else (np.array(window) - image.intercept) / image.slope
    first, last = sorted(((rescaled - low) * levels.scale).tolist())
    counts = np.bincount(levels.values.ravel(), minlength=1)
    places = np.arange(len(counts))
    tables = (
        np.interp(places, (first, max(last, first + 1e-6)), (0, 255)),
        _even(np.where(places < first, counts, 0)),
        _even(np.where(places > last, counts, 0)),
        _even(counts),
    )
    inverted = image.photometric == "MONOCHROME1"
    cells = [table.astype(np.uint8)[levels.values] for table in tables]
    cells.append(evened(reduced(grey, max(1, max(grey.shape) // (2 * FILM)))))
    return Row(tuple(cell_of(255 - cell if inverted else cell, FILM) for cell in cells), (image.uid,), True)


def empty_row(image: Image) -> Row:
    """A cross in the place of an image that cannot be decoded."""
    side = FILM if image.is_film else SLICE
    cross = Picture.new("L", (side, side), _GREY)
    pen = ImageDraw.Draw(cross)
    pen.line((0, 0, side, side), fill=_LIGHT, width=3)
    pen.line((0, side, side, 0), fill=_LIGHT, width=3)
    return Row((np.asarray(cross),), (image.uid,), image.is_film)


def sheets_of(rows: Iterable[Row], case_number: int) -> Iterator[Sheet]:
    """Rows in their order on sheets: six of a CT, one film."""
    waiting = list[Row]()
    number = 1
    for row in rows:
        if waiting and (len(waiting) == ROWS or row.is_film or waiting[0].is_film):
            yield _sheet(waiting, case_number, number)
            waiting, number = [], number + 1
        waiting.append(row)
    if waiting:
        yield _sheet(waiting, case_number, number)


def in_window(values: NDArray[np.float32], window: Window) -> Cell:
    """Values as 8 bits: black at the window's least value and below, white at its greatest and above."""
    low, high = window
    cell: Cell = ((values.clip(low, high) - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return cell


def cell_of(picture: Cell, side: int) -> Cell:
    """A picture within a square of `side` pixels, its proportions kept."""
    image = Picture.fromarray(picture)
    rows, columns = picture.shape
    by = side / max(rows, columns)
    size = (max(1, round(columns * by)), max(1, round(rows * by)))
    square = Picture.new("L", (side, side), _DARK)
    square.paste(image.resize(size, Picture.Resampling.BOX if by < 1 else Picture.Resampling.NEAREST), (0, 0))
    return np.asarray(square)


class _Levels(NamedTuple):
    values: NDArray[np.intp]  # from 0
    scale: float  # levels a stored value


def _levels(grey: Stored) -> tuple[_Levels, float]:
    """Stored values as at most 65,536 levels from 0, and the least value."""
    low, high = float(grey.min()), float(grey.max())
    scale = min(1.0, (_LEVELS - 1) / max(high - low, 1.0))
    if scale == 1.0 and grey.dtype.kind in "iub":
        return _Levels(grey.astype(np.intp) - int(low), 1.0), low
    return _Levels(((grey.astype(np.float64) - low) * scale).astype(np.intp), scale), low


def _even(counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """For each level how many of the counted pixels lie below it, and half of those at it, of 255; 0 for no other."""
    total = (np.cumsum(counts) - counts / 2) * (255 / max(1, counts.sum()))
    evened_levels: NDArray[np.float64] = np.where(counts > 0, total, 0)
    return evened_levels


def _range(values: NDArray[np.float32]) -> Window:
    return float(values.min()), float(values.max())


def _sheet(rows: Sequence[Row], case_number: int, number: int) -> Sheet:
    """Rows below one another under the case's number; a film's cells stand in two lines."""
    side = len(rows[0].cells[0])
    across = 3 if rows[0].is_film else 5
    lines = [row.cells[start : start + across] for row in rows for start in range(0, len(row.cells), across)]
    picture = Picture.new("L", (across * side, _CAPTION + len(lines) * side), _DARK)
    caption = f"Case {case_number}, sheet {number}"
    ImageDraw.Draw(picture).text((6, 3), caption, fill=_LIGHT, font=ImageFont.load_default(16))
    for down, line in enumerate(lines):
        for place, cell in enumerate(line):
            picture.paste(Picture.fromarray(cell), (place * side, _CAPTION + down * side))
    return Sheet(picture, tuple(dict.fromkeys(uid for row in rows for uid in row.instances)))
