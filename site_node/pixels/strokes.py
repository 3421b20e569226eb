"""Where a picture has strokes: what is thin and stands out of the noise around it, as small letters do."""

import numpy as np
from numpy.typing import NDArray

from site_node.pixels.box import Box
from site_node.pixels.contrast import Values, reduced, spread_around
from site_node.pixels.regions import outlines

_TILE = 16  # pixels of the picture at half size
_ABOVE = 6.0  # times the mean detail of the even tiles around: a stroke's detail
_OF_SPREAD = 0.4  # and of the spread of values around
_SHARE = 0.03  # of a tile's pixels that are strokes
_AROUND = 3  # tiles each way among which the least detail is the noise


def stroke_windows(half: Values) -> list[Box]:
    """Where letters may be in a picture at half size, in its pixels, with a tile around them."""
    middle = half[1:-1, 1:-1]
    detail = np.abs(4 * middle - half[:-2, 1:-1] - half[2:, 1:-1] - half[1:-1, :-2] - half[1:-1, 2:])
    if detail.ndim == 3:
        detail = detail.max(axis=2)
    detail = np.pad(detail, [(1, 1), (1, 1)])
    noise, spread = _least_around(_tiles(detail)), spread_around(half if half.ndim == 2 else half.mean(axis=2), _TILE)
    rows, columns = detail.shape
    least = np.maximum(noise * np.float32(_ABOVE), spread * np.float32(_OF_SPREAD))
    limit = np.repeat(np.repeat(least, _TILE, axis=0), _TILE, axis=1)[:rows, :columns]
    share = _tiles((detail > limit + np.float32(1e-3)).astype(np.float32))
    return boxes_around(share > _SHARE, _TILE)


def _tiles(values: Values) -> Values:
    return reduced(values, _TILE)


def _least_around(tiles: Values) -> Values:
    """A low value among the tiles around each."""
    padded = np.pad(tiles, _AROUND, mode="reflect" if min(tiles.shape) > _AROUND else "edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (2 * _AROUND + 1,) * 2)
    return np.percentile(around, 25, axis=(2, 3)).astype(np.float32)


def boxes_around(marked: NDArray[np.bool_], tile: int) -> list[Box]:
    """Marked tiles and those beside them, joined, as boxes in pixels."""
    wide = np.pad(marked, 1)
    wide = wide[:-2] | wide[1:-1] | wide[2:]
    wide = wide[:, :-2] | wide[:, 1:-1] | wide[:, 2:]
    boxes = []
    for outline in outlines(wide):
        left, top = (outline.min(axis=0) * tile).astype(int)
        right, bottom = (outline.max(axis=0) * tile).astype(int)
        boxes.append(Box(int(left), int(top), int(right), int(bottom)))
    return boxes
