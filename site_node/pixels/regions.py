"""From a map of probabilities to rectangles: each connected region of likely pixels, as a turned rectangle around it.

The rules are those by which the detector was trained: Liao et al., Real-time Scene Text Detection with Differentiable
Binarization (2020), section 3.4.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LIKELY = 0.3  # a pixel's probability
_SMALLEST = 3  # pixels of the map; a lower region is none
_GROWN = 1.6  # the detector marks the core of a text; the rectangle grows by this much of its area by its outline
_ANGLES = np.deg2rad(np.arange(0, 90, 2, dtype=np.float32))
_FLAT = 1.5  # side by side, below which a rectangle does not say which way its text runs

Corners = NDArray[np.float32]


class Region(NamedTuple):
    """Corners `(4, 2)` as x, y, clockwise from where the text would begin, and the mean probability within, 0 to 1."""

    corners: Corners
    score: float

    @property
    def height(self) -> float:
        """The shorter side in pixels: the height of its letters, whichever way they run."""
        return min(_sides(self.corners))

    @property
    def aspect(self) -> float:
        """The longer side by the shorter."""
        return max(_sides(self.corners)) / max(self.height, 1.0)

    def placed(self, factor: float, left: int = 0, top: int = 0) -> "Region":
        """The region in a picture `factor` times as large, or of which this one is a part that begins there."""
        return Region(self.corners * np.float32(factor) + np.array((left, top), dtype=np.float32), self.score)

    def longer(self, before: float, after: float) -> "Region":
        """The region with so many heights more before its text begins, and after it ends."""
        along = self.corners[1] - self.corners[0]
        height = along * np.float32(self.height / max(float(np.linalg.norm(along)), 1.0))
        by = np.array((-before, after, after, -before), dtype=np.float32)
        return self._replace(corners=self.corners + by[:, None] * height)

    def is_same(self, other: "Region") -> bool:
        """Whether the other's centre lies in this one, which is at most twice as high."""
        along, down = self.corners[1] - self.corners[0], self.corners[3] - self.corners[0]
        there = other.corners.mean(axis=0) - self.corners[0]
        inside = 0 <= there @ along <= along @ along and 0 <= there @ down <= down @ down
        return bool(inside and self.height <= 2 * other.height)


def regions(probability: NDArray[np.float32], least: float) -> list[Region]:
    """The regions whose mean probability is at least `least`."""
    rectangles = [_rectangle(outline) for outline in outlines(probability > _LIKELY)]
    scored = [(corners, _mean(probability, corners)) for corners in rectangles if min(_sides(corners)) >= _SMALLEST]
    return [Region(_grown(corners), score) for corners, score in scored if score >= least]


def outlines(mask: NDArray[np.bool_]) -> list[Corners]:
    """The end points of the runs of each 8-connected region, `(points, 2)` as x, y."""
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = run = parent[parent[run]]
        return run

    above = 0
    for run, (row, start, end) in enumerate(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < start):
            above += 1
        touching = above
        while rows[touching] == row - 1 and starts[touching] <= end:
            parent[root(run)] = root(touching)
            touching += 1
    roots = np.array([root(run) for run in range(len(rows))], dtype=np.intp)
    order = np.argsort(roots, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(roots[order])) + 1) if len(order) else []
    corners = [(starts, rows), (ends, rows), (starts, rows + 1), (ends, rows + 1)]
    return [
        np.concatenate([np.stack((x[group], y[group]), axis=1) for x, y in corners]).astype(np.float32)
        for group in groups
    ]


def _rectangle(points: Corners) -> Corners:
    """The smallest rectangle around `points`, to two degrees; text runs along its longer side, or else to the right."""
    along = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)))  # (2, angles)
    down = np.stack((-along[1], along[0]))
    placed = np.stack((points @ along, points @ down))  # (2, points, angles)
    lows, highs = placed.min(axis=1), placed.max(axis=1)
    best = int(np.argmin((highs - lows).prod(axis=0)))
    (left, top), (right, bottom) = lows[:, best], highs[:, best]
    axes = np.stack((along[:, best], down[:, best]))
    corners = np.array(((left, top), (right, top), (right, bottom), (left, bottom)), dtype=np.float32) @ axes
    width, height = right - left, bottom - top
    if _ANGLES[best] <= np.pi / 4:
        turns = -1 if height >= _FLAT * width else 0
    else:
        turns = 0 if width >= _FLAT * height else 1
    rectangle: Corners = np.roll(corners, turns, axis=0)
    return rectangle


def _sides(corners: Corners) -> tuple[float, float]:
    return float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[2] - corners[1]))


def _mean(probability: NDArray[np.float32], corners: Corners) -> float:
    """The mean probability within a rectangle."""
    width, height = (max(2, round(side)) for side in _sides(corners))
    u, v = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    points = corners[0] + u[None, :, None] * (corners[1] - corners[0]) + v[:, None, None] * (corners[3] - corners[0])
    x, y = points.astype(np.intp).transpose(2, 0, 1)
    rows, columns = probability.shape
    return float(probability[y.clip(0, rows - 1), x.clip(0, columns - 1)].mean())


def _grown(corners: Corners) -> Corners:
    """The rectangle, its sides moved out."""
    width, height = _sides(corners)
    by = width * height * _GROWN / (2 * (width + height))
    along, down = (corners[1] - corners[0]) * (by / width), (corners[3] - corners[0]) * (by / height)
    moved = np.array((-along - down, along - down, along + down, down - along), dtype=np.float32)
    grown: Corners = corners + moved
    return grown
