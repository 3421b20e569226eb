"""Finding a patient's own dates in text and numbers, in any order, with any signs and month names."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from functools import cache

from shared.protocol.search_terms import search_terms

_DIGITS = re.compile(rb"(\d{4})\.?(\d{2})\.?(\d{2})")
_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_LONGEST_MONTH = 10  # letters
_ORDERS = ((0, 1, 2), (2, 1, 0), (1, 2, 0))  # year, month and day as they follow one another
_THREE = 3


def days_in(raw: bytes) -> Iterator[bytes]:
    """The whole dates in a DA or DT value, eight digits each."""
    for match in _DIGITS.finditer(raw):
        if day_of(match[1] + match[2] + match[3]) is not None:
            yield match[1] + match[2] + match[3]


def written_forms(days: Iterable[bytes]) -> tuple[frozenset[str], frozenset[str]]:
    """Dates in eight digits, and in six with a two-digit year, in every order."""
    long, short = set(), set()
    for day in days:
        parts = day[:4].decode(), day[4:6].decode(), day[6:].decode()
        for order in _ORDERS:
            long.add("".join(parts[at] for at in order))
            short.add("".join(parts[at][-2:] for at in order))
    return frozenset(long), frozenset(short)


def find_days(text: str, days: Collection[date]) -> Iterator[tuple[int, int]]:
    """Where three parts in a row make one of the days: `5_14_61`, `14. Mai 1961`, `1961年5月14日`."""
    between = _words_between()
    tokens = [token for token in _TOKEN.finditer(text) if token.group().casefold() not in between]
    if len(tokens) < _THREE or not days:
        return
    for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
        parts = first.group(), second.group(), third.group()
        if any(_matches(parts, order, day) for order in _ORDERS for day in days):
            yield first.start(), third.end()


def as_days(digits: Iterable[bytes]) -> frozenset[date]:
    """Days of eight digits each."""
    return frozenset(day for day in map(day_of, digits) if day is not None)


def _matches(parts: tuple[str, str, str], order: tuple[int, int, int], day: date) -> bool:
    by_part = dict(zip(order, parts, strict=True))
    year, month, number = by_part[0], by_part[1], by_part[2]
    if not year.isdecimal() or not number.isdecimal() or max(len(year), len(number)) > len("2000"):
        return False
    years = {day.year, day.year % 100} if len(year) <= len("00") else {day.year}
    return int(year) in years and int(number) == day.day and _month(month) == day.month


def _month(token: str) -> int:
    """The number of a month, from digits or a name in some languages; 0 if it is neither."""
    if token.isdecimal():
        return int(token) if len(token) <= len("12") else 0
    name = token.casefold()
    if len(name) > _LONGEST_MONTH:
        return 0
    months = _months()
    return months.get(name[:4]) or months.get(name[:3], 0)


@cache
def _words_between() -> frozenset[str]:
    """Words between the parts of a date; all else between them is signs."""
    dates = search_terms().dates
    return frozenset({*dates.words, *dates.suffixes, *dates.units})


@cache
def _months() -> Mapping[str, int]:
    """The numbers of months by how their names begin."""
    return {name: number for number, names in enumerate(search_terms().dates.months, start=1) for name in names}


def day_of(digits: bytes | str) -> date | None:
    """The day that eight digits name; `None` if there is no such day."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
