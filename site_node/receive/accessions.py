"""Read a list of accession numbers: typed or pasted text, a text file, or a column of a CSV or XLSX.

A row that cannot be requested is reported with a code; the others are unaffected. Nothing is guessed silently: a
column is chosen automatically only if exactly one has such a heading.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from shared.errors.inputs import AccessionListInvalid, SourceMissing
from shared.frozen import Frozen
from site_node.receive.request_lists import StudyRequest
from site_node.sheets.table import (
    CELL_PROBLEMS,
    CellInvalid,
    Row,
    Table,
    identifier_of,
    separator_of,
    table_of_rows,
    table_of_text,
)
from site_node.sheets.workbook import WorkbookInvalid, is_workbook, read_workbook

ASKED_BEFORE = "asked-before"  # nothing failed and nothing is to be done
PROBLEMS = MappingProxyType(
    {
        "empty": "the row has no accession number",
        "duplicate-in-list": "the accession number stands in the list before; it is asked for once",
        "wildcard": "wildcards would ask for other patients' studies too",
        "control-character": "it holds a character that no accession number has",
        "too-long": "an accession number has at most 16 characters",
        "several-patients-in-list": "the list names another patient for the same accession number before",
        "heading-row": "the row repeats the heading",
        ASKED_BEFORE: "it was asked for before and is on its way, or here",
    }
    | CELL_PROBLEMS
)
_HEADING = re.compile(
    r"accession([ _-]*(number|no|nr|num|#|id))?[.:]?|acc[ ._-]*(no|nr|num|number|#)[.:]?", re.IGNORECASE
)
_HEADING_ROWS = 10  # the first rows, which are searched for headings
_MOST_CHARACTERS = 16  # of VR SH


class RowProblem(Frozen):
    """A row that is not requested; `code` is one of `PROBLEMS`. The number itself is not repeated."""

    row: int
    code: str


class AccessionList(Frozen):
    """The requests of a list, in its order, and the rows with problems."""

    requests: tuple[StudyRequest, ...]
    rows: tuple[int, ...]  # of each request, from 1
    problems: tuple[RowProblem, ...]


def read_accessions(file: Path, *, column: str = "", patient_column: str = "") -> AccessionList:
    """Read a file.

    Args:
        file: text, CSV or XLSX.
        column: the heading of the accession numbers, if it is not a usual one.
        patient_column: the heading of patient IDs, if they are to be compared.

    Raises `SourceMissing`, `AccessionListInvalid`.
    """
    if not file.is_file():
        raise SourceMissing(source="the list of accession numbers")
    if is_workbook(file):
        return _from_table(_workbook(file), column, patient_column)
    text = _decoded(file.read_bytes())
    if file.suffix.lower() in {".csv", ".tsv"}:
        return _from_table(_delimited(text), column, patient_column)
    return of_text(text, column=column, patient_column=patient_column)


def of_text(text: str, *, column: str = "", patient_column: str = "") -> AccessionList:
    """Numbers as typed or pasted: one a line, or all in one line that commas, semicolons or tabs part.

    Text of more columns, or with a `column` named, is a table. A heading above the numbers is skipped. A number's row
    is its line, or its place in the only line. Raises `AccessionListInvalid`.
    """
    lines = [[part.strip() for part in re.split(r"[,;\t]", line) if part.strip()] for line in text.splitlines()]
    filled = [line for line in lines if line]
    is_row = len(filled) == 1 and not any(_HEADING.fullmatch(part) for part in filled[0])
    if column or patient_column or not (is_row or all(len(line) == 1 for line in filled)):
        return _from_table(_delimited(text), column, patient_column)
    rows = [[part] for part in filled[0]] if is_row else [line or [""] for line in lines]
    first = next((at for at, row in enumerate(rows) if row != [""]), 0)
    has_heading = bool(rows) and _HEADING.fullmatch(rows[first][0])
    return _requests(table_of_rows(rows), first if has_heading else -1, 0, None)


def _from_table(table: Table, column: str, patient_column: str) -> AccessionList:
    heading_row, index = _column(table, column)
    patient = _column(table, patient_column)[1] if patient_column else None
    return _requests(table, heading_row, index, patient)


def _requests(table: Table, heading_row: int, index: int, patient_index: int | None) -> AccessionList:
    """Every filled row below the heading becomes a request or a problem."""
    requests: dict[str, tuple[int, StudyRequest]] = {}
    problems: list[RowProblem] = []
    for at, row in enumerate(table.rows[heading_row + 1 :], start=heading_row + 1):
        code = table.problem_of_row(at, max(heading_row, 0))
        accession = patient = ""
        try:
            accession = _identifier(table, at, index)
            patient = "" if patient_index is None else _identifier(table, at, patient_index)
        except CellInvalid as error:
            code = code or str(error)
        if not code and all(cell in {None, ""} for cell in row):
            continue
        code = code or _problem_of(accession)
        if not code and accession in requests:
            same = not patient or requests[accession][1].patient_id in {"", patient}
            code = "duplicate-in-list" if same else "several-patients-in-list"
        if code:
            problems.append(RowProblem(row=at + 1, code=code))
        else:
            requests[accession] = (at + 1, StudyRequest(accession=accession, patient_id=patient))
    return AccessionList(
        requests=tuple(request for _, request in requests.values()),
        rows=tuple(row for row, _ in requests.values()),
        problems=tuple(problems),
    )


def _identifier(table: Table, at: int, column: int) -> str:
    """The identifier in a cell; raises `CellInvalid` with a code of `PROBLEMS`."""
    if code := table.problem_of_cell(at, column):
        raise CellInvalid(code)
    row = table.rows[at]
    return identifier_of(row[column]) if column < len(row) else ""


def _column(table: Table, name: str) -> tuple[int, int]:
    """Row and column of the only heading that matches; raises `AccessionListInvalid`."""
    if any(_headings(other.rows, name) for other in table.others):
        raise AccessionListInvalid(problem="more than one of its sheets has the column; keep the one that is meant")
    if headings := _headings(table.rows, name):
        if len(headings) > 1:
            raise AccessionListInvalid(problem="more than one column may be meant; name one with --column")
        return headings[0]
    if name:
        raise AccessionListInvalid(problem=f"no heading in its first {_HEADING_ROWS} rows is the column named")
    raise AccessionListInvalid(problem="no column is called Accession or Accession Number; name it with --column")


def _headings(rows: Sequence[Row], name: str) -> list[tuple[int, int]]:
    """Row and column of each heading that matches, in the first row that has one."""
    for number, row in enumerate(rows[:_HEADING_ROWS]):
        if places := [(number, column) for column, cell in enumerate(row) if _is_heading(str(cell).strip(), name)]:
            return places
    return []


def _is_heading(heading: str, name: str) -> bool:
    return heading.casefold() == name.strip().casefold() if name else _HEADING.fullmatch(heading) is not None


def _problem_of(text: str) -> str:
    if not text:
        return "empty"
    if set(text) & set("*?\\"):
        return "wildcard"
    if _HEADING.fullmatch(text):
        return "heading-row"
    if not text.isprintable():
        return "control-character"
    return "too-long" if len(text) > _MOST_CHARACTERS else ""


def _workbook(file: Path) -> Table:
    try:
        return read_workbook(file)
    except WorkbookInvalid as error:
        raise AccessionListInvalid(problem=str(error)) from None


def _delimited(text: str) -> Table:
    try:
        if delimiter := separator_of(text):
            return table_of_text(text, delimiter)
    except csv.Error:
        raise AccessionListInvalid(problem="its quotes do not pair") from None
    raise AccessionListInvalid(problem="what parts its columns cannot be told; save it as XLSX")


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise AccessionListInvalid(problem="it is no text, and its name does not end like a workbook's")
