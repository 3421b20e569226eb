"""From one cell of a sheet to one typed value of the dictionary. Nothing is guessed: what is unclear is a problem."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from shared.protocol.clinical import Field
from site_node.clinical.units import convert, unit_named
from site_node.sheets.table import CELL_PROBLEMS, Cell, CellInvalid, identifier_of

Value = str | int | float | date | None
DateOrder = Literal["iso", "dmy", "mdy"]

_EARLIEST = 1900  # no patient of today has an earlier date
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*(.*)")
_ISO = re.compile(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?")
_ORDERED = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?: \d{1,2}:\d{2}(?::\d{2})?)?")


PROBLEMS = MappingProxyType(
    {
        "unknown-code": "this is none of the codes of the column",
        "no-number": "this is no number",
        "no-whole-number": "this is no whole number",
        "out-of-range": "this number is outside the column's range",
        "other-unit": "this is in another unit than the column asks for; convert it, or name the unit in a mapping",
        "no-date": "this is no date; write it as YYYY-MM-DD",
        "date-order": "day and month cannot be told apart; write YYYY-MM-DD, or name the column's order in a mapping",
        "ambiguous-number": "the comma may part thousands or decimals; write the number with a point",
    }
    | CELL_PROBLEMS
)


@dataclass(frozen=True)
class Column:
    """How one column is read: its field and what a mapping adds."""

    field: Field
    heading: str = dataclasses.field(default="", repr=False)  # as the sheet writes it
    dates: DateOrder = "iso"
    unit: str | None = None  # as the sheet states it; `None`: it states none
    converted: bool = False  # whether a person named the unit, so that numbers may be converted
    codes: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)  # further spellings
    _cache: dict[tuple[type, Cell], Value | CellInvalid] = dataclasses.field(default_factory=dict, repr=False)

    def value(self, cell: Cell) -> Value:
        """The typed value of a cell; `None` for an empty one. Raises `CellInvalid` with a code of `PROBLEMS`."""
        if not self.field.leaves:
            return text_of(identifier_of(cell)) or None
        key = (type(cell), cell)  # 1, 1.0 and True are equal and read differently
        if key not in self._cache:
            self._cache[key] = self._value_or_problem(cell)
        value = self._cache[key]
        if isinstance(value, CellInvalid):
            raise CellInvalid(str(value))
        return value

    def _value_or_problem(self, cell: Cell) -> Value | CellInvalid:
        try:
            return self._read(cell)
        except CellInvalid as error:
            return error

    def _read(self, cell: Cell) -> Value:
        text = text_of(cell)
        if not text:
            return None
        if self.field.kind == "code":
            return self._code(text)
        if self.field.kind == "date":
            return day_of(text, self.dates)
        return self._number(text)

    def _code(self, text: str) -> str:
        if (code := self._meanings.get(text.casefold())) is None:
            raise CellInvalid("unknown-code")
        return code

    @cached_property
    def _meanings(self) -> dict[str, str]:
        spellings = {
            name.casefold(): code.value
            for code in reversed(self.field.codes)  # of two codes that share a spelling the first counts
            for name in (*code.also, code.meaning, code.value)
        }
        return spellings | {name.casefold(): code for name, code in self.codes.items()}

    def _number(self, text: str) -> int | float:
        if _GROUPED.fullmatch(text):
            raise CellInvalid("ambiguous-number")
        parts = _NUMBER.fullmatch(text)
        if not parts:
            raise CellInvalid("no-number")
        number = self._in_unit(float(parts[1].replace(",", ".")), parts[2])
        if self.field.kind == "integer" and not number.is_integer():
            raise CellInvalid("no-whole-number")
        low, high = self.field.minimum, self.field.maximum
        if (low is not None and number < low) or (high is not None and number > high):
            raise CellInvalid("out-of-range")
        return int(number) if self.field.kind == "integer" else number

    def _in_unit(self, number: float, written: str) -> float:
        """The number in the field's unit; a unit beside the number must be the column's."""
        target = self.field.unit or ""
        stated = self.unit or target
        if written and (unit := unit_named(written)) != stated:
            raise CellInvalid("no-number" if unit is None else "other-unit")
        if stated != target and not self.converted:
            raise CellInvalid("other-unit")
        return convert(number, stated, target)


def text_of(cell: Cell) -> str:
    """A cell as text; a whole number that the sheet holds as a float reads without its point."""
    if isinstance(cell, str):
        return " ".join(cell.replace("\0", " ").split())
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def day_of(text: str, order: DateOrder) -> date:
    """The day of a text, such as a true date's; what is not ISO is read only in the order that a person named."""
    if parts := _ISO.fullmatch(text):
        return _day(*(int(part) for part in parts.groups()))
    parts = _ORDERED.fullmatch(text)
    if not parts:
        raise CellInvalid("no-date")
    if order == "iso":
        raise CellInvalid("date-order")
    first, second, year = int(parts[1]), int(parts[3]), int(parts[4])
    return _day(year, second, first) if order == "dmy" else _day(year, first, second)


def is_ordered(text: str) -> bool:
    """Whether a text is a date with day and month, in some order, before the year."""
    return _ORDERED.fullmatch(text) is not None


def _day(year: int, month: int, day: int) -> date:
    if year < _EARLIEST:
        raise CellInvalid("no-date")
    try:
        return date(year, month, day)
    except ValueError:
        raise CellInvalid("no-date") from None
