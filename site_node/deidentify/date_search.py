"""The dates in a value, and how they are written as digits."""

import re
from collections.abc import Iterable, Iterator
from datetime import date

_DIGITS = re.compile(rb"(\d{4})\.?(\d{2})\.?(\d{2})")
_ORDERS = ((0, 1, 2), (2, 1, 0), (1, 2, 0))  # year, month and day as they follow one another


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


def day_of(digits: bytes | str) -> date | None:
    """The day that eight digits name; `None` if there is no such day."""
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
