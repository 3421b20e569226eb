"""Read a list of accession numbers: typed or pasted text, a text file, or a column of a CSV or XLSX.

A row that cannot be requested is reported with a code; the others are unaffected. Nothing is guessed silently: a
column is chosen automatically only if exactly one has such a heading.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType

from shared.errors import AccessionListInvalid, SourceMissing
from shared.frozen import Frozen
from site_node.receive.request_lists import StudyRequest
from site_node.workbook import Cell, Place, Row, Table, WorkbookInvalid, is_workbook, read_workbook

PROBLEMS = MappingProxyType(
    {
        "empty": "the row has no accession number",
        "duplicate-in-list": "the accession number stands in the list before; it is asked for once",
        "wildcard": "wildcards would ask for other patients' studies too",
        "control-character": "it holds a character that no accession number has",
        "too-long": "an accession number has at most 16 characters",
        "not-a-number-or-text": "the cell holds a date, a time or a truth value; format the column as text",
        "number-cell-too-long": "the sheet keeps only 15 digits of a number; format the column as text",
        "several-patients-in-list": "the list names another patient for the same accession number before",
        "zero-padded": "the cell shows zeros before a number that has none; format the column as text",
        "formula": "the cell holds a formula; paste the number itself as text",
        "merged": "the cell is merged with others, so it belongs to no row; part them",
        "heading-row": "the row repeats the heading",
        "asked-before": "it was asked for before and is on its way, or here",
    }
)
_HEADING = re.compile(
    r"accession([ _-]*(number|no|nr|num|#|id))?[.:]?|acc[ ._-]*(no|nr|num|number|#)[.:]?", re.IGNORECASE
)
_LITERAL = re.compile(r'="([^"]*)"')
_HEADING_ROWS = 10  # the first rows, which are searched for headings
_MOST_CHARACTERS = 16  # of VR SH
_MOST_DIGITS = 15  # of a spreadsheet's number


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
        return _from_table(_workbook(file, column), column, patient_column)
    text = _decoded(file.read_bytes())
    if file.suffix.lower() in {".csv", ".tsv"} or column:
        return _from_table(Table(_delimited(text)), column, patient_column)
    return of_text(text)


def of_text(text: str) -> AccessionList:
    """Numbers separated by line, comma, semicolon or tab, as typed or pasted; a heading above them is skipped.

    If a line holds several, a number's row is its position among all of them, so that each has its own row.
    """
    lines = [(number, part) for number, line in enumerate(text.splitlines(), 1) for part in re.split(r"[,;\t]", line)]
    cells = [(number, part.strip(), "") for number, part in lines if part.strip()]
    if len({number for number, _, _ in cells}) < len(cells):
        cells = [(position, part, "") for position, (_, part, _) in enumerate(cells, 1)]
    if cells and _HEADING.fullmatch(cells[0][1]):
        cells = cells[1:]
    return _accession_list(cells)


def _from_table(table: Table, column: str, patient_column: str) -> AccessionList:
    rows, unreliable = table.rows, _unreliable(table)
    heading_row, index = _column(rows, column)
    patient = _column(rows, patient_column)[1] if patient_column else None
    cells: list[tuple[int, Cell, str]] = []
    problems: list[RowProblem] = []
    for number, row in enumerate(rows[heading_row + 1 :], start=heading_row + 2):
        code = unreliable.get((number - 1, index), "")
        if not code and patient is not None:
            code = unreliable.get((number - 1, patient), "")
        if code:
            problems.append(RowProblem(row=number, code=code))
        elif any(cell not in {None, ""} for cell in row):
            patient_cell = row[patient] if patient is not None and patient < len(row) else ""
            cells.append((number, row[index] if index < len(row) else "", _text_of(patient_cell)[0]))
    listed = _accession_list(cells)
    return listed.model_copy(update={"problems": (*problems, *listed.problems)})


def _column(rows: Sequence[Row], name: str) -> tuple[int, int]:
    """Row and column of the heading; raises `AccessionListInvalid` if none matches, or more than one."""
    for number, row in enumerate(rows[:_HEADING_ROWS]):
        cells = [str(cell).strip() for cell in row]
        columns = [column for column, cell in enumerate(cells) if _is_heading(cell, name)]
        if len(columns) > 1:
            raise AccessionListInvalid(problem="more than one column may be meant; name one with --column")
        if columns:
            return number, columns[0]
    if name:
        raise AccessionListInvalid(problem=f"no heading in its first {_HEADING_ROWS} rows is the column named")
    raise AccessionListInvalid(problem="no column is called Accession or Accession Number; name it with --column")


def _has_column(rows: Sequence[Row], name: str) -> bool:
    """Whether a sheet has the column."""
    return any(_is_heading(str(cell).strip(), name) for row in rows[:_HEADING_ROWS] for cell in row)


def _is_heading(heading: str, name: str) -> bool:
    return heading.casefold() == name.strip().casefold() if name else _HEADING.fullmatch(heading) is not None


def _accession_list(cells: Sequence[tuple[int, Cell, str]]) -> AccessionList:
    """Every cell becomes a request or a problem."""
    requests: dict[str, tuple[int, StudyRequest]] = {}
    problems: list[RowProblem] = []
    for row, cell, patient in cells:
        text, code = _text_of(cell)
        code = code or _problem_of(text)
        if not code and text in requests:
            same = not patient or requests[text][1].patient_id in {"", patient}
            code = "duplicate-in-list" if same else "several-patients-in-list"
        if code:
            problems.append(RowProblem(row=row, code=code))
        else:
            requests[text] = (row, StudyRequest(accession=text, patient_id=patient))
    return AccessionList(
        requests=tuple(request for _, request in requests.values()),
        rows=tuple(row for row, _ in requests.values()),
        problems=tuple(problems),
    )


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


def _text_of(cell: Cell) -> tuple[str, str]:
    """A cell as text, or a code of `PROBLEMS`; a sheet's whole numbers are floats."""
    if cell is None or isinstance(cell, str):
        text = (cell or "").strip()
        literal = _LITERAL.fullmatch(text)  # as programs write text that looks like a number
        return (literal[1], "") if literal else (text, "formula" if text.startswith("=") else "")
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not float(cell).is_integer():
        return "", "not-a-number-or-text"
    text = str(int(cell))
    return text, "number-cell-too-long" if len(text) > _MOST_DIGITS else ""


