"""Patterns for the ways in which a day is written, to search outgoing text for the source's dates."""

import re
from collections.abc import Iterable
from datetime import date

from site_node.validate.values import day_of

_NAMES = (
    "jan", "feb|fev|fév", "mar|mär|mrz", "apr|avr|abr", "may|mai|mag", "jun|juin|giu", "jul|juil|lug",
    "aug|aou|aoû|ago", "sep|set", "oct|okt|ott", "nov", "dec|dez|déc|dic",
)  # fmt: skip
_BETWEEN = r"(?:[^\w\\]|[_年月日]|(?<=\d)(?:st|nd|rd|th)(?![a-z]))"
_WHOLE_DATE = re.compile(rb"\d{4}\.?\d{2}\.?\d{2}")


def days_of(raw: bytes) -> set[str]:
    """The days in a DA or DT value, as eight digits."""
    dates = (written.replace(b".", b"") for written in _WHOLE_DATE.findall(raw))
    return {digits.decode() for digits in dates if day_of(digits) is not None}


def pattern_of(days: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds any of the days, in any order of its parts; `None` without days."""
    known = [day for digits in sorted(set(days)) if (day := day_of(digits.encode())) is not None]
    return re.compile("|".join(map(_written, known)), re.IGNORECASE) if known else None


def _written(day: date) -> str:
    year, month, number = rf"(?:{day.year}|{day.year % 100:02d})", f"0?{day.month}", f"0?{day.day}"
    name = rf"(?:{_NAMES[day.month - 1]})[^\W\d_]{{0,7}}"
    orders = [(year, month, number), (number, month, year), (month, number, year)]
    signs = [rf"{_BETWEEN}+".join(order) for order in orders]
    named = [
        rf"{number}{_BETWEEN}*(?<![a-z]){name}{_BETWEEN}*{year}",
        rf"(?<![a-z]){name}{_BETWEEN}*{number}{_BETWEEN}+{year}",
        rf"{year}{_BETWEEN}*(?<![a-z]){name}{_BETWEEN}*{number}",
    ]
    parts = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    places = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
    glued = ["".join(parts[place] for place in order) for order in places]
    short = ["".join(parts[place][-2:] for place in order) for order in places]
    whole = "|".join([*signs, *named, *short])
    return rf"(?<!\d)(?:{whole})(?!\d)|{'|'.join(glued)}"
