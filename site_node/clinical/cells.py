"""From one cell of a sheet to one typed value of the dictionary. Nothing is guessed: what is unclear is a problem."""

import re
from datetime import date, datetime

from shared.protocol.clinical import Field

Cell = str | int | float | bool | date | datetime | None | object
Value = str | int | float | date | None


class CellInvalid(ValueError):
    """A cell is not what its column asks for; the text is a code of `PROBLEMS`, never the cell."""


PROBLEMS = {
    "unknown-code": "this is none of the codes of the column",
    "no-number": "this is no number",
    "no-whole-number": "this is no whole number",
    "out-of-range": "this number is outside the column's range",
    "no-date": "this is no date; write it as YYYY-MM-DD",
    "ambiguous-date": "day and month cannot be told apart; write the date as YYYY-MM-DD",
    "ambiguous-number": "the comma may part thousands or decimals; write the number with a point",
}


def value_of(cell: Cell, field: Field) -> Value:
    """The typed value of a cell; `None` for an empty one. Raises `CellInvalid` with a code of `PROBLEMS`."""
    text = text_of(cell)
    if not text:
        return None
    if field.kind == "code":
        return _code(text, field)
    if field.kind == "date":
        return _date(cell, text)
    if field.kind in {"integer", "number"}:
        return _number(text, field)
    return text


def text_of(cell: Cell) -> str:
    """A cell as text; a whole number that the sheet holds as a float reads without its point."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return " ".join(str(cell).replace("\0", " ").split())


def _code(text: str, field: Field) -> str:
    wanted = text.casefold()
    for code in field.codes:
        if wanted in {name.casefold() for name in (code.value, code.meaning, *code.also)}:
            return code.value
    raise CellInvalid("unknown-code")


def _number(text: str, field: Field) -> int | float:
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", text):
        raise CellInvalid("ambiguous-number")
    if not re.fullmatch(r"[+-]?\d+([.,]\d+)?", text):
        raise CellInvalid("no-number")
    number = float(text.replace(",", "."))
    if field.kind == "integer" and not number.is_integer():
        raise CellInvalid("no-whole-number")
    if (field.minimum is not None and number < field.minimum) or (field.maximum is not None and number > field.maximum):
        raise CellInvalid("out-of-range")
    return int(number) if field.kind == "integer" else number


def _date(cell: Cell, text: str) -> date:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    found = re.fullmatch(r"(\d{4})[-./]?(\d{2})[-./]?(\d{2})(?:[T ]00:00(?::00)?)?", text)
    if found:
        return _day(*(int(part) for part in found.groups()))
    found = re.fullmatch(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", text)  # points are written day first
    if found:
        return _day(int(found[3]), int(found[2]), int(found[1]))
    found = re.fullmatch(r"(\d{1,2})[/-](\d{1,2})[/-](\d{4})", text)
    if found:
        return _slashed(int(found[1]), int(found[2]), int(found[3]))
    raise CellInvalid("no-date")


def _slashed(first: int, second: int, year: int) -> date:
    """`a/b/year` is clear only where one of the two cannot be a month, or both are the same."""
    if first <= 12 and second <= 12 and first != second:  # noqa: PLR2004 - months of a year
        raise CellInvalid("ambiguous-date")
    return _day(year, second, first) if first > 12 else _day(year, first, second)  # noqa: PLR2004 - months of a year


def _day(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise CellInvalid("no-date") from None
