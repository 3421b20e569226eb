"""Sheets as they come: formulas, merged cells, two rows of headings, passwords, encodings, separators, units, size."""

import re
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
from openpyxl import Workbook

from shared.errors.inputs import ClinicalSheetInvalid, InvalidArgument
from shared.protocol.loader import load_protocol
from site_node.clinical.sheet import ClinicalSheet, read_sheet
from site_node.clinical.table import read_table

DICTIONARY = load_protocol().clinical


def book(folder: Path, *rows: list[object], change: Callable[[Workbook], None] = lambda _book: None) -> Path:
    workbook = Workbook()
    for row in rows:
        workbook.active.append(row)
    change(workbook)
    workbook.save(folder / "sheet.xlsx")
    return folder / "sheet.xlsx"


def text(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    (folder / "sheet.csv").write_bytes(content.encode(encoding))
    return folder / "sheet.csv"


def codes(sheet: ClinicalSheet) -> list[tuple[int, str | None, str]]:
    return [(problem.row, problem.letter, problem.code) for problem in sheet.problems]


def test_a_formula_is_refused_and_one_that_is_a_literal_is_that_literal(tmp_path: Path) -> None:
    """A stored result is never trusted, an array's neither; `="007"` keeps its zeros, in text files too."""
    path = book(tmp_path, ["MRN", "Age", "Sex"], ['="007"', "=1+1", "M"], ["P2", "=44", '=IF(1,"M","F")'])
    sheet = read_sheet(path, DICTIONARY)
    assert codes(sheet) == [(2, "B", "formula"), (3, "C", "formula")]
    assert [row.keys["mrn"] for row in sheet.rows] == ["007", "P2"]
    assert sheet.rows[1].values == {"age": 44, "sex": None}
    same = read_sheet(text(tmp_path, 'MRN,Age\n"=""007""",=1+1\n'), DICTIONARY)
    assert same.rows[0].keys == {"mrn": "007"}
    assert codes(same) == [(2, "B", "formula")]


def test_a_stored_result_of_a_formula_is_not_used(tmp_path: Path) -> None:
    """Excel stores results beside formulas, and an array's results in cells of their own."""
    path = book(tmp_path, ["MRN", "Age"], ["P1", 41], ["P2", 42], ["P3", 43])
    rewritten = tmp_path / "stored.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                content = content.replace(b"<v>41</v>", b'<f t="array" ref="B2:B3">A1:A2*2</f><v>41</v>')
            new.writestr(name, content)
    sheet = read_sheet(rewritten, DICTIONARY)
    assert codes(sheet) == [(2, "B", "formula"), (3, "B", "formula")]
    assert [row.values["age"] for row in sheet.rows] == [None, None, 43]


def test_merged_cells_belong_to_no_row(tmp_path: Path) -> None:
    """Every cell of a merged range is refused, the one that shows its value too; other rows are read."""

    def merge(workbook: Workbook) -> None:
        workbook.active.merge_cells("A2:A3")
        workbook.active.merge_cells("A6:B6")

    path = book(tmp_path, ["MRN", "Age"], ["P1", 1], [None, 2], ["P3", 3], ["P4", 4], ["P5", None], change=merge)
    sheet = read_sheet(path, DICTIONARY)
    assert [row.keys["mrn"] for row in sheet.rows] == ["P3", "P4"]
    assert {(row, letter) for row, letter, code in codes(sheet) if code == "merged"} == {
        (2, "A"), (3, "A"), (6, "A"), (6, "B"),
    }  # fmt: skip


def test_headings_on_two_rows_are_refused_and_merged_downwards_are_one(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["MRN", "Test date", None, "Sex"],
        [None, "Method", "Status", None],
        ["P1", "", "", "M"],
    ]
    with pytest.raises(ClinicalSheetInvalid, match="two rows, 1 and 2"):
        read_sheet(book(tmp_path, *rows), DICTIONARY)
    rows[0] = ["MRN", "COVID", None, "Sex"]

    def merge(workbook: Workbook) -> None:
        for merged in ("A1:A2", "D1:D2", "B1:C1"):
            workbook.active.merge_cells(merged)

    sheet = read_sheet(book(tmp_path, *rows, change=merge), DICTIONARY)
    assert not sheet.problems
    assert [(row.row, row.keys["mrn"], row.values["sex"]) for row in sheet.rows] == [(3, "P1", "M")]


def test_a_heading_merged_over_columns_names_none(tmp_path: Path) -> None:
    path = book(tmp_path, ["MRN", "Age", None], ["P1", 1, 2], change=lambda made: made.active.merge_cells("B1:C1"))
    with pytest.raises(ClinicalSheetInvalid, match="column B is merged"):
        read_sheet(path, DICTIONARY)


def test_headings_that_come_again_are_no_patient(tmp_path: Path) -> None:
    sheet = read_sheet(text(tmp_path, "MRN,Age\nP1,1\nMRN,Age\nP2,2\n"), DICTIONARY)
    assert codes(sheet) == [(3, None, "heading-row")]
    assert [row.row for row in sheet.rows] == [2, 4]


@pytest.mark.parametrize("suffix", [".xlsx", ".xls"])
def test_an_encrypted_workbook_asks_for_one_without_a_password(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    path.write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "EncryptedPackage".encode("utf-16-le"))
    with pytest.raises(ClinicalSheetInvalid, match="password"):
        read_sheet(path, DICTIONARY)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize(("name", "mark"), [("comma", ","), ("semicolon", ";"), ("tab", "\t"), ("pipe", "|")])
def test_encodings_are_declared_and_separators_detected(tmp_path: Path, encoding: str, name: str, mark: str) -> None:
    path = text(tmp_path, f"MRN{mark}Sex{mark}Age\nÄ7{mark}female{mark}9\n", encoding)
    for separator in (None, name):
        sheet = read_sheet(path, DICTIONARY, encoding=encoding, separator=separator)
        assert sheet.rows[0].keys == {"mrn": "Ä7"}
        assert sheet.rows[0].values == {"sex": "F", "age": 9}


def test_what_is_not_declared_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(ClinicalSheetInvalid, match="--encoding"):
        read_table(text(tmp_path, "MRN,Sex\nÄ7,M\n", "cp1252"))
    with pytest.raises(ClinicalSheetInvalid, match="--separator"):
        read_table(text(tmp_path, "MRN,x;Sex\nP7,y;M\n"))
    with pytest.raises(ClinicalSheetInvalid, match="no text"):
        read_table(text(tmp_path, "MRN,Age\nP7,\0\n"))
    for wrong in ({"encoding": "latin-9"}, {"separator": "dot"}):
        with pytest.raises(InvalidArgument):
            read_table(text(tmp_path, "MRN\n1\n"), **wrong)


def test_units_of_headings_and_cells_must_be_the_dictionarys(tmp_path: Path) -> None:
    """The right unit may be written; another one refuses the cell, or all cells below a heading that names it."""
    sheet = read_sheet(
        text(tmp_path, "MRN;Temperature [°C];CRP (mg/dL);Oxygen saturation\nP1;37,5 °C;1,2;95 %\nP2;98.6 F;;0.95\n"),
        DICTIONARY,
    )
    assert sheet.rows[0].values == {"temperature": 37.5, "crp": None, "oxygen_saturation": 95}
    assert codes(sheet) == [(2, "C", "other-unit"), (3, "B", "other-unit"), (3, "D", "out-of-range")]


def test_a_row_of_units_below_the_headings_is_read_as_such(tmp_path: Path) -> None:
    path = text(tmp_path, "MRN,Age,CRP\n,years,mg/dL\nP1,59,1.2\n")
    sheet = read_sheet(path, DICTIONARY)
    assert [row.row for row in sheet.rows] == [3]
    assert codes(sheet) == [(3, "C", "other-unit")]


def test_true_dates_beside_dates_as_text_are_noted(tmp_path: Path) -> None:
    """A spreadsheet that turned some of a column's texts into dates may have swapped day and month."""
    path = book(tmp_path, ["MRN", "Test date"], ["P1", datetime(2020, 4, 3)], ["P2", "25/12/2020"])
    sheet = read_sheet(path, DICTIONARY)
    assert codes(sheet) == [(1, "B", "mixed-dates"), (3, "B", "date-order")]
    assert sheet.rows[0].values["test_date"] == date(2020, 4, 3)


def test_an_error_is_a_problem_and_escapes_are_read(tmp_path: Path) -> None:
    """A row with #REF! for its patient joins nothing; Excel writes a line end in a cell as `_x000D_`."""
    path = book(tmp_path, ["MRN", "Age", "Sex"], ["P1", "#N/A", "F_x000D_\n"], ["#REF!", 4, "M"])
    sheet = read_sheet(path, DICTIONARY)
    assert [(row.keys, row.values) for row in sheet.rows] == [({"mrn": "P1"}, {"age": None, "sex": "F"})]
    assert codes(sheet) == [(2, "B", "error-cell"), (3, "A", "error-cell"), (3, None, "no-key")]


def test_the_first_visible_sheet_is_read(tmp_path: Path) -> None:
    def hide(workbook: Workbook) -> None:
        workbook.active.sheet_state = "hidden"
        workbook.create_sheet("Chart").append(["MRN"])
        workbook["Chart"].append(["P9"])

    assert read_sheet(book(tmp_path, ["MRN"], ["P1"], change=hide), DICTIONARY).rows[0].keys == {"mrn": "P9"}


def test_headings_by_formula_name_no_column(tmp_path: Path) -> None:
    """The stored result of a formula is not used for a heading either; the column is listed as unknown."""
    sheet = read_sheet(book(tmp_path, ["MRN", "=D1", '="Sex"'], ["P1", 5, "M"]), DICTIONARY)
    assert sheet.rows[0].values == {"sex": "M"}
    assert codes(sheet) == [(1, "B", "unknown-column")]


def cells(number: int) -> str:
    """One row of a sheet's XML: as written in Excel, but with its texts in place."""
    texts = {"A": f"P{number}", "B": f"A{number}", "C": "positive", "D": "pcr", "E": "F", "F": "2020-04-03"}
    written = (f'<c r="{at}{number}" t="inlineStr"><is><t>{text}</t></is></c>' for at, text in texts.items())
    return f'<row r="{number}">{"".join(written)}<c r="G{number}"><v>{number % 100}</v></c></row>'


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_whole(tmp_path: Path) -> None:
    path = book(tmp_path, ["MRN", "Accession", "COVID status", "Method", "Sex", "Test date", "Age"], ["P1"])
    large = tmp_path / "large.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                rows = "".join(cells(number) for number in range(2, 100_002))
                content = re.sub(rb'<row r="2".*?</row>', rows.encode(), content)
            new.writestr(name, content)
    read = read_sheet(large, DICTIONARY)
    assert len(read.rows) == 100_000
    assert not read.problems
    assert read.rows[-1].values["age"] == 1
