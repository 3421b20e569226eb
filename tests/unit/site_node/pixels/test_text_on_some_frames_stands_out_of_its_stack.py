"""Text that is on some frames only is where its stack differs: there the detector looks, and nowhere else."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from site_node.pixels import difference
from site_node.pixels.difference import outliers
from tests.factories.clean_pictures import drawn_slices

FRAMES, ROWS, NOISE = 10, 512, 12
INNER = st.integers(1, FRAMES - 2)
Values = NDArray[np.float32]


@cache
def stack_of(kind: str) -> tuple[Values, ...]:
    """A thorax whose organs move from frame to frame, or nothing but noise on a slope."""
    rng = np.random.default_rng(1)
    if kind == "anatomy":
        return tuple(drawn_slices(rng, FRAMES))
    slope = np.indices((ROWS, ROWS)).sum(axis=0)
    return tuple((slope + rng.normal(0, NOISE, slope.shape)).astype(np.float32) for _ in range(FRAMES))


def ink_of(size: int) -> Values:
    letters = ImageFont.load_default(size)
    left, top, right, bottom = (int(side) for side in letters.getbbox("KOWALCZYK 44"))
    drawn = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(drawn).text((-left, -top), "KOWALCZYK 44", fill=255, font=letters)
    return np.asarray(drawn, dtype=np.float32) / np.float32(255)


def part_in_view(kind: str, ink: Values, frames: range, place: tuple[float, float]) -> float:
    """How much of the ink lies in what the detector looks at, on the first of `frames`; `place` is 0 to 1 each way."""
    rows, columns = ink.shape
    top, left = (int(part * (ROWS - side)) for part, side in zip(place, ink.shape, strict=True))
    stack = [values.copy() for values in stack_of(kind)]
    for number in frames:
        stack[number][top : top + rows, left : left + columns] += ink
    windows = outliers(stack)[frames[0]]
    seen = np.zeros((ROWS, ROWS), dtype=bool)
    for box in [(0, 0, ROWS, ROWS)] if windows is None else windows:
        seen[box[1] : box[3], box[0] : box[2]] = True
    return float((ink * seen[top : top + rows, left : left + columns]).sum() / ink.sum())


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(("anatomy", "noise")),
    size=st.integers(12, 40),
    step=st.floats(10, 100) | st.floats(-100, -10),
    frames=st.builds(lambda begin, count: range(begin, min(begin + count, FRAMES - 1)), INNER, st.integers(1, 3)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_text_on_some_frames_is_looked_at_where_it_begins(
    *, kind: str, size: int, step: float, frames: range, place: tuple[float, float]
) -> None:
    """Brighter or darker, from ten times the noise on, anywhere, on one frame or several that follow each other."""
    assert part_in_view(kind, step * NOISE * ink_of(size), frames, place) > 0.9


@pytest.mark.parametrize("kind", ["anatomy", "noise"])
def test_little_is_looked_at_where_nothing_is_new(kind: str) -> None:
    """Else the law would hold of a search that looks everywhere."""
    windows = [boxes for boxes in outliers(stack_of(kind)) if boxes is not None]
    assert len(windows) == FRAMES - 2
    area = sum((box.right - box.left) * (box.bottom - box.top) for boxes in windows for box in boxes)
    assert area < 0.02 * len(windows) * ROWS**2


def test_without_the_comparison_of_steps_it_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text on three frames stands out of no two neighbours."""
    case = ("noise", 20 * NOISE * ink_of(20), range(4, 7), (0.3, 0.3))
    assert part_in_view(*case) > 0.9
    monkeypatch.setattr(difference, "_begun", lambda steps, _: np.zeros(steps.shape, dtype=bool))
    assert part_in_view(*case) < 0.1
