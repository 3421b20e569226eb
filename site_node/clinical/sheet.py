"""A clinical sheet as typed rows and a list of problems, and the join of its rows to studies."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field as Setting

from shared.errors import ClinicalSheetInvalid
from shared.frozen import Frozen
from shared.protocol.clinical import ClinicalDictionary, Field
from site_node.clinical.cells import PROBLEMS, CellInvalid, Value, text_of, value_of
from site_node.clinical.table import Row, read_table
from site_node.study import ClinicalRow

_HEADING_ROWS = 10  # headings stand in one of the first rows; titles may stand above
_KEYS = ("study_uid", "accession", "mrn")  # from the one that names a study best


class CellProblem(Frozen):
    """What is wrong, and where; never the cell's content. `column` is a heading of the dictionary or a letter."""

    row: int
    column: str | None
    code: str
    message: str


class ClinicalSheet(Frozen):
    """The rows that can be used and every problem found. PHI."""

    rows: tuple[ClinicalRow, ...] = Setting(repr=False)
    problems: tuple[CellProblem, ...]

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str], Sequence[ClinicalRow]]:
        index: defaultdict[tuple[str, str], list[ClinicalRow]] = defaultdict(list)
        for row in self.rows:
            for name, value in row.keys.items():
                index[name, value].append(row)
        return index

    def row_for(
        self, *, patient_id: str | None = None, accession: str | None = None, study_uid: str | None = None
    ) -> ClinicalRow | None:
        """The one row that joins a study; `None` where none does or more than one could.

        A row joins by the best key it has (study UID, then accession, then MRN), and no key that both have may differ:
        an accession that the sheet gives to another patient joins nothing.
        """
        study = {"mrn": patient_id, "accession": accession, "study_uid": study_uid}
        known = {name: text_of(value) for name, value in study.items() if value and text_of(value)}
        for name in _KEYS:
            rows = [row for row in self._by_key.get((name, known.get(name, "")), ()) if _best(row) == name]
            rows = [row for row in rows if all(row.keys.get(key, value) == value for key, value in known.items())]
            if rows:
                return rows[0] if len(rows) == 1 else None
        return None


def _best(row: ClinicalRow) -> str:
    return next(name for name in _KEYS if name in row.keys)


def read_sheet(path: Path, dictionary: ClinicalDictionary) -> ClinicalSheet:
    """Read XLSX, XLS, ODS or CSV.

    A cell that is not what its column asks for is a problem and counts as empty; a row without any key, and rows that
    one study could not be told apart by, are problems and are not joined. Free text is not kept at all.

    Raises:
        SourceMissing: there is no such file.
        ClinicalSheetInvalid: it is no sheet, or has no headings of the dictionary or two columns under one.
    """
    table = read_table(path)
    at, columns = _headings(table, dictionary)
    problems = _unknown_columns(table[at], columns, at)
    rows: list[ClinicalRow] = []
    for number, cells in enumerate(table[at + 1 :], start=at + 2):
        if not any(text_of(cell) for cell in cells):
            continue
        row, found = _read_row(number, cells, columns)
        problems += found
        rows += [row] if row else []
    doubled = _doubled(rows)
    gone = {problem.row for problem in doubled}
    return ClinicalSheet(rows=tuple(row for row in rows if row.row not in gone), problems=(*problems, *doubled))


def _headings(table: Sequence[Row], dictionary: ClinicalDictionary) -> tuple[int, dict[int, Field]]:
    """The row of headings (from 0) and the field of each column: the row that knows most headings."""
    names = {_plain(name): field for field in dictionary.fields for name in (field.name, field.title, *field.also)}
    known = [
        {column: names[_plain(text_of(cell))] for column, cell in enumerate(row) if _plain(text_of(cell)) in names}
        for row in table[:_HEADING_ROWS]
    ]
    at = max(range(len(known)), key=lambda index: len(known[index]))
    columns = known[at]
    if not any(field.kind == "key" for field in columns.values()):
        raise ClinicalSheetInvalid(problem="no column is headed MRN, Accession number or Study instance UID")
    twice = [name for name, count in Counter(field.title for field in columns.values()).items() if count > 1]
    if twice:
        raise ClinicalSheetInvalid(problem=f"two columns are headed {twice[0]}")
    return at, columns


def _plain(heading: str) -> str:
    return re.sub(r"[\W_]+", " ", heading.casefold()).strip()


def _unknown_columns(headings: Row, columns: Mapping[int, Field], at: int) -> list[CellProblem]:
    message = "the dictionary has no such column; it is not read"
    return [
        CellProblem(row=at + 1, column=_letter(index), code="unknown-column", message=message)
        for index, cell in enumerate(headings)
        if index not in columns and text_of(cell)
    ]


def _letter(index: int) -> str:
    """Letters of a column as spreadsheets write them, counted from 0: 26 is AA."""
    letters = ""
    while index >= 0:
        letters = chr(ord("A") + index % 26) + letters
        index = index // 26 - 1
    return letters


def _read_row(number: int, cells: Row, columns: Mapping[int, Field]) -> tuple[ClinicalRow | None, list[CellProblem]]:
    values: dict[str, Value] = {}
    problems: list[CellProblem] = []
    for column, field in columns.items():
        try:
            values[field.name] = value_of(cells[column] if column < len(cells) else None, field)
        except CellInvalid as error:
            values[field.name] = None
            code = str(error)
            problems.append(CellProblem(row=number, column=field.title, code=code, message=PROBLEMS[code]))
    keys = {
        field.name: str(values[field.name]) for field in columns.values() if field.kind == "key" and values[field.name]
    }
    if not keys:
        message = "the row names no patient and no exam; it is not used"
        return None, [*problems, CellProblem(row=number, column=None, code="no-key", message=message)]
    kept = {field.name: values[field.name] for field in columns.values() if field.leaves}
    return ClinicalRow(row=number, keys=keys, values=kept), problems


def _doubled(rows: Iterable[ClinicalRow]) -> tuple[CellProblem, ...]:
    """Rows that name the same study by their best key: none of them can be trusted."""
    groups: defaultdict[tuple[str, ...], list[ClinicalRow]] = defaultdict(list)
    for row in rows:
        best = _best(row)
        groups[best, row.keys[best]].append(row)
    message = "another row names the same exam; neither is used"
    return tuple(
        CellProblem(row=row.row, column=None, code="duplicate-row", message=message)
        for same in groups.values()
        if len(same) > 1
        for row in same
    )
