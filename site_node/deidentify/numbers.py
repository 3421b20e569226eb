"""Whether a number is somebody's: one of the study's own in another form, or larger than anything measured."""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType

from shared.protocol.profile import Rule
from shared.protocol.value_terms import value_terms

TELLING = 5  # digits of a number that does not occur by chance
_SHOWN = 7  # digits that no measured fraction shows by chance
_MOST_DIGITS = 40
_NUMBER = re.compile(r" *[+-]?(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?[ \0]*")
_CODES: Mapping[str, str] = MappingProxyType(  # of `struct`
    {"FD": "<d", "FL": "<f", "SL": "<l", "SS": "<h", "SV": "<q", "UL": "<L", "US": "<H", "UV": "<Q"}
)


def is_beyond(rule: Rule, numbers: Iterable[float]) -> bool:
    """Whether a number is none that its attribute could measure, or none at all."""
    terms = value_terms().numbers
    return rule.keyword not in terms.unbounded and not all(
        number == 0 or terms.nothing < abs(number) < terms.beyond for number in numbers
    )


def numbers_in(value: str) -> Iterator[str]:
    """The digits that a number shows: of a whole one those, of any one with many digits all, without the point.

    `4473921`, `+004473921.0`, `4.473921e6` and `44739210e-1` show the same; so does `44739.21`.
    """
    number = _NUMBER.fullmatch(value)
    if number is None:
        return
    whole, fraction, exponent = number[1], (number[2] or "").rstrip("0"), int(number[3] or 0)
    digits, point = whole + fraction, len(whole) + exponent
    if 0 <= point <= _MOST_DIGITS and not digits[point:].strip("0"):
        yield from (shown := digits[:point].ljust(point, "0"), shown.lstrip("0"))
    yield from (shown for shown in (digits.lstrip("0"), whole.lstrip("0")) if len(shown) >= _SHOWN)


@lru_cache(maxsize=64)
def words_of(vr: str, numbers: frozenset[str]) -> frozenset[bytes]:
    """The binary words that hold one of the numbers of five digits or more, as it is or, if long, as a fraction."""
    code, words = _CODES[vr], set[bytes]()
    whole = (digits.lstrip("0") for digits in numbers if len(digits) <= _MOST_DIGITS and digits.isdecimal())
    for number in (int(digits) for digits in whole if len(digits) >= TELLING):
        places = range(len(str(number)) if vr in {"FD", "FL"} and number >= 10 ** (_SHOWN - 1) else 1)
        for value in (sign * number / 10**place if place else sign * number for sign in (1, -1) for place in places):
            with suppress(struct.error, OverflowError):
                words.add(struct.pack(code, value))
    return frozenset(words)


def unpacked(vr: str, raw: bytes) -> Iterator[float]:
    """The numbers of a binary value; none of one that is no number."""
    return (number for (number,) in struct.iter_unpack(_CODES[vr], raw)) if vr in _CODES else iter(())
