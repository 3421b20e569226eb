"""The arithmetic of the search for text: means, strokes, what stands out, regions and their places, each as defined."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage

from site_node.pixels import models, regions
from site_node.pixels.box import Box
from site_node.pixels.contrast import evened, reduced, spread_around, stretched, thin
from site_node.pixels.detect import TextFinder, _is_within
from site_node.pixels.difference import outliers, peaks
from site_node.pixels.regions import Region, outlines
from site_node.pixels.rules import PixelRules, load_rules
from site_node.pixels.strokes import boxes_around, stroke_windows

Values = NDArray[np.float32]
SHAPES = [(1, 1), (7, 5), (16, 24), (33, 18), (9, 20, 3)]
EIGHT = np.ones((3, 3))


def noise(shape: tuple[int, ...], seed: int = 1) -> Values:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_a_reduced_picture_has_the_mean_of_each_square(shape: tuple[int, ...], factor: int) -> None:
    """Of one at the right or bottom edge with its last pixels continued."""
    values = noise(shape)
    small = reduced(values, factor)
    rows, columns = (-(-side // factor) for side in shape[:2])
    assert small.shape == (rows, columns, *shape[2:])
    for row in range(rows):
        for column in range(columns):
            ys = np.minimum(np.arange(row * factor, (row + 1) * factor), shape[0] - 1)
            xs = np.minimum(np.arange(column * factor, (column + 1) * factor), shape[1] - 1)
            assert np.allclose(small[row, column], values[np.ix_(ys, xs)].mean(axis=(0, 1)), rtol=1e-4)


@pytest.mark.parametrize("shape", [(40, 48), (64, 37, 3)])
def test_an_evened_picture_shows_no_level_and_no_range(shape: tuple[int, ...]) -> None:
    """As plain at 3300 of 4095 as at 60 of 255, each colour by itself; what is brighter than its surroundings shows."""
    values = noise(shape)
    values[20:23, 10:30] += 100
    plain = evened(values).astype(int)
    assert np.abs(plain - evened(values * 13 + 3000).astype(int)).max() <= 1
    assert plain[21, 20].min() > 180
    assert 118 < np.median(plain) < 138
    if values.ndim == 3:
        assert (plain[..., 1] == evened(values[..., 1])).all()


def test_the_spread_is_that_of_the_tiles_around() -> None:
    """Two tiles each way."""
    values, tile = noise((56, 64)), 8
    spread = spread_around(values, tile)
    assert spread.shape == (7, 8)
    assert spread[3, 4] == pytest.approx(values[8:48, 16:56].std(), rel=1e-3)
    assert spread_around(np.full((16, 16), 9, np.float32), tile).max() == 0


def test_a_stretched_picture_is_black_at_its_least_and_white_at_its_greatest() -> None:
    """In between by a straight line; one of a single value is black."""
    values = np.linspace(-40, 60, 101, dtype=np.float32).reshape(1, 101)
    assert np.abs(stretched(values).astype(int) - np.arange(101) * 2.55).max() <= 1
    assert (stretched(values).min(), stretched(values).max()) == (0, 255)
    assert stretched(np.full((3, 3), 7, np.float32)).max() == 0


@pytest.mark.parametrize("width", [3, 11])
@pytest.mark.parametrize("shape", SHAPES)
def test_strokes_are_what_neither_opening_nor_closing_leaves(shape: tuple[int, ...], width: int) -> None:
    """Grey morphology by a square, as SciPy has it."""
    values = noise(shape)
    size = (width, width, *(1 for _ in shape[2:]))
    opened = ndimage.grey_dilation(ndimage.grey_erosion(values, size, mode="nearest"), size, mode="nearest")
    closed = ndimage.grey_erosion(ndimage.grey_dilation(values, size, mode="nearest"), size, mode="nearest")
    assert np.allclose(thin(values, width), 2 * values - opened - closed, atol=1e-3)


def test_a_peak_is_above_or_below_both_neighbours() -> None:
    """And 0 between them."""
    before, here, after = (noise((9, 9), seed) for seed in (1, 2, 3))
    expected = np.where(
        here > np.maximum(before, after),
        here - np.maximum(before, after),
        np.where(here < np.minimum(before, after), here - np.minimum(before, after), 0),
    )
    assert np.allclose(peaks(before, here, after), expected, atol=1e-4)


@given(st.integers(0, 2**20 - 1), st.sampled_from([(4, 5), (5, 4), (2, 10), (1, 20)]))
def test_each_region_has_its_outline(bits: int, shape: tuple[int, int]) -> None:
    """Those that touch at a corner are one, as SciPy labels them; the ends of its runs reach as far as it does."""
    mask = np.array([bits >> place & 1 for place in range(20)], dtype=bool).reshape(shape)
    labels, _ = ndimage.label(mask, EIGHT)
    expected = {(y.start, y.stop, x.start, x.stop) for y, x in ndimage.find_objects(labels)}
    boxes = [
        tuple(int(side) for side in (low[1], high[1], low[0], high[0]))
        for low, high in ((points.min(axis=0), points.max(axis=0)) for points in outlines(mask))
    ]
    assert set(boxes) == expected
    assert len(boxes) == labels.max()


@given(st.integers(0, 2**20 - 1))
def test_boxes_hold_marked_tiles_and_those_beside_them(bits: int) -> None:
    """One box for each group that touches then, also by a corner."""
    marked = np.array([bits >> place & 1 for place in range(20)], dtype=bool).reshape(4, 5)
    labels, _ = ndimage.label(ndimage.binary_dilation(marked, EIGHT), EIGHT)
    expected = sorted((x.start * 16, y.start * 16, x.stop * 16, y.stop * 16) for y, x in ndimage.find_objects(labels))
    assert sorted(map(tuple, boxes_around(marked, 16))) == expected


def turned(width: float, height: float, degrees: float, at: tuple[float, float] = (200, 200)) -> Values:
    """The corners of a rectangle about its centre."""
    angle = np.deg2rad(degrees)
    along, down = np.array((np.cos(angle), np.sin(angle))), np.array((-np.sin(angle), np.cos(angle)))
    sides = ((-width, -height), (width, -height), (width, height), (-width, height))
    return np.array([(x * along + y * down) / 2 + at for x, y in sides], dtype=np.float32)


@pytest.mark.parametrize("degrees", [0, 30, 90, 200])
@pytest.mark.parametrize("along", [-0.1, 0.1, 0.9, 1.1])
@pytest.mark.parametrize("down", [-0.1, 0.1, 0.9, 1.1])
@pytest.mark.parametrize("height", [19, 21])
def test_a_region_is_the_same_where_its_centre_lies_in_another(
    degrees: float, along: float, down: float, height: float
) -> None:
    """Which is no more than twice as high."""
    large = Region(turned(120, 40, degrees), 1.0)
    start, right, _, below = large.corners
    x, y = start + along * (right - start) + down * (below - start)
    small = Region(turned(60, height, degrees, (float(x), float(y))), 1.0)
    assert large.is_same(small) == (0 < along < 1 and 0 < down < 1 and height >= 20)


@pytest.mark.parametrize("degrees", [0, 45, 100])
def test_a_region_keeps_its_measures_where_it_is_placed_or_made_longer(degrees: float) -> None:
    """Its height is its shorter side; it grows along its line by heights at each end."""
    region = Region(turned(120, 40, degrees), 0.5)
    assert np.allclose((region.height, region.aspect), (40, 3), atol=0.01)
    longer = region.longer(0.5, 2)
    assert np.allclose((longer.height, longer.aspect), (40, 5.5), atol=0.01)
    unit = (region.corners[1] - region.corners[0]) / 120
    assert np.allclose(longer.corners - region.corners, np.outer((-20, 80, 80, -20), unit), atol=0.01)
    assert np.allclose(region.placed(2, 10, 5).corners, region.corners * 2 + (10, 5), atol=0.01)
    assert region.placed(2).score == longer.score == 0.5


@given(st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(2, 9), st.integers(2, 9)))
def test_the_score_of_an_upright_region_is_the_mean_of_its_pixels(place: tuple[int, int, int, int]) -> None:
    """Each counts once."""
    left, top, width, height = place
    probability = np.random.default_rng(1).random((30, 30), dtype=np.float32)
    corners = turned(width, height, 0, (left + width / 2, top + height / 2))
    expected = probability[top : top + height, left : left + width].mean()
    assert regions._mean(probability, corners) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("degrees", [0, 20, 45, 90, 160])
@pytest.mark.parametrize("size", [(80, 20), (20, 80)])
def test_a_region_is_a_rectangle_around_what_is_likely(degrees: int, size: tuple[int, int]) -> None:
    """Turned as that is, its text along the longer side, and grown on each side by the detector's measure."""
    corners = turned(*size, degrees)
    grid = np.stack(np.meshgrid(np.arange(400), np.arange(400)), axis=-1) + 0.5 - corners[0]
    along, down = corners[1] - corners[0], corners[3] - corners[0]
    u, v = grid @ along / (along @ along), grid @ down / (down @ down)
    probability = ((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)).astype(np.float32)
    (region,) = regions.regions(probability, 0.5)
    grown = 1.6 * 80 * 20 / (80 + 20)
    assert np.allclose(region.corners.mean(axis=0), (200, 200), atol=1.5)
    assert region.height == pytest.approx(20 + grown, abs=6)
    assert region.aspect * region.height == pytest.approx(80 + grown, abs=6)
    length = np.linalg.norm(region.corners[1] - region.corners[0])
    assert length == pytest.approx(80 + grown, abs=6)
    assert regions.regions(probability * np.float32(0.29), 0.1) == []
    assert regions.regions(probability * np.float32(0.45), 0.5) == []