def _workbook(file: Path, column: str) -> Table:
    """The first visible sheet, where no other has the column."""
    try:
        table, *others = read_workbook(file)
    except WorkbookInvalid as error:
        raise AccessionListInvalid(problem=str(error)) from None
    if any(_has_column(other.rows, column) for other in others):
        raise AccessionListInvalid(problem="more than one of its sheets has the column; keep the one that is meant")
    return table


def _unreliable(table: Table) -> dict[Place, str]:
    """Cells whose value cannot be relied on, each with its code."""
    merged = (
        (row, column)
        for (top, left), (bottom, right) in table.merged
        for row in range(top, bottom + 1)
        for column in range(left, right + 1)
    )
    padded, formulas = dict.fromkeys(table.padded, "zero-padded"), dict.fromkeys(table.formulas, "formula")
    return padded | dict.fromkeys(merged, "merged") | formulas


def _delimited(text: str) -> list[list[Cell]]:
    start = "".join(text.splitlines(keepends=True)[:_HEADING_ROWS])
    delimiter = max(",;\t", key=start.count)
    try:
        return [list(row) for row in _rows(text, delimiter)]
    except csv.Error:
        raise AccessionListInvalid(problem="its quotes do not pair") from None


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise AccessionListInvalid(problem="it is no text, and its name does not end like a workbook's")
