"""A clinical sheet as typed rows and a list of problems, and the join of its rows to studies."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field as Setting

from shared.frozen import Frozen
from shared.protocol.clinical import ClinicalDictionary
from site_node.clinical.cell_problem import CellProblem, cell_problem, letter_of
from site_node.clinical.cells import Value, is_ordered, text_of
from site_node.clinical.headings import Headings, check_other_sheets, find_headings, names_of, plain
from site_node.clinical.mapping import SheetMapping, apply_mapping
from site_node.clinical.table import read_table
from site_node.sheets.table import CELL_PROBLEMS, CellInvalid, Row, Table
from site_node.study import ClinicalRow

KEYS = ("study_uid", "accession", "mrn")  # the most specific first


class ClinicalSheet(Frozen):
    """The usable rows, and every problem. PHI."""

    rows: tuple[ClinicalRow, ...]  # which show none of their values
    problems: tuple[CellProblem, ...]
    doubled: frozenset[tuple[str, str]] = Setting(default=frozenset(), repr=False)  # keys that several rows join by

    @cached_property
    def _by_key(self) -> Mapping[tuple[str, str], Sequence[ClinicalRow]]:
        index: defaultdict[tuple[str, str], list[ClinicalRow]] = defaultdict(list)
        for row in self.rows:
            for name, value in row.keys.items():
                index[name, value].append(row)
        return index

    def rows_for(self, study: Mapping[str, str]) -> Sequence[ClinicalRow]:
        """Every row that could join a study with these keys, by the best key for which there is one.

        A row joins by the best key it has (study UID, then accession, then MRN), and no key that both have may differ:
        an accession that the sheet gives to another patient joins nothing.
        """
        for name in KEYS:
            rows = [row for row in self._by_key.get((name, study.get(name, "")), ()) if best_key(row)[0] == name]
            rows = [row for row in rows if all(row.keys.get(key, value) == value for key, value in study.items())]
            if rows:
                return rows
        return ()

    def rows_near(self, study: Mapping[str, str]) -> Sequence[ClinicalRow]:
        """The rows that share the exam's accession or UID, whether or not another key differs."""
        exam = {name: value for name, value in study.items() if name != "mrn"}
        return [row for pair in exam.items() for row in self._by_key.get(pair, ())]

    def rows_of_patient(self, study: Mapping[str, str]) -> Sequence[ClinicalRow]:
        """The rows that share the patient's MRN, of whatever exam."""
        return self._by_key.get(("mrn", study.get("mrn", "")), ())


def study_keys(
    *, patient_id: str | None = None, accession: str | None = None, study_uid: str | None = None
) -> dict[str, str]:
    """A study's keys by the dictionary's names, as the sheet's cells are read; absent keys are left out."""
    study = {"mrn": patient_id, "accession": accession, "study_uid": study_uid}
    return {name: text_of(value) for name, value in study.items() if text_of(value)}


def best_key(row: ClinicalRow) -> tuple[str, str]:
    """The name and value of the key that a row joins by."""
    return next((name, row.keys[name]) for name in KEYS if name in row.keys)


def read_sheet(
    path: Path,
    dictionary: ClinicalDictionary,
    *,
    mapping: SheetMapping | None = None,
    encoding: str = "utf-8",
    separator: str | None = None,
) -> ClinicalSheet:
    """Read XLSX or CSV; see `read_table` for `encoding` and `separator`, and for what else is raised.

    Raises:
        SourceMissing: there is no such file.
        ClinicalSheetInvalid: it is not a sheet, or lacks the dictionary's headings, or repeats one.
    """
    return type_table(read_table(path, encoding=encoding, separator=separator), dictionary, mapping)


