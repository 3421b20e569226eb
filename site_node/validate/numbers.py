"""Numbers in numeric values: one of the study's own in whatever form, and those that are larger than anything measured.

Independent of `site_node.deidentify.numbers` on purpose: values are compared as numbers, not as digits or bytes.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from types import MappingProxyType

from shared.protocol.value_terms import value_terms
from shared.protocol.vr import WORD_SIZES

_TEXT = frozenset({"DS", "IS"})
_LETTERS: Mapping[str, str] = MappingProxyType(  # of `struct`
    {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
)
_LEAST = 10_000  # of five digits
_LONG = 1_000_000  # of seven digits: as a fraction it counts too
_MOST_DIGITS = 40
_LARGEST = Decimal(10) ** _MOST_DIGITS


def numbers_of(raw: bytes, vr: str) -> Iterator[Decimal]:
    """The finite numbers of a numeric value; other representations and malformed values have none."""
    if vr in _LETTERS and len(raw) % WORD_SIZES[vr] == 0:
        unpacked = struct.unpack(f"<{len(raw) // WORD_SIZES[vr]}{_LETTERS[vr]}", raw)
        yield from (
            Decimal(_shortest(number) if vr == "FL" else repr(number)) for number in unpacked if math.isfinite(number)
        )
    for value in raw.decode("latin-1").split("\\") if vr in _TEXT else ():
        try:
            number = Decimal(value.strip(" \0"))
        except InvalidOperation:
            continue
        if number.is_finite():
            yield number


def _shortest(number: float) -> str:
    """The shortest decimal that the nearest float of four bytes to it is `number`."""
    decimals = (f"{number:.{digits}g}" for digits in range(6, 10))
    return next((text for text in decimals if _as_float(float(text)) == number), repr(number))


def _as_float(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def is_beyond(raw: bytes, vr: str, keyword: str) -> bool:
    """Whether a numeric value holds more than its attribute measures, or what is no number."""
    terms = value_terms().numbers
    if keyword in terms.unbounded or vr not in {*_LETTERS, *_TEXT}:
        return False
    numbers = list(numbers_of(raw, vr))
    is_whole = vr in _TEXT or len(numbers) * WORD_SIZES[vr] == len(raw)
    return not is_whole or any(abs(number) >= terms.beyond or 0 < abs(number) <= terms.nothing for number in numbers)


def shows(number: Decimal, own: frozenset[int], vr: str) -> bool:
    """Whether a number is one of `own`, or has its digits with the point elsewhere if there are seven or more."""
    size = abs(number)
    if not size or size >= _LARGEST:
        return False
    if size == size.to_integral_value() and size >= _LEAST and _equals(int(size), own, vr):
        return True
    digits = size.normalize().as_tuple().digits
    coefficient = int("".join(map(str, digits)))
    return coefficient >= _LONG and (coefficient in own or (size >= _LONG and _equals(int(size), own, vr)))


def _equals(number: int, own: frozenset[int], vr: str) -> bool:
    return number in own or (vr == "FL" and number in _rounded(own))


@lru_cache(maxsize=8)
def _rounded(own: frozenset[int]) -> frozenset[int]:
    """The numbers as floats of four bytes hold them. PHI."""
    near = (number for number in own if number < 1 << 64)
    return frozenset(int(Decimal(_shortest(_as_float(number)))) for number in near)