def test_what_is_too_low_is_no_region() -> None:
    """Three pixels of the map are enough."""
    for height, count in ((2, 0), (3, 1)):
        probability = np.zeros((40, 40), dtype=np.float32)
        probability[10 : 10 + height, 5:25] = 1
        assert len(regions.regions(probability, 0.5)) == count


class Bright:
    """In place of the detector: a pixel is text as far as it is bright."""

    def text_map(self, picture: NDArray[np.uint8]) -> Values:
        grey = picture if picture.ndim == 2 else picture.max(axis=2)
        return (grey > 185).astype(np.float32)


def bright() -> TextFinder:
    finder: Any = object.__new__(TextFinder)
    finder._rules, finder._models = load_rules(), Bright()
    return finder  # type: ignore[no-any-return]


@pytest.mark.parametrize("side", [200, 500, 900])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1)])
def test_a_text_lies_where_it_is_in_the_picture(side: int, shape: tuple[int, int]) -> None:
    """Whatever the size at which it was seen."""
    rows, columns = (side * part for part in shape)
    values = noise((rows, columns)) / 20
    y, x = rows // 3, columns // 2
    values[y - side // 50 : y + side // 50, x - side // 12 : x + side // 12] += 300
    for boxes in (
        bright()._large(values),
        bright()._turned(stretched(values), 1.0),
        bright()._regions(stretched(values), 1),
    ):
        assert any(np.allclose(region.corners.mean(axis=0), (x, y), atol=side / 40) for region in boxes)


def _holds(box: Box, inner: tuple[int, int, int, int]) -> bool:
    return _is_within(Box(*inner), [box])


def test_a_box_that_reaches_out_on_one_side_is_not_within() -> None:
    """By a single pixel."""
    around = Box(10, 20, 30, 40)
    assert _is_within(around, [Box(0, 0, 1, 1), around])
    for wider in (Box(9, 20, 30, 40), Box(10, 19, 30, 40), Box(10, 20, 31, 40), Box(10, 20, 30, 41)):
        assert not _is_within(wider, [around])
        assert _is_within(around, [wider])


def test_thin_strokes_are_searched_and_even_noise_is_not() -> None:
    """In windows of the picture at half size, in colour too."""
    half = noise((320, 320)) / np.float32(10)
    assert stroke_windows(half) == []
    half[100:108:2, 150:170:2] += 100
    for picture in (half, np.stack([half, noise((320, 320)) / np.float32(10), half], axis=-1)):
        (window,) = stroke_windows(picture)
        assert _holds(window, (150, 100, 170, 107))
        assert (window.right - window.left, window.bottom - window.top) <= (80, 64)


def test_what_is_on_one_frame_stands_out_of_its_stack() -> None:
    """There and nowhere else; the first and the last frame, and few frames, are searched whole."""
    stack = [noise((96, 96)) + noise((96, 96), seed) / np.float32(10) for seed in range(2, 10)]
    stack[4] = stack[4].copy()
    stack[4][40:44, 30:70] += 100
    windows = outliers(stack)
    assert (windows[0], windows[-1]) == (None, None)
    assert windows[4] is not None
    (window,) = windows[4]
    assert _holds(window, (32, 40, 64, 44))
    assert [bool(each) for each in windows[1:4] + windows[6:-1]] == [False] * 4
    assert outliers(stack[:5]) == [None] * 5
    stack[3] = noise((96, 96), 99)  # has nothing in common with the others
    assert [windows is None for windows in outliers(stack)] == [True, False, True, True, True, False, False, True]


def test_the_reader_sees_black_as_minus_one_and_white_as_one() -> None:
    """In the order of the colours in which it was trained, no longer than it reads and no shorter than a letter."""
    for grey, value in ((0, -1), (255, 1)):
        line = models._line(Image.new("L", (100, 20), grey))
        assert (line.min(), line.max()) == (value, value)
    red = models._line(Image.new("RGB", (10, 200), (255, 0, 0)))
    assert red.shape == (48, 8, 3)
    assert red[0, 0].tolist() == [-1, -1, 1]
    assert models._line(Image.new("L", (100_000, 10))).shape[1] == models._LONGEST


FRACTIONS = [
    *(("detection", name) for name in ("margin", "box_score", "unread_score", "blank_reading", "blank_score")),
    *(("detection", name) for name in ("noise_score", "read_score")),
    *(("anatomy", name) for name in ("height", "read_score", "low_height", "low_score")),
    ("allowed", "edge"),
]


@pytest.mark.parametrize(("section", "name"), FRACTIONS)
def test_a_score_or_share_is_a_fraction(section: str, name: str) -> None:
    """A percentage in the file would let every text pass, or none."""
    shipped = load_rules().model_dump()
    for wrong in (-0.01, 1.01, 80):
        changed = {**shipped, section: {**shipped[section], name: wrong}}
        with pytest.raises(ValidationError):
            PixelRules.model_validate(changed)
