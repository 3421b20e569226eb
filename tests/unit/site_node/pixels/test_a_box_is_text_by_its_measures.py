"""A box of the detector is text, a marker or an organ by its height, its length and the scores, each to its bound."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_node.pixels.box import Box
from site_node.pixels.detect import Line, _is_within, box_around, findings
from site_node.pixels.regions import Region
from site_node.pixels.rules import PixelRules, load_rules


def rules_with(**sections: dict[str, float]) -> PixelRules:
    """The shipped rules with bounds that a binary number holds exactly."""
    shipped = load_rules()
    changed = {name: getattr(shipped, name).model_copy(update=values) for name, values in sections.items()}
    return shipped.model_copy(update=changed)


RULES = rules_with(
    detection={
        "smallest_height": 5, "unread_height": 9, "unread_score": 0.625, "blank_reading": 0.25, "blank_aspect": 3.75,
        "blank_score": 0.75, "noise_height": 12, "noise_score": 0.6875, "read_score": 0.75,
    },
    anatomy={"height": 0.125, "read_score": 0.875, "low_height": 0.0625, "low_score": 0.71875},
    glyph={"aspect": 1.75, "most": 2, "apart": 4.0},
    allowed={"edge": 0.25},
)  # fmt: skip
ROWS, COLUMNS = 160, 320  # so that 20 is tall as a rib, and 10 as a small organ


def line(
    height: float, *, aspect: float = 5, score: float = 0.9, read: float = 0.1, turned: float = 0, text: str = "",
    at: tuple[float, float] = (160, 80),
) -> Line:  # fmt: skip
    """A box with its centre `at` x and y; `score` is the detector's, `read` and `turned` are the reader's."""
    (x, y), width = at, height * aspect
    left, top, right, bottom = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float32)
    return Line(Region(corners, score), text, read, turned)


def stops(*lines: Line) -> int:
    """How many of them a person must look at."""
    return len(findings(lines, (ROWS, COLUMNS), RULES))


BELOW = 1 / 64


@pytest.mark.parametrize(
    ("box", "name", "least"),
    [
        ({"height": 20}, "read", 0.875),  # as tall as a rib: it must read well
        ({"height": 20}, "turned", 0.875),
        ({"read": 0.625}, "height", 5),
        ({"height": 7}, "read", 0.625),  # too low for what cannot be read
        ({"read": 0.5}, "height", 9),
        ({"height": 9, "read": 0.5}, "score", 0.6875),  # as noise may make
        ({"read": 0.5, "score": 0.1}, "height", 12),
        ({"height": 9, "aspect": 2}, "score", 0.75),  # as an organ may look
        ({"height": 9, "aspect": 2, "score": 0.7}, "read", 0.25),
        ({"height": 9, "score": 0.7}, "aspect", 3.75),
        ({"height": 10}, "score", 0.71875),
        ({"height": 10, "aspect": 2, "read": 0.5}, "score", 0.71875),
        ({"height": 13, "read": 0.5}, "score", 0),
    ],
)
def test_a_box_is_text_from_its_least_measure_on(box: dict[str, Any], name: str, least: float) -> None:
    """And none below it; where the detector's word is not asked, none is too low."""
    assert stops(line(**{**box, name: least})) == 1
    assert stops(line(**{**box, name: least - BELOW})) == (1 if least == 0 else 0)


@pytest.mark.parametrize(
    ("box", "height"), [({"read": 0.8}, 20), ({"score": 0.7}, 10), ({"score": 0.7, "aspect": 2, "read": 0.5}, 10)]
)
def test_what_is_as_tall_as_an_organ_is_doubted(box: dict[str, Any], height: float) -> None:
    """By the picture's short side; a little lower it is text."""
    assert stops(line(height, **box)) == 0
    assert stops(line(height - BELOW, **box)) == 1


