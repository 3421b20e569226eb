"""What blanking leaves of a text of any script, size, turn and style, its label with it: a fiftieth of its ink at most.

Fonts and public pictures that are not on this machine are left out.
"""

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from site_node.pixels import detect
from site_node.pixels.detect import TextFinder
from site_node.pixels.extent import FARTHEST, extended
from site_node.pixels.regions import Region
from site_node.pixels.rules import load_rules
from tests.benchmarks.recall import SLICES, Trial, try_text
from tests.factories.clean_pictures import CXR

FONTS = Path("/usr/share/fonts/truetype")
LEFT = 0.02
KINDS = ("film", *SLICES)
HEIGHT, LONG = 20, 60


@cache
def finder() -> TextFinder:
    return TextFinder(load_rules())


def trial(kind: str, seed: int, number: int) -> Trial:
    """A text of the seed and number, burned into a picture of the kind."""
    if kind != "drawn slice" and not CXR.exists():
        pytest.skip("no public pictures")
    return try_text(finder(), kind, (seed, number), (0.1, 0.2, 0.5)[number % 3], FONTS)


@settings(max_examples=60, deadline=None)
@given(
    before=st.floats(0, FARTHEST - 1),
    after=st.floats(0, FARTHEST - 1),
    degrees=st.integers(-180, 180),
    step=st.floats(4, 100),
)
def test_a_region_becomes_as_long_as_its_ink(before: float, after: float, degrees: int, step: float) -> None:
    """By a third of its height less at most, or by one more, whichever way the line runs."""
    angle = math.radians(degrees)
    along = np.array((math.cos(angle), math.sin(angle)))
    down = np.array((-along[1], along[0]))
    y, x = np.mgrid[0:480, 0:480] - 240.0
    line, across = x * along[0] + y * along[1], x * down[0] + y * down[1]
    first, last = -LONG - before * HEIGHT, LONG + after * HEIGHT
    ink = (line >= first) & (line <= last) & (np.abs(across) < HEIGHT / 2) & (line % 6 < 3)
    shown = np.abs(np.random.default_rng(1).normal(0, 1, ink.shape) + step * ink).astype(np.float32)
    corners = [along * at + down * side * HEIGHT / 2 for side, at in ((-1, -LONG), (-1, LONG), (1, LONG), (1, -LONG))]
    region = extended(Region(np.array(corners, dtype=np.float32) + 240, 1.0), [shown])
    reached = (region.corners - 240) @ along
    assert first - HEIGHT < reached.min() < first + HEIGHT / 3
    assert last - HEIGHT / 3 < reached.max() < last + HEIGHT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seed", "number"),
    [
        ("film", 81, 43), ("film", 81, 54), ("film", 91, 9), ("scanned slice", 81, 53), ("scanned slice", 91, 0),
        ("soft slice", 71, 12), ("soft slice", 91, 39), ("soft slice", 7, 6),
        ("drawn slice", 71, 3), ("drawn slice", 71, 9),
        ("drawn slice", 81, 42),
    ],
)  # fmt: skip
def test_blanking_leaves_nothing(kind: str, seed: int, number: int) -> None:
    """Of these the detector leaves out letters, a word or the ends of the label."""
    assert trial(kind, seed, number).left <= LEFT


@pytest.mark.slow
def test_without_the_ends_letters_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the law would hold of a box that is no longer than what was detected."""
    monkeypatch.setattr(detect, "extended", lambda region, _: region)
    monkeypatch.setattr(Region, "longer", lambda region, _, __: region)
    assert any(trial("drawn slice", 71, number).left > LEFT for number in (3, 9))


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_blanking_leaves_nothing_of_many(kind: str) -> None:
    """Of 60 texts of each kind, those that are found; a single letter of a long text may be all that was."""
    trials = [trial(kind, 7, number) for number in range(60)]
    left = [each for each in trials if each.outcome == "seen" and each.left > LEFT]
    assert len(left) <= 1, left
