"""What is new in the frames of a stack, brought together in one picture.

Text on one frame differs from the frame before it and from the one after; text on all is on the first. So the greatest
change of each pixel from frame to frame shows all text but that of the first frame, and the detector runs once.
"""

import numpy as np
from numpy.typing import NDArray

from site_node.pixels.contrast import Values

_APART = 3  # pixels: twice the width of the strokes of small letters
_UNLIKE = (
    1.2  # the spread of a change by the frame's own: 0 of equal frames, 1.4 of any two that have nothing in common
)
_SAMPLED = 4  # every so many pixels


class Changes:
    """The greatest change of each pixel, and of its detail, over frames that are added one after the other."""

    def __init__(self, first: Values) -> None:
        self._before = first
        self._count = 0
        shape = first.shape[:2]
        self.greatest: Values = np.zeros(shape, dtype=np.float32)
        self.detail: Values = np.zeros(shape, dtype=np.float32)
        self._frame = np.zeros(shape, dtype=np.int16)  # in which the detail changed most

    def add(self, values: Values) -> bool:
        """Add the next frame; false where it is unlike the one before, and so must be searched by itself."""
        change = values - self._before
        sample = (slice(None, None, _SAMPLED),) * 2
        alike = bool(change[sample].std() <= _UNLIKE * self._before[sample].std())
        self._before = values
        self._count += 1
        if change.ndim == 3:
            change = np.take_along_axis(change, np.abs(change).argmax(axis=2)[..., None], axis=2)[..., 0]
        if alike and change.any():
            _keep(self.greatest, change)
            changed = _keep(self.detail, _detail(change))
            self._frame[changed] = self._count
        return alike

    def frames_of(self, left: int, top: int, right: int, bottom: int) -> list[int]:
        """The frames, 0 the first, whose text a rectangle may show: after and before its greatest change."""
        place = (slice(max(0, top), bottom), slice(max(0, left), right))
        strong = np.abs(self.detail[place])
        votes = np.bincount(self._frame[place][strong >= strong.max() / 2])
        after = int(votes.argmax())
        return [number for number in (after, after - 1) if number >= 0]


def _keep(kept: Values, new: Values) -> NDArray[np.bool_]:
    """Keep the greater change of each pixel; where it was the new one."""
    greater: NDArray[np.bool_] = np.abs(new) > np.abs(kept)
    np.copyto(kept, new, where=greater)
    return greater


def _detail(change: Values) -> Values:
    """A change less its mean a few pixels away: broad edges of what moved leave little."""
    detail = np.zeros_like(change)
    side = _APART
    middle = change[side:-side, side:-side]
    around = change[: -2 * side, side:-side] + change[2 * side :, side:-side]
    around += change[side:-side, : -2 * side]
    around += change[side:-side, 2 * side :]
    detail[side:-side, side:-side] = middle - around * np.float32(0.25)
    return detail
