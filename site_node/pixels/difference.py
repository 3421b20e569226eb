"""Where frames of a stack show what the frames beside them do not: there the detector looks for text.

Text on one frame is not on the frame before it nor on the one after, while edges of organs go on moving the same way
and so lie between the two. Text on several frames begins by a step. Both are compared, tile by tile, with the same two
frames away, around the tile: there are noise and the organs that move, but not yet or no longer the text.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from site_node.pixels.box import Box
from site_node.pixels.contrast import Stored, Values, reduced
from site_node.pixels.strokes import boxes_around

_TILE = 16  # pixels
_FEWEST = 6  # frames: in fewer there is not enough to compare with
_AWAY = 2  # frames
_MORE = 1.4  # times the greatest spread of the tiles around, that many frames away
_LEAST = 0.002  # of the range of values: a lesser spread is none
_UNLIKE = (
    1.2  # the spread of a change by the frame's own: 0 of equal frames, 1.4 of any two that have nothing in common
)
_SAMPLED = (slice(None, None, 4),) * 2

Marked = NDArray[np.bool_]


def outliers(stack: Sequence[Stored]) -> list[list[Box] | None]:
    """The boxes of each frame in which it stands out; `None` of frames that cannot be compared with both beside them.

    Those are the first, the last, and what has nothing in common with the frame before it or after.
    """
    if len(stack) < _FEWEST:
        return [None] * len(stack)
    alone = {0, len(stack) - 1}
    steps, apart, least = list[Values](), list[Values](), 0.0
    before, here = None, reduced(stack[0], 1)
    for number, stored in enumerate(stack[1:], start=1):
        after = reduced(stored, 1)
        step = after - here
        if step[_SAMPLED].std() > _UNLIKE * here[_SAMPLED].std():
            alone |= {number - 1, number}
        steps.append(_spread(step))
        if before is not None:
            apart.append(_spread(peaks(before, here, after)))
        least = max(least, _LEAST * float(np.ptp(here[_SAMPLED])))
        before, here = here, after
    marked = _apart(np.stack(apart), least) | _begun(np.stack(steps), least)[:-1]
    return [
        None if number in alone else boxes_around(_joined(marked[number - 1]), _TILE) for number in range(len(stack))
    ]


def peaks(before: Values, here: Values, after: Values) -> Values:
    """By how much each pixel of a frame is above both of the frames beside it, or below both."""
    between = np.clip(here, np.minimum(before, after), np.maximum(before, after))
    return np.subtract(here, between, out=between)


def _spread(values: Values) -> Values:
    """The standard deviation within each tile, of the colour in which it is greatest."""
    squares = reduced(values * values, _TILE) - np.square(reduced(values, _TILE))
    spread: Values = np.sqrt(squares.clip(0))
    return spread if spread.ndim == 2 else spread.max(axis=2)


def _begun(steps: Values, least: float) -> Marked:
    """Where a step, `(steps, rows, columns)` of tiles, is greater than those before it."""
    around = _greatest_around(steps)
    usual = np.broadcast_to(np.median(around, axis=0), (_AWAY, *around.shape[1:]))
    marked: Marked = steps > np.float32(_MORE) * np.maximum(np.concatenate((usual, around[:-_AWAY])), least)
    return marked


def _apart(spreads: Values, least: float) -> Marked:
    """Where a frame stands out of those beside it more than the frames before do and the frames after."""
    around = _greatest_around(spreads)
    before = np.concatenate((around[_AWAY : 2 * _AWAY], around[:-_AWAY]))
    after = np.concatenate((around[_AWAY:], around[-2 * _AWAY : -_AWAY]))
    marked: Marked = spreads > np.float32(_MORE) * np.maximum(np.maximum(before, after), least)
    return marked


def _greatest_around(tiles: Values) -> Values:
    for axis in (1, 2):
        edges = [(0, 0), (0, 0), (0, 0)]
        edges[axis] = (1, 1)
        padded = np.moveaxis(np.pad(tiles, edges, mode="edge"), axis, 0)
        tiles = np.moveaxis(np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:]), 0, axis)
    return tiles


def _joined(marked: Marked) -> Marked:
    """Tiles with another beside them: no word is shorter."""
    padded = np.pad(marked.astype(np.int8), 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    joined: Marked = marked & (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] > 1)
    return joined
