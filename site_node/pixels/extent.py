"""How far a text goes on beyond what the detector saw of it: along its line, and over the frames of a stack.

Of a long text, or one over an edge of what is behind it, the detector often leaves out letters or a word at the ends.
In a stack it looks at a text only where it begins.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from site_node.pixels.box import Box
from site_node.pixels.contrast import Stored, Values, reduced, thin
from site_node.pixels.regions import Region

FARTHEST = 5  # heights beyond each end
HEIGHT = 24  # pixels to which a text is brought
_BIN = 4  # of those pixels along the line: enough for a mean that noise hardly moves
_BEYOND = FARTHEST * HEIGHT // _BIN
_GAP = 1.25 * HEIGHT / _BIN  # bins without ink, as between words
_SHARE = 0.3  # of the text's own ink ...
_ABOVE = 1.35  # and so many times what most of the line around it shows: ink
_ALIKE = 0.5  # correlation of strokes with those of the frame where the text begins


def extended(region: Region, inks: Sequence[Values]) -> Region:
    """The region as long as its text is in any of `inks`, `(rows, columns)`, that are 0 or noise where no ink is."""
    before, after = np.max([_ends(region, ink) for ink in inks], axis=0)
    return region.longer(before, after)


def _ends(region: Region, ink: Values) -> tuple[float, float]:
    """How many heights ink goes on before the region, and after it."""
    profile = _profile(region, ink)
    usual, own = np.percentile(profile, 20), np.median(profile[_BEYOND:-_BEYOND])
    inked = profile > max(_ABOVE * usual, usual + _SHARE * (own - usual))
    return _reach(inked[:_BEYOND][::-1]), _reach(inked[-_BEYOND:])


def _reach(inked: NDArray[np.bool_]) -> float:
    """How many heights ink goes on from the beginning, over gaps as between words."""
    reach = 0
    for place in np.flatnonzero(inked).tolist():
        if place - reach > _GAP:
            break
        reach = place + 1
    return reach * _BIN / HEIGHT


def _profile(region: Region, ink: Values) -> Values:
    """The root mean square of ink in each bin of a line, from `FARTHEST` heights before the region to as far after."""
    scale = region.height / HEIGHT
    start, along, _, down = region.longer(FARTHEST, FARTHEST).corners
    bins = 2 * _BEYOND + max(1, round(float(np.linalg.norm(region.corners[1] - region.corners[0])) / scale / _BIN))
    rows = max(1, round(float(np.linalg.norm(down - start)) / scale))
    across, below = (along - start) / (bins * _BIN), (down - start) / rows
    step = (across[0], below[0], start[0], across[1], below[1], start[1])
    line = Image.fromarray(ink).transform(
        (bins * _BIN, rows), Image.Transform.AFFINE, tuple(map(float, step)), Image.Resampling.BILINEAR
    )
    profile: Values = np.sqrt(np.square(np.asarray(line)).reshape(rows, bins, _BIN).mean(axis=(0, 2)))
    return profile


def frames_with(stack: Sequence[Stored], first: int, box: Box, stroke: int) -> Iterator[int]:
    """The frames next to `first`, on both sides, that show the strokes which are new on it within the box."""
    strokes, before = (thin(_part(stack[number], box), stroke) for number in (first, max(first - 1, 0)))
    new = np.abs(strokes - before) if first else np.abs(strokes)
    inked = new > np.percentile(new, 99) / 2
    if first and strokes[inked].std() < before[inked].std():
        return  # here a text ends
    ways: tuple[Iterable[int], ...] = (range(first + 1, len(stack)), range(first - 1, -1, -1))
    for way in ways:
        for number in way:
            if not _alike(strokes[inked], thin(_part(stack[number], box), stroke)[inked]):
                break
            yield number


def _part(stored: Stored, box: Box) -> Values:
    return reduced(stored[box.top : box.bottom, box.left : box.right], 1)


def _alike(strokes: Values, others: Values) -> bool:
    """Whether two vectors go up and down together."""
    return bool(strokes.std() and others.std()) and float(np.corrcoef(strokes, others)[0, 1]) > _ALIKE
