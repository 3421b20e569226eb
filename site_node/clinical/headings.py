"""Which row of a sheet holds its headings, and which field of the dictionary each column is.

Only the dictionary's own names are known here; any other heading needs a mapping that a person reviewed.
Headings on two rows are refused, not joined; a cell merged downwards over heading rows is one heading.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors.inputs import ClinicalSheetInvalid
from shared.protocol.clinical import ClinicalDictionary, Field
from site_node.clinical.cell_problem import CellProblem, letter_of
from site_node.clinical.cells import Column, text_of
from site_node.clinical.units import unit_named
from site_node.sheets.table import Cell, Row, Table

HEADING_ROWS = 10  # headings stand in one of the first rows; titles may stand above
_SECOND_ROW = 2  # known headings that make the next row one of headings; one is chance: a ward may be called ICU
_SECOND_SHEET = 2  # columns that make a further sheet one of data, where the first has as many
_MAP = "; `ricord-site clinical map` proposes a mapping for a person to complete"
_BRACKETS = re.compile(r"(?P<name>.*\S)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]\s*")


@dataclass(frozen=True)
class Headings:
    """Where the rows of data begin and how each column is read."""

    at: int  # the row of headings, from 0
    columns: Mapping[int, Column]
    problems: tuple[CellProblem, ...] = ()
    skipped: frozenset[int] = frozenset()  # rows below that belong to the headings


def plain(heading: str) -> str:
    """A heading as it is compared: words in lower case, single spaces between them."""
    return re.sub(r"[\W_]+", " ", heading.casefold()).strip()


def names_of(dictionary: ClinicalDictionary) -> dict[str, Field]:
    """Every name that the dictionary gives a field, as `plain` writes it."""
    return {plain(name): field for field in dictionary.fields for name in (field.name, field.title, *field.also)}


def known_field(cell: Cell, names: Mapping[str, Field]) -> tuple[Field, str | None] | None:
    """The field that a heading names, and the unit in brackets after it."""
    text = text_of(cell)
    if field := names.get(plain(text)):
        bracketed = _BRACKETS.fullmatch(text)
        return field, unit_named(bracketed["unit"]) if bracketed and field.unit else None
    bracketed = _BRACKETS.fullmatch(text)
    unit = unit_named(bracketed["unit"]) if bracketed else None
    field = names.get(plain(bracketed["name"])) if bracketed and unit else None
    return (field, unit) if field else None


def heading_rows(table: Table) -> Sequence[Row]:
    """The first rows; a cell merged downwards fills each row that it covers."""
    rows = [list(row) for row in table.rows[:HEADING_ROWS]]
    for (top, left), (bottom, right) in table.merged:
        if left == right and top < len(rows):
            for row in rows[top + 1 : bottom + 1]:
                if left < len(rows[top]):
                    row.extend([""] * (left + 1 - len(row)))
                    row[left] = rows[top][left]
    return rows


def find_headings(table: Table, dictionary: ClinicalDictionary) -> Headings:
    """The row that names most fields; raises `ClinicalSheetInvalid` for no key, a repeat, two rows or merged cells."""
    names = names_of(dictionary)
    rows = heading_rows(table)
    known = [{column: match for column, cell in enumerate(row) if (match := known_field(cell, names))} for row in rows]
    at = max(range(len(known)), key=lambda index: len(known[index]))
    fields = {column: field for column, (field, _) in known[at].items()}
    _check_keys(fields)
    _check_one_row(at, known)
    _check_merged(at, fields, table)
    units, skipped = _unit_row(at, fields, rows)
    columns = {
        column: Column(field, text_of(rows[at][column]), unit=unit or units.get(column))
        for column, (field, unit) in known[at].items()
    }
    return Headings(at, columns, _unknown(rows[at], columns, at), skipped)


def check_other_sheets(table: Table, headings: Headings, dictionary: ClinicalDictionary) -> None:
    """Raise `ClinicalSheetInvalid` where a further sheet of the workbook has such headings, a key among them."""
    names, columns = names_of(dictionary), headings.columns.values()
    read = {plain(column.heading): column.field for column in columns}
    for row in (row for other in table.others for row in heading_rows(other)):
        known = (known_field(cell, names) for cell in row)
        same = [field for cell in row if (field := read.get(plain(text_of(cell))))]
        fields = {field.name: field for field in (*same, *(match[0] for match in known if match))}
        if len(fields) >= min(_SECOND_SHEET, len(read)) and any(field.kind == "key" for field in fields.values()):
            raise ClinicalSheetInvalid(
                problem="more than one of its sheets has the headings; keep the one that is meant"
            )


def _check_keys(fields: Mapping[int, Field]) -> None:
    if not any(field.kind == "key" for field in fields.values()):
        problem = f"no column is headed MRN, Accession number or Study instance UID{_MAP}"
        raise ClinicalSheetInvalid(problem=problem)
    twice = [name for name, count in Counter(field.title for field in fields.values()).items() if count > 1]
    if twice:
        raise ClinicalSheetInvalid(problem=f"two columns are headed {twice[0]}{_MAP}")


def _check_one_row(at: int, known: Sequence[Mapping[int, tuple[Field, str | None]]]) -> None:
    """The rows next to the headings must not name further fields."""
    fields = [{field.name for field, _ in row.values()} for row in known]
    for other, needed in ((at - 1, 1), (at + 1, _SECOND_ROW)):
        if 0 <= other < len(known) and len(known[other]) >= needed and fields[other] - fields[at]:
            first, second = sorted((at + 1, other + 1))
            problem = f"its headings stand on two rows, {first} and {second}; put them on one{_MAP}"
            raise ClinicalSheetInvalid(problem=problem)


def _check_merged(at: int, fields: Mapping[int, Field], table: Table) -> None:
    for (top, left), (bottom, right) in table.merged:
        if top <= at <= bottom and left < right and any(left <= column <= right for column in fields):
            raise ClinicalSheetInvalid(
                problem=f"the heading in column {letter_of(left)} is merged over several columns"
            )


def _unit_row(at: int, fields: Mapping[int, Field], rows: Sequence[Row]) -> tuple[dict[int, str], frozenset[int]]:
    """The units, where the row below the headings holds nothing else."""
    if at + 1 >= len(rows):
        return {}, frozenset()
    below = {column: text_of(cell) for column, cell in enumerate(rows[at + 1]) if text_of(cell)}
    units = {column: unit for column, text in below.items() if (unit := unit_named(text))}
    keyed = any(column in below for column, field in fields.items() if field.kind == "key")
    if not below or len(units) < len(below) or keyed:
        return {}, frozenset()
    return {column: unit for column, unit in units.items() if column in fields}, frozenset({at + 1})


def _unknown(headings: Row, columns: Mapping[int, Column], at: int) -> tuple[CellProblem, ...]:
    message = f"the dictionary has no such column; it is not read{_MAP}"
    return tuple(
        CellProblem(
            row=at + 1, column=letter_of(index), code="unknown-column", message=message, letter=letter_of(index)
        )
        for index, cell in enumerate(headings)
        if index not in columns and text_of(cell)
    )