@pytest.mark.parametrize(
    ("box", "passes"),
    [
        ({"text": "PA", "read": 0.75, "aspect": 3.5}, True),
        ({"text": "PA", "read": 0.75 - BELOW, "aspect": 3.5}, False),
        ({"text": "PA", "read": 0.75, "aspect": 3.5 + BELOW}, False),  # more stands there than was read
        ({"text": "XY", "read": 0.9, "aspect": 3.5}, False),
        ({"text": "XY", "read": 0.75 - BELOW, "aspect": 1.75}, True),  # one letter, as far as anybody can tell
        ({"text": "XY", "read": 0.75 - BELOW, "aspect": 1.75 + BELOW}, False),
        ({"text": "XY", "read": 0.75, "aspect": 1.75}, False),
        ({"text": "X", "read": 0.75, "aspect": 1.75}, True),
    ],
)
def test_a_marker_passes_where_it_is_read_for_certain(box: dict[str, Any], passes: bool) -> None:
    """Whole, as its length shows; one letter names nobody."""
    assert stops(line(12, **box)) == (0 if passes else 1)


@pytest.mark.parametrize(
    ("at", "passes"),
    [((80, 80), True), ((81, 80), False), ((160, 40), True), ((160, 41), False), ((240, 80), True), ((239, 80), False),
     ((160, 120), True), ((160, 119), False)],
)  # fmt: skip
def test_what_may_be_a_name_passes_at_an_edge_beside_a_marker(at: tuple[float, float], passes: bool) -> None:
    """Of any of the four; alone it never does."""
    doubtful, sure = line(12, aspect=4, text="SID", read=0.9, at=at), line(12, aspect=3, text="AP", read=0.9, at=(9, 9))
    assert stops(doubtful) == 1
    assert stops(doubtful, sure) == (0 if passes else 1)


@pytest.mark.parametrize(("apart", "others", "looked_at"), [(48, 12, 2), (49, 12, 0), (49, 19, 0), (48, 19, 2)])
def test_letters_stand_alone_from_four_heights_on(apart: float, others: float, looked_at: int) -> None:
    """Of the lower one; nearer they may be a name."""
    first = line(12, aspect=1, read=0.9, text="X", at=(60, 80))
    assert stops(first, line(others, aspect=1, read=0.9, text="Y", at=(60 + apart, 80))) == looked_at


def test_two_letters_may_stand_alone_and_three_may_not() -> None:
    """Wherever they stand."""
    letters = [line(12, aspect=1, read=0.9, text="X", at=(x, 80)) for x in (60, 160, 260)]
    assert [stops(*letters[:count]) for count in (1, 2, 3)] == [0, 0, 3]


SIDES = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4), st.integers(1, 4)).map(
    lambda sides: Box(sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3])
)


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(x, y) for x in range(box.left, box.right) for y in range(box.top, box.bottom)}


@given(box=SIDES, others=st.lists(SIDES, max_size=3))
def test_a_box_lies_within_others_where_one_has_all_its_pixels(box: Box, others: list[Box]) -> None:
    """Not where several have them together."""
    assert _is_within(box, others) == any(pixels(box) <= pixels(other) for other in others)


@given(
    box=SIDES,
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    overlap=st.integers(0, 3),
    more=st.integers(1, 4),
)
def test_parts_cover_a_box_and_no_more(box: Box, size: tuple[int, int], overlap: int, more: int) -> None:
    """Each no larger than asked; those beside each other share the overlap."""
    box = box._replace(right=box.left + size[0], bottom=box.top + size[1])
    side = overlap + more
    parts = list(box.parts(side, overlap))
    assert set[tuple[int, int]]().union(*map(pixels, parts)) == pixels(box)
    assert all(part.right - part.left <= side and part.bottom - part.top <= side for part in parts)
    lefts, tops = (sorted({part[place] for part in parts}) for place in (0, 1))
    for starts, end in ((lefts, box.right), (tops, box.bottom)):
        assert all(after - before == more for before, after in pairwise(starts))
        assert len(starts) == 1 or starts[-1] + overlap < end


@given(x=st.integers(0, 300), y=st.integers(0, 150), height=st.integers(1, 30), margin=st.sampled_from([0, 0.25, 1]))
def test_a_box_around_a_text_has_its_margin_within_the_picture(x: int, y: int, height: int, margin: float) -> None:
    """Two pixels at least on each side."""
    region = line(height, aspect=1, at=(x + height / 2, y + height / 2)).region
    by = max(2, margin * height)
    box = box_around(region, margin, (ROWS, COLUMNS))
    assert (box.left, box.top) == (max(0, int(np.floor(x - by))), max(0, int(np.floor(y - by))))
    assert box.right == min(COLUMNS, int(np.ceil(x + height + by)))
    assert box.bottom == min(ROWS, int(np.ceil(y + height + by)))
