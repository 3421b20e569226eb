"""What is wrong with a sheet, and where; never what a cell holds."""

from shared.frozen import Frozen
from site_node.clinical.cells import PROBLEMS


class CellProblem(Frozen):
    """What is wrong, and where; never the cell's content. `column` is a heading of the dictionary or a letter."""

    row: int
    column: str | None
    code: str
    message: str
    letter: str | None = None  # the column's letter in the sheet, where the problem is one cell's


def cell_problem(row: int, index: int, title: str, code: str) -> CellProblem:
    """A problem of one cell by its code in `PROBLEMS`; `row` from 1, `index` from 0."""
    return CellProblem(row=row, column=title, code=code, message=PROBLEMS[code], letter=letter_of(index))


def letter_of(index: int) -> str:
    """Letters of a column as spreadsheets write them, counted from 0: 26 is AA."""
    letters = ""
    while index >= 0:
        letters = chr(ord("A") + index % 26) + letters
        index = index // 26 - 1
    return letters


def index_of(letters: str) -> int:
    """The column of its letters, counted from 0."""
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1
