"""What stands out of the frames of a stack, brought together in one picture, on which the detector runs once.

Text on one frame is not on the frame before it nor on the one after, while edges of organs go on moving the same way
and so lie between the two. Text on several frames, as white or black as annotations are, begins by a great step.
"""

from collections.abc import Sequence

import numpy as np

from site_node.pixels.contrast import Values

_APART = 3  # pixels: twice the width of the strokes of small letters
_UNLIKE = (
    1.2  # the spread of a change by the frame's own: 0 of equal frames, 1.4 of any two that have nothing in common
)
_STEP = 0.4  # of a frame's whole range
_LIKELIEST = 2  # frames
_SAMPLED = 4  # every so many pixels


class Outliers:
    """The greatest outlier of each pixel over the frames of a stack, less what is around it."""

    def __init__(self, stack: Sequence[Values]) -> None:
        shape = stack[0].shape[:2]
        self.detail: Values = np.zeros(shape, dtype=np.float32)
        self.unlike: set[int] = set()  # frames that have nothing in common with the one before
        self._frame = np.zeros(shape, dtype=np.int16)  # in which the pixel stands out most
        still = np.zeros_like(stack[0])
        steps = [still]
        for number in range(1, len(stack)):
            step = stack[number] - stack[number - 1]
            if _is_unlike(step, stack[number - 1]):
                self.unlike.add(number)
                step = still
            self._add(number - 1, _standing_out(steps[-1], step, _STEP * _range(stack[number - 1])))
            steps = [step]

    def frames_of(self, left: int, top: int, right: int, bottom: int) -> list[int]:
        """The frames whose text a rectangle most likely shows, and those before them, where it may have ended."""
        place = (slice(top, bottom), slice(left, right))
        weights = np.square(self.detail[place]).ravel()
        likely = np.argsort(np.bincount(self._frame[place].ravel(), weights))[: -_LIKELIEST - 1 : -1]
        return sorted({int(number) for frame in likely for number in (frame - 1, frame) if number >= 0})

    def _add(self, number: int, outlier: Values) -> None:
        """Keep what stands out more than in the frames before."""
        if not outlier.any():
            return
        if outlier.ndim == 3:
            outlier = np.take_along_axis(outlier, np.abs(outlier).argmax(axis=2)[..., None], axis=2)[..., 0]
        detail = _detail(outlier)
        greater = np.abs(detail) > np.abs(self.detail)
        np.copyto(self.detail, detail, where=greater)
        self._frame[greater] = number


def _is_unlike(step: Values, before: Values) -> bool:
    sample = (slice(None, None, _SAMPLED),) * 2
    return bool(step[sample].std() > _UNLIKE * before[sample].std())


def _range(values: Values) -> float:
    return float(np.ptp(values[::_SAMPLED, ::_SAMPLED]))


def _standing_out(before: Values, after: Values, great: float) -> Values:
    """The step to a frame, where the next step leads back or the step is great; of two steps the lesser."""
    higher, lower = np.minimum(before, -after), np.maximum(before, -after)
    outlier = np.maximum(higher, 0, out=higher) + np.minimum(lower, 0, out=lower)
    steps = np.abs(before) >= great
    if steps.any():
        np.copyto(outlier, before, where=steps)
    return outlier


def _detail(values: Values) -> Values:
    """Values less their mean a few pixels away: broad edges of what moved leave little."""
    detail = np.zeros_like(values)
    values = values.copy()
    values[:-1] += values[1:]
    values[:, :-1] += values[:, 1:]
    side = _APART
    middle = values[side:-side, side:-side]
    around = values[: -2 * side, side:-side] + values[2 * side :, side:-side]
    around += values[side:-side, : -2 * side]
    around += values[side:-side, 2 * side :]
    detail[side:-side, side:-side] = middle - around * np.float32(0.25)
    return detail
