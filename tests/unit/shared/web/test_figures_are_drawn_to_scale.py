"""A bar and a curve are as long and as high as the numbers they stand for."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.web.drawing import HEIGHT, WIDTH, bars, curves_of, points


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 10**9)), max_size=20))
def test_a_bar_is_as_long_as_its_number(counts: list[tuple[str, int]]) -> None:
    """Never longer than a hundred, seen wherever there is something, and in the order of the numbers."""
    drawn = bars(counts)
    assert [(bar.label, bar.number) for bar in drawn] == counts
    assert all(0 <= bar.length <= 100 and (bar.length > 0) == (bar.number > 0) for bar in drawn)
    by_number = sorted(drawn, key=lambda bar: bar.number)
    assert [bar.length for bar in by_number] == sorted(bar.length for bar in by_number)


@given(st.lists(st.none() | st.floats(0, 1), max_size=20))
def test_a_curve_has_a_point_for_each_value(values: list[float | None]) -> None:
    """Inside the picture, higher for a higher value; what is missing breaks the line."""
    drawn = [tuple(map(float, point.split(","))) for line in points(values, 0.0, 1.0) for point in line.split()]
    known = [value for value in values if value is not None]
    assert len(drawn) == len(known)
    assert all(
        0 <= x <= WIDTH and abs(y - HEIGHT * (1 - value)) < 0.1 for (x, y), value in zip(drawn, known, strict=True)
    )


def test_each_site_that_shows_its_own_has_a_line() -> None:
    """Beside that of all together; a figure that nobody shows is not drawn, and runs are told apart by their names."""
    own = {"site_id": "123456", "auc": 0.5, "loss": None, "images": 3}
    rounds: list[dict[str, Any]] = [
        {"auc": 0.6, "training_loss": None, "sites": [own]},
        {"auc": None, "training_loss": None, "sites": []},
    ]
    (drawn,) = curves_of({"all sites": rounds})
    assert [line.name for line in drawn.lines] == ["all sites", "site 123456"]
    assert [line.points for line in drawn.lines] == [(f"0.0,{0.4 * HEIGHT:.1f}",), (f"0.0,{0.5 * HEIGHT:.1f}",)]
    assert [line.name for line in curves_of({"a": rounds, "b": rounds})[0].lines] == [
        "a",
        "a, site 123456",
        "b",
        "b, site 123456",
    ]
    assert curves_of({"all sites": []}) == []


@given(st.lists(st.integers(2, 9), min_size=2, max_size=4))
def test_runs_of_any_length_share_their_axis(lengths: list[int]) -> None:
    """A round is at the same place in every run that is compared, so that a shorter run ends before the right."""
    runs = {f"R-{n}": [{"auc": 0.5, "sites": []}] * length for n, length in enumerate(lengths)}
    (drawn,) = curves_of(runs)
    for line, length in zip(drawn.lines, lengths, strict=True):
        places = [float(point.partition(",")[0]) for point in line.points[0].split()]
        expected = [WIDTH / (max(lengths) - 1) * number for number in range(length)]
        assert places == pytest.approx(expected, abs=0.1)
