"""Figures as bars and lines that a page draws as SVG: numbers in, lengths out."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 600, 160  # of a curve's picture


class Bar(NamedTuple):
    """A label, its number, and its length in hundredths of the longest."""

    label: str
    number: int
    length: int


def bars(counts: Iterable[tuple[str, int]]) -> list[Bar]:
    """A bar for each number, none shorter than 1 but that of 0."""
    rows = list(counts)
    longest = max((number for _, number in rows), default=0) or 1
    return [Bar(label, number, max(100 * number // longest, int(number > 0))) for label, number in rows]


def curve(values: Sequence[float | None], low: float, high: float) -> list[str]:
    """The points of a line for each unbroken run of values, as SVG's `points` has them; `None` breaks it."""
    lines, points = list[str](), list[str]()
    step, span = WIDTH / max(len(values) - 1, 1), (high - low) or 1.0
    for number, value in enumerate([*values, None]):
        if value is not None:
            points.append(f"{number * step:.1f},{HEIGHT - (value - low) / span * HEIGHT:.1f}")
        elif points:
            lines.append(" ".join(points))
            points = []
    return lines
