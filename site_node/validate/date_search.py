"""The ways in which a day is written, as patterns: the search for a source's dates in the text that leaves."""

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
    digits = (one.replace(b".", b"") for one in _WHOLE_DATE.findall(raw))
    return {one.decode() for one in digits if day_of(one) is not None}


def pattern_of(days: Iterable[str]) -> re.Pattern[str] | None:
    """Finds any of the days, in any order of its parts; `None` where there is none to look for."""
    known = [day for one in sorted(set(days)) if (day := day_of(one.encode())) is not None]
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
    turned = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
    glued = ["".join(parts[at] for at in order) for order in turned]
    short = ["".join(parts[at][-2:] for at in order) for order in turned]
    whole = "|".join([*signs, *named, *short])
    return rf"(?<!\d)(?:{whole})(?!\d)|{'|'.join(glued)}"
