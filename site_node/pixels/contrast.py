"""Stored values as an 8-bit picture in which text shows, whatever its level: evened by the mean and spread around it.

A label of 3300 on 4095 is as plain as one of 60 on 0, and text over bone as text over air; no window is chosen, and a
few odd pixels decide nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Stored = NDArray[Any]  # numbers of any type
Values = NDArray[np.float32]
Picture = NDArray[np.uint8]
_TILE = 8  # pixels, unless a caller says otherwise; mean and spread are taken over `_AROUND` tiles each way
_AROUND = 2
_SPREADS = 2.0  # so many standard deviations are half way from grey to black or white
_LEAST = 0.01  # of the picture's whole spread: noise of an even area is not enlarged further


def reduced(stored: Stored, factor: int) -> Values:
    """Means over squares of `factor` pixels; what is left over at the right and bottom edge is continued."""
    if factor == 1:
        return stored.astype(np.float32)
    rows, columns = stored.shape[:2]
    edges = [(0, -rows % factor), (0, -columns % factor), *[(0, 0)] * (stored.ndim - 2)]
    whole = np.pad(stored, edges, mode="edge") if edges[0][1] or edges[1][1] else stored
    rows = np.zeros((whole.shape[0] // factor, *whole.shape[1:]), dtype=np.float32)
    for row in range(factor):
        rows += whole[row::factor]
    means = np.zeros((rows.shape[0], rows.shape[1] // factor, *rows.shape[2:]), dtype=np.float32)
    for column in range(factor):
        means += rows[:, column::factor]
    return means * np.float32(1 / factor**2)


def evened(values: Values, tile: int = _TILE) -> Picture:
    """`(rows, columns)` or with colours as 8 bits, each colour by itself."""
    if values.ndim == 3:
        return np.stack([evened(colour, tile) for colour in np.moveaxis(values, -1, 0)], axis=-1)
    middle = values - np.float32(values.mean())
    mean = _around(middle, tile)
    spread = spread_around(middle, tile) + np.float32(_LEAST) * middle.std() + np.float32(1e-6)
    apart = (middle - _enlarged(mean, values.shape, tile)) * _enlarged(
        1 / (np.float32(_SPREADS) * spread), values.shape, tile
    )
    picture: Picture = (apart * np.float32(127) / (1 + np.abs(apart)) + 128).astype(np.uint8)
    return picture


def spread_around(values: Values, tile: int = _TILE) -> Values:
    """The standard deviation of `(rows, columns)` over each tile and the tiles around it."""
    middle = values - np.float32(values.mean())
    spread: Values = np.sqrt((_around(middle * middle, tile) - _around(middle, tile) ** 2).clip(0))
    return spread


def stretched(values: Stored) -> Picture:
    """All values between the least and the greatest as 8 bits."""
    low, high = float(values.min()), float(values.max())
    picture: Picture = ((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    return picture


def _around(values: Values, tile: int) -> Values:
    """Means over tiles and the tiles around them: one number a tile."""
    tiles = reduced(values, tile)
    side = 2 * _AROUND + 1
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(tiles, _AROUND, mode="edge"), (side, side))
    means: Values = windows.mean(axis=(2, 3))
    return means


def _enlarged(tiles: Values, shape: tuple[int, ...], tile: int) -> Values:
    """One number a tile as one a pixel, in between by straight lines."""
    rows, columns = shape
    size = (tiles.shape[1] * tile, tiles.shape[0] * tile)
    return np.asarray(Image.fromarray(tiles).resize(size, Image.Resampling.BILINEAR))[:rows, :columns]


def thin(values: Values, width: int) -> Values:
    """What is thinner than `width` pixels (odd), brighter than its surroundings or darker; a step leaves nothing."""
    opened = _filtered(_filtered(values, np.minimum, width), np.maximum, width)
    closed = _filtered(_filtered(values, np.maximum, width), np.minimum, width)
    strokes: Values = 2 * values - opened - closed
    return strokes


def _filtered(values: Values, choose: np.ufunc, width: int) -> Values:
    """The least or the greatest value of a square around each pixel."""
    for axis in (0, 1):
        edges = [(0, 0)] * values.ndim
        edges[axis] = (width // 2, width // 2)
        padded = np.moveaxis(np.pad(values, edges, mode="edge"), axis, 0)
        count = values.shape[axis]
        chosen = padded[:count]
        for shift in range(1, width):
            chosen = choose(chosen, padded[shift : shift + count])
        values = np.moveaxis(chosen, 0, axis)
    return values
