"""The annotated copy of a sheet: every bad cell is coloured, and a comment says what is wrong.

The copy of an XLSX keeps its look and its formulas; of any other kind the values are written anew, as text where they
were text, so that nothing becomes a formula. A last page lists every problem. PHI, readable by its owner only.
"""

import io
import warnings
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell.cell import MergedCell
from openpyxl.comments import Comment
from openpyxl.styles import PatternFill

from shared.durable import replacing
from shared.errors.inputs import ClinicalSheetInvalid
from site_node.clinical.cell_problem import CellProblem
from site_node.sheets.table import Table
from site_node.sheets.workbook import WorkbookInvalid, opened_workbook

_BAD = PatternFill("solid", start_color="FFFFC7CE", end_color="FFFFC7CE")
_AUTHOR = "ricord-site"
_PAGE = "Problems"
_ILLEGAL = {code: None for code in range(32) if code not in {9, 10, 13}}  # characters that XML 1.0 cannot hold


def write_annotated(sheet: Path, table: Table, problems: Iterable[CellProblem], out: Path) -> None:
    """Write the copy of `sheet`, which was read as `table`, to `out`. A problem of a whole row colours its first cell.

    Raises `ClinicalSheetInvalid` when the workbook cannot be copied, `DiskFull`.
    """
    problems = tuple(problems)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl's warnings name what it cannot keep
        book, page = _copy(sheet, table)
        messages_at: defaultdict[str, list[str]] = defaultdict(list)
        for problem in problems:
            messages_at[_coordinate(page, f"{problem.letter or 'A'}{problem.row}")].append(problem.message)
        for coordinate, messages in messages_at.items():
            cell = page[coordinate]
            cell.fill = _BAD
            cell.comment = Comment("\n".join(dict.fromkeys(messages)), _AUTHOR, height=90, width=260)
        _add_problem_page(book, problems)
        content = io.BytesIO()
        book.save(content)
    with replacing(out, mode=0o600) as file:
        file.write(content.getbuffer())


def _copy(sheet: Path, table: Table) -> tuple[Any, Any]:
    if table.name is None:
        return _new_book(table)
    try:
        with opened_workbook(sheet) as book:
            return book, book[table.name]
    except WorkbookInvalid as error:
        raise ClinicalSheetInvalid(problem=str(error)) from None


def _new_book(table: Table) -> tuple[Any, Any]:
    book = Workbook()
    page = book.active
    page.title = "Clinical"
    for row, cells in enumerate(table.rows, start=1):
        for column, value in enumerate(cells, start=1):
            if value not in {None, ""}:
                _write(page.cell(row=row, column=column), value)
    return book, page


def _write(cell: Any, value: Any) -> None:
    if isinstance(value, str):
        cell.value = value.translate(_ILLEGAL)
        cell.data_type = "s"  # text that starts with `=` stays text
    else:
        cell.value = value


def _coordinate(page: Any, coordinate: str) -> str:
    """The cell itself, or the first cell of the merged range that covers it."""
    if isinstance(page[coordinate], MergedCell):
        for merged in page.merged_cells.ranges:
            if coordinate in merged:
                return str(merged.start_cell.coordinate)
    return coordinate


def _add_problem_page(book: Any, problems: Iterable[CellProblem]) -> None:
    page = book.create_sheet(_PAGE)
    page.append(["Row", "Column", "Letter", "Code", "Meaning"])
    for problem in problems:
        page.append([problem.row, problem.column, problem.letter, problem.code, problem.message])
    for letter, width in zip("ABCDE", (8, 24, 8, 20, 90), strict=True):
        page.column_dimensions[letter].width = width
