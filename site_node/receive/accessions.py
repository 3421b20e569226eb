"""Read a list of accession numbers: typed or pasted text, a text file, or a column of a CSV or workbook.

What cannot be asked for is told by its row with a code; the rest goes on. Nothing is guessed silently: a column is
taken by itself only where exactly one is called so.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from types import MappingProxyType

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from shared.errors import AccessionListInvalid, SourceMissing
from shared.frozen import Frozen
from site_node.receive.request_lists import Wanted

Place = tuple[int, int]  # row and column from 0
Cell = int | float | str | bool | time | date | datetime | timedelta | None

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
_LOOKED_AT = 10  # rows in which headings are looked for
_LONGEST = 16  # characters of VR SH
_MOST_DIGITS = 15  # that a spreadsheet's number holds
WORKBOOKS = frozenset({".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"})
NOTHING: Mapping[Place, str] = MappingProxyType({})


class Problem(Frozen):
    """A row that is not asked for; `code` is one of `PROBLEMS`. The number itself is not repeated."""

    row: int
    code: str


class AccessionList(Frozen):
    """What a list asks for, in its order, and what it cannot."""

    wanted: tuple[Wanted, ...]
    rows: tuple[int, ...]  # where each stands, from 1
    problems: tuple[Problem, ...]


def read_accessions(
    file: Path, *, column: str = "", patient_column: str = "", spoilt: Mapping[Place, str] = NOTHING
) -> AccessionList:
    """Read a file.

    Args:
        file: text, CSV or a workbook.
        column: the heading of the accession numbers, if none is called so.
        patient_column: the heading of patient IDs, if they are to be compared.
        spoilt: cells of a workbook whose value says nothing for sure, each with a code of `PROBLEMS`.

    Raises `SourceMissing`, `AccessionListInvalid`.
    """
    if not file.is_file():
        raise SourceMissing(source="the list of accession numbers")
    if file.suffix.lower() in WORKBOOKS:
        rows, *others = _workbook(file)
        if any(_has(one, column) for one in others):
            raise AccessionListInvalid(problem="more than one of its sheets has the column; keep the one that is meant")
        return _of_table(rows, column, patient_column, spoilt)
    text = _decoded(file.read_bytes())
    if file.suffix.lower() in {".csv", ".tsv"} or column:
        return _of_table(_delimited(text), column, patient_column, NOTHING)
    return of_text(text)


def of_text(text: str) -> AccessionList:
    """Numbers apart by line, comma, semicolon or tab, as typed or pasted; a heading above them is left out.

    Where lines hold several, a number's row is its place among all of them, so that each has a row of its own.
    """
    lines = [(number, part) for number, line in enumerate(text.splitlines(), 1) for part in re.split(r"[,;\t]", line)]
    cells = [(number, part.strip(), "") for number, part in lines if part.strip()]
    if len({number for number, _, _ in cells}) < len(cells):
        cells = [(place, part, "") for place, (_, part, _) in enumerate(cells, 1)]
    if cells and _HEADING.fullmatch(cells[0][1]):
        cells = cells[1:]
    return _checked(cells)


def _of_table(
    rows: Sequence[Sequence[Cell]], column: str, patient_column: str, spoilt: Mapping[Place, str]
) -> AccessionList:
    at, index = _column(rows, column)
    patient = _column(rows, patient_column)[1] if patient_column else None
    found: list[tuple[int, Cell, str]] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows[at + 1 :], start=at + 2):
        code = spoilt.get((number - 1, index)) or (patient is not None and spoilt.get((number - 1, patient))) or ""
        if code:
            problems.append(Problem(row=number, code=code))
        elif any(cell not in {None, ""} for cell in row):
            whose = row[patient] if patient is not None and patient < len(row) else ""
            found.append((number, row[index] if index < len(row) else "", _plain(whose)[0]))
    listed = _checked(found)
    return listed.model_copy(update={"problems": (*problems, *listed.problems)})


def _column(rows: Sequence[Sequence[Cell]], name: str) -> tuple[int, int]:
    """Row and column of the heading; raises `AccessionListInvalid` where none, or more than one, is it."""
    for number, row in enumerate(rows[:_LOOKED_AT]):
        cells = [str(cell).strip() for cell in row]
        places = [place for place, cell in enumerate(cells) if _is_meant(cell, name)]
        if len(places) > 1:
            raise AccessionListInvalid(problem="more than one column may be meant; name one with --column")
        if places:
            return number, places[0]
    if name:
        raise AccessionListInvalid(problem=f"no heading in its first {_LOOKED_AT} rows is the column named")
    raise AccessionListInvalid(problem="no column is called Accession or Accession Number; name it with --column")


def _has(rows: Sequence[Sequence[Cell]], name: str) -> bool:
    """Whether another sheet has the column too."""
    return any(_is_meant(str(cell).strip(), name) for row in rows[:_LOOKED_AT] for cell in row)


def _is_meant(heading: str, name: str) -> bool:
    return heading.casefold() == name.strip().casefold() if name else _HEADING.fullmatch(heading) is not None


def _checked(cells: Sequence[tuple[int, Cell, str]]) -> AccessionList:
    """Every cell ends as a request or as a problem."""
    wanted: dict[str, tuple[int, Wanted]] = {}
    problems: list[Problem] = []
    for row, cell, patient in cells:
        text, code = _plain(cell)
        code = code or _problem(text)
        if not code and text in wanted:
            same = not patient or wanted[text][1].patient_id in {"", patient}
            code = "duplicate-in-list" if same else "several-patients-in-list"
        if code:
            problems.append(Problem(row=row, code=code))
        else:
            wanted[text] = (row, Wanted(accession=text, patient_id=patient))
    return AccessionList(
        wanted=tuple(one for _, one in wanted.values()),
        rows=tuple(row for row, _ in wanted.values()),
        problems=tuple(problems),
    )


def _problem(text: str) -> str:
    if not text:
        return "empty"
    if set(text) & set("*?\\"):
        return "wildcard"
    if _HEADING.fullmatch(text):
        return "heading-row"
    if not text.isprintable():
        return "control-character"
    return "too-long" if len(text) > _LONGEST else ""


def _plain(cell: Cell) -> tuple[str, str]:
    """A cell as text, and a code where it cannot be; a sheet's whole numbers come as floats."""
    if cell is None or isinstance(cell, str):
        text = (cell or "").strip()
        literal = _LITERAL.fullmatch(text)  # as programs write text that looks like a number
        return (literal[1], "") if literal else (text, "formula" if text.startswith("=") else "")
    if isinstance(cell, bool) or not isinstance(cell, int | float) or not float(cell).is_integer():
        return "", "not-a-number-or-text"
    text = str(int(cell))
    return text, "number-cell-too-long" if len(text) > _MOST_DIGITS else ""


def _workbook(file: Path) -> list[list[list[Cell]]]:
    """The visible sheets."""
    try:
        with file.open("rb") as stream:
            book = CalamineWorkbook.from_filelike(stream)
            visible = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
            if not visible:
                raise AccessionListInvalid(problem="it holds no visible sheet")
            sheets = [book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in visible]
            return [[list(row) for row in rows] for rows in sheets]
    except PasswordError:
        raise AccessionListInvalid(problem="it is protected by a password; save it without one") from None
    except (CalamineError, OSError) as error:
        raise AccessionListInvalid(type(error).__name__, problem="the workbook cannot be read") from None


def _delimited(text: str) -> list[list[Cell]]:
    start = "".join(text.splitlines(keepends=True)[:_LOOKED_AT])
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
