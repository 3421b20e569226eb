"""Patterns for the ways in which a day is written, to search outgoing text for the source's dates.

Independent of `site_node.deidentify.date_search` on purpose: that reads the parts of a date one by one, this compiles a
pattern for each day. The months' names and the words between are shared data (`shared.protocol.search_terms`).
"""

import re
from collections.abc import Iterable
from datetime import date
from functools import cache

from shared.protocol.search_terms import search_terms
from site_node.validate.values import day_of

_WHOLE_DATE = re.compile(rb"\d{4}\.?\d{2}\.?\d{2}")


def days_of(raw: bytes) -> set[str]:
    """The days in a DA or DT value, as eight digits."""
    dates = (written.replace(b".", b"") for written in _WHOLE_DATE.findall(raw))
    return {digits.decode() for digits in dates if day_of(digits) is not None}


def pattern_of(days: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern that finds any of the days, in any order of its parts; `None` without days."""
    known = [day for digits in sorted(set(days)) if (day := day_of(digits.encode())) is not None]
    return re.compile("|".join(map(_written, known)), re.IGNORECASE) if known else None


@cache
def _between() -> str:
    """A pattern for one sign, unit or word between the parts of a date."""
    dates = search_terms().dates
    words, suffixes = "|".join(dates.words), "|".join(dates.suffixes)
    letter = r"[^\W\d_]"
    return rf"(?:[^\w\\]|[_{dates.units}]|(?<!{letter})(?:{words})(?!{letter})|(?<=\d)(?:{suffixes})(?!{letter}))"


def _written(day: date) -> str:
    dates, between = search_terms().dates, _between()
    year, month, number = rf"(?:{day.year}|{day.year % 100:02d})", f"0?{day.month}", f"0?{day.day}"
    name = rf"(?:{'|'.join(dates.months[day.month - 1])})[^\W\d_]{{0,7}}"
    orders = [(year, month, number), (number, month, year), (month, number, year)]
    signs = [rf"{between}+".join(order) for order in orders]
    named = [
        rf"{number}{between}*(?<![a-z]){name}{between}*{year}",
        rf"(?<![a-z]){name}{between}*{number}{between}+{year}",
        rf"{year}{between}*(?<![a-z]){name}{between}*{number}",
    ]
    parts = f"{day.year:04d}", f"{day.month:02d}", f"{day.day:02d}"
    places = [(0, 1, 2), (2, 1, 0), (1, 2, 0)]
    glued = ["".join(parts[place] for place in order) for order in places]
    short = ["".join(parts[place][-2:] for place in order) for order in places]
    whole = "|".join([*signs, *named, *short])
    return rf"(?<!\d)(?:{whole})(?!\d)|{'|'.join(glued)}"
