"""Figures as bars and curves that a page draws as SVG: numbers in, lengths and points out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

WIDTH, HEIGHT = 600, 160  # of a curve's picture
_FIGURES = (("AUC on validation images", "auc", "auc"), ("Training loss", "training_loss", "loss"))  # of all, of a site


class Bar(NamedTuple):
    """A label, its number, and its length in hundredths of the longest."""

    label: str
    number: int
    length: int


class Line(NamedTuple):
    """What is drawn under one name: the points of each unbroken run of values, as SVG's `points` has them."""

    name: str
    points: tuple[str, ...]


class Curves(NamedTuple):
    """A figure over the rounds of a training, between two values."""

    title: str
    low: float
    high: float
    lines: tuple[Line, ...]


def bars(counts: Iterable[tuple[str, int]]) -> list[Bar]:
    """A bar for each number, none shorter than 1 but that of 0."""
    rows = list(counts)
    longest = max((number for _, number in rows), default=0) or 1
    return [Bar(label, number, max(100 * number // longest, int(number > 0))) for label, number in rows]


def points(values: Sequence[float | None], low: float, high: float) -> tuple[str, ...]:
    """The points of a line for each unbroken run of values; `None` breaks it."""
    runs, current = list[str](), list[str]()
    step, span = WIDTH / max(len(values) - 1, 1), (high - low) or 1.0
    for number, value in enumerate([*values, None]):
        if value is not None:
            current.append(f"{number * step:.1f},{HEIGHT - (value - low) / span * HEIGHT:.1f}")
        elif current:
            runs.append(" ".join(current))
            current = []
    return tuple(runs)


def curves_of(rounds_by_name: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Curves]:
    """AUC and training loss by round, of all sites and of each that shows its own; of runs that have neither, nothing.

    `rounds_by_name` holds the rounds of each run as a result has them, under the name that its line gets.
    """
    drawn = []
    for title, key, site_key in _FIGURES:
        lines = dict[str, list[float | None]]()
        for name, rounds in rounds_by_name.items():
            lines |= _values(name if len(rounds_by_name) > 1 else "", rounds, key, site_key)
        lines = {name: values for name, values in lines.items() if any(value is not None for value in values)}
        high = max((value for values in lines.values() for value in values if value is not None), default=0.0)
        high = 1.0 if key == "auc" else high
        if lines:
            most = max(map(len, lines.values()))  # a shorter run ends before the right
            longer = {name: [*values, *[None] * (most - len(values))] for name, values in lines.items()}
            shown = tuple(Line(name, points(values, 0.0, high)) for name, values in longer.items())
            drawn.append(Curves(title, 0.0, high, shown))
    return drawn


def _values(run: str, rounds: Sequence[Mapping[str, Any]], key: str, site_key: str) -> dict[str, list[float | None]]:
    """A figure by round, of all sites and of each that showed its own in a round; `run` stands before the names."""
    before = f"{run}, " if run else ""
    sites = sorted({each["site_id"] for finished in rounds for each in finished["sites"]})
    lines = {run or "all sites": [each.get(key) for each in rounds]}
    for site in sites:
        own = ({shown["site_id"]: shown.get(site_key) for shown in each["sites"]} for each in rounds)
        lines[f"{before}site {site}"] = [shown.get(site) for shown in own]
    return lines
