"""A table of cells from a workbook or from text, and which of its cells cannot be relied on.

Lists of accession numbers and clinical sheets are read by these rules alone, so that both judge a cell alike. Nothing
that a spreadsheet spoilt is read as blank or as it stands: it has a code of `CELL_PROBLEMS`.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType

Cell = str | int | float | bool | date | datetime | time | timedelta | None
Row = Sequence[Cell]
Place = tuple[int, int]  # row and column from 0

CELL_PROBLEMS = MappingProxyType(
    {
        "formula": "a formula is not evaluated; put its value in its place",
        "merged": "merged cells belong to no one row and column; part them and fill in each",
        "error-cell": "the cell holds an error such as #N/A; put its value in its place",
        "zero-padded": "the cell shows zeros before a number that has none; format the column as text",
        "number-cell-too-long": "the sheet keeps only 15 digits of a number; format the column as text",
        "scientific": "a spreadsheet shortened the number, as in 1.2E+10; format the column as text and enter it whole",
        "not-a-number-or-text": "the cell holds a date, a time or a truth value; format the column as text",
        "date-1904": "the workbook counts days from 1904, so dates from other workbooks are four years off; write text",
        "hidden-row": "the row is hidden or filtered out; show it, or delete it",
        "more-cells": "the row has more cells than there are headings; a comma in a cell may have parted it",
    }
)
SEPARATORS = MappingProxyType({"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"})
_SAMPLED_RECORDS = 20  # read to find the separator
_MOST_DIGITS = 15  # of a spreadsheet's number
_LITERAL = re.compile(r'"(?P<text>[^"]*)"|(?P<number>[+-]?\d+(?:\.\d+)?)')
_ERROR = re.compile(
    r"#(?:N/A|NV|N/D|DIV/0!|[^\W\d_]+[!?]|GETTING_DATA|#+)"
)  # NV, N/D: in other languages; ##: too narrow
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?E[+-]\d+", re.IGNORECASE)


class CellInvalid(ValueError):
    """A cell is not what its column asks for; the text is the code of a problem, never the cell."""


@dataclass(frozen=True)
class Table:
    """All rows of a sheet, empty ones too, so that an index is a row number minus one. PHI: never shown."""

    rows: Sequence[Row] = field(repr=False)  # each as long as its last filled cell asks
    name: str | None = field(default=None, repr=False)  # of the sheet in its workbook; `None`: it was text
    spoilt: Mapping[Place, str] = field(default_factory=dict)  # cells not to be relied on, by codes of CELL_PROBLEMS
    merged: tuple[tuple[Place, Place], ...] = ()  # first and last cell of each range
    hidden: frozenset[int] = frozenset()  # rows that are hidden or filtered out
    others: "tuple[Table, ...]" = field(default=(), repr=False)  # the further visible sheets of the workbook

    def problem_of_cell(self, row: int, column: int) -> str:
        """The code for a cell that cannot be relied on; empty for any other."""
        return self.spoilt.get((row, column), "") or ("merged" if (row, column) in self._merged_cells else "")

    def problem_of_row(self, row: int, headings: int) -> str:
        """The code for a row that cannot be relied on below its `headings`, the index of a row; empty for any other."""
        if row in self.hidden:
            return "hidden-row"
        beyond = self.rows[row][len(self.rows[headings]) :] if self.name is None else ()
        return "more-cells" if any(cell not in {None, ""} for cell in beyond) else ""

    @cached_property
    def _merged_cells(self) -> frozenset[Place]:
        last = len(self.rows) - 1
        return frozenset(
            (row, column)
            for (top, left), (bottom, right) in self.merged
            for row in range(top, min(bottom, last) + 1)
            for column in range(left, right + 1)
        )


def identifier_of(cell: Cell) -> str:
    """The identifier in a cell, as text; a sheet's whole numbers are floats. Raises `CellInvalid`."""
    if cell is None or isinstance(cell, str):
        text = (cell or "").strip()
        if _SCIENTIFIC.fullmatch(text):
            raise CellInvalid("scientific")
        return text
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not float(cell).is_integer():
        raise CellInvalid("not-a-number-or-text")
    text = str(int(cell))
    if len(text) > _MOST_DIGITS:
        raise CellInvalid("number-cell-too-long")
    return text


def is_error(text: str) -> bool:
    """Whether a text is what a spreadsheet shows in place of a value, such as #REF!."""
    return text.startswith("#") and _ERROR.fullmatch(text.strip()) is not None


def literal_of(formula: str) -> str | None:
    """The value of a formula (without its `=`) that is one text or number in full; `None` for any other."""
    literal = _LITERAL.fullmatch(formula.strip())
    if not literal:
        return None
    return literal["number"] if literal["text"] is None else literal["text"]


def table_of_text(text: str, delimiter: str) -> Table:
    """The table of delimited text (RFC 4180); raises `csv.Error` where its quotes do not pair."""
    return table_of_rows(list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)))


def table_of_rows(rows: list[list[str]]) -> Table:
    """The table of texts; a formula that is a literal, as programs write `="0012"`, becomes its value."""
    spoilt: dict[Place, str] = {}
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            if is_error(cell):
                spoilt[at, column] = "error-cell"
            elif cell.startswith("="):
                literal = literal_of(cell[1:])
                if literal is None:
                    spoilt[at, column] = "formula"
                else:
                    row[column] = literal
    return Table(rows, spoilt=spoilt)


def separator_of(text: str) -> str | None:
    """The delimiter that splits most records into equally many columns; `None` on a tie. Raises `csv.Error`."""
    scores = {delimiter: _evenness(text, delimiter) for delimiter in SEPARATORS.values()}
    best = max(scores.values())
    leading = [delimiter for delimiter, score in scores.items() if score == best]
    return None if best and len(leading) > 1 else leading[0]


def _evenness(text: str, delimiter: str) -> int:
    widths: Counter[int] = Counter()
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
        if number == _SAMPLED_RECORDS:
            break
        widths[len(row)] += len(row) > 1
    return max(((width - 1) * count for width, count in widths.items()), default=0)