def type_table(table: Table, dictionary: ClinicalDictionary, mapping: SheetMapping | None = None) -> ClinicalSheet:
    """Type a table by the dictionary's own names, or as a mapping says.

    A cell that is not what its column asks for is a problem and counts as empty; a row without a key or with one that
    cannot be read, and rows with the same best key, are problems and are not joined. Free text is not kept at all.
    """
    headings = apply_mapping(table, dictionary, mapping) if mapping else find_headings(table, dictionary)
    check_other_sheets(table, headings, dictionary)
    reader = _Reader(table, headings, dictionary)
    rows: list[ClinicalRow] = []
    problems = [*headings.problems, *reader.notes()]
    for at, cells in enumerate(table.rows[headings.at + 1 :], start=headings.at + 1):
        if at in headings.skipped or not any(text_of(cell) for cell in cells):
            continue
        if code := table.problem_of_row(at, headings.at):
            problems.append(_row_problem(at, code, f"{CELL_PROBLEMS[code]}; it is not used"))
            continue
        row, row_problems = reader.read(at, cells)
        problems += row_problems
        rows += [row] if row else []
    doubled = _doubled(rows)
    message = "another row names the same exam; neither is used"
    problems += [_row_problem(row.row - 1, "duplicate-row", message) for row in rows if best_key(row) in doubled]
    usable = tuple(row for row in rows if best_key(row) not in doubled)
    return ClinicalSheet(rows=usable, problems=tuple(problems), doubled=doubled)


class _Reader:
    """Reads the rows of one table."""

    def __init__(self, table: Table, headings: Headings, dictionary: ClinicalDictionary) -> None:
        self._table = table
        self._at = headings.at
        self._columns = headings.columns
        self._keys = [(index, column) for index, column in self._columns.items() if column.field.kind == "key"]
        self._fields = [  # free text is not kept, so not read
            (index, column, column.field.name, column.field.leaves)
            for index, column in self._columns.items()
            if column.field.kind != "text"
        ]
        self._titles = names_of(dictionary)

    def notes(self) -> Iterator[CellProblem]:
        """The problems of the sheet or of a whole column."""
        for index, column in self._columns.items():
            if column.field.kind == "date" and self._is_mixed(index):
                message = (
                    "true dates and text stand in one column; a spreadsheet may have swapped day and month of some"
                )
                title, letter = column.field.title, letter_of(index)
                yield CellProblem(row=self._at + 1, column=title, code="mixed-dates", message=message, letter=letter)

    def read(self, at: int, cells: Row) -> tuple[ClinicalRow | None, list[CellProblem]]:
        """One row; `None` where it cannot be used. A row that repeats the headings is one problem."""
        if self._is_heading(cells):
            return None, [_row_problem(at, "heading-row", "the row repeats the headings; it is not used")]
        keys: dict[str, str] = {}
        values: dict[str, Value] = {}
        problems: list[CellProblem] = []
        is_sure = True  # of whom or what the row speaks
        for index, column, name, leaves in self._fields:
            value: Value = None
            code = self._table.problem_of_cell(at, index)
            if index < len(cells) and (not code or (code == "zero-padded" and leaves)):  # a number has no such zeros
                try:
                    value, code = column.value(cells[index]), ""
                except CellInvalid as error:
                    code = str(error)
            if code:
                is_sure = is_sure and leaves
                problems.append(cell_problem(at + 1, index, column.field.title, code))
            if leaves:
                values[name] = value
            elif value:
                keys[name] = str(value)
        if not keys or not is_sure:
            message = "the row names no patient and no exam that can be relied on; it is not used"
            return None, [*problems, _row_problem(at, "no-key", message)]
        return ClinicalRow(row=at + 1, keys=keys, values=values), problems

    def _is_heading(self, cells: Row) -> bool:
        """Whether a key's cell is a heading itself."""
        for index, column in self._keys:
            text = text_of(cells[index]) if index < len(cells) else ""
            if text and (text == column.heading or self._titles.get(plain(text)) is column.field):
                return True
        return False

    def _is_mixed(self, index: int) -> bool:
        cells = [row[index] for row in self._table.rows[self._at + 1 :] if index < len(row) and row[index] != ""]
        texts = [cell for cell in cells if isinstance(cell, str)]
        return len(texts) < len(cells) and any(is_ordered(text_of(text)) for text in texts)


def _row_problem(at: int, code: str, message: str) -> CellProblem:
    return CellProblem(row=at + 1, column=None, code=code, message=message)


def _doubled(rows: Iterable[ClinicalRow]) -> frozenset[tuple[str, str]]:
    """The best keys that more than one row has: none of those rows can be trusted."""
    return frozenset(key for key, count in Counter(map(best_key, rows)).items() if count > 1)
