"""The annotated copy: bad cells are coloured and commented, the rest stays as it was, and only its owner reads it."""

from datetime import date
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from shared.errors.inputs import ClinicalSheetInvalid
from shared.protocol.loader import load_protocol
from site_node.clinical.annotated_copy import write_annotated
from site_node.clinical.sheet import type_table
from site_node.clinical.table import read_table
from site_node.clinical.template import write_template
from site_node.sheets.table import Table

DICTIONARY = load_protocol().clinical


def annotated(sheet: Path) -> Workbook:
    table = read_table(sheet)
    out = sheet.with_name("annotated.xlsx")
    write_annotated(sheet, table, type_table(table, DICTIONARY).problems, out)
    assert out.stat().st_mode & 0o777 == 0o600
    return load_workbook(out)


def comments(book: Workbook, name: str) -> dict[str, str]:
    return {cell.coordinate: cell.comment.text for row in book[name].iter_rows() for cell in row if cell.comment}


def test_bad_cells_of_a_workbook_are_coloured_and_say_why(tmp_path: Path) -> None:
    """The copy keeps the other pages, the lists of codes and the formulas; nothing is evaluated."""
    write_template(tmp_path / "sheet.xlsx", DICTIONARY)
    book = load_workbook(tmp_path / "sheet.xlsx")
    page = book["Clinical"]
    page["A2"], page["J2"], page["K2"], page["G2"] = "P1", "=40+2", "Zebra", "03/04/2020"
    page["J3"] = 44
    page.merge_cells("A5:A6")
    page["A5"], page["J6"] = "P5", 5
    book.save(tmp_path / "sheet.xlsx")
    copy = annotated(tmp_path / "sheet.xlsx")
    notes = comments(copy, "Clinical")
    assert set(notes) == {"J2", "K2", "G2", "A3", "A5"}
    assert "formula" in notes["J2"]
    assert "codes" in notes["K2"]
    assert "names no patient" in notes["A3"]
    assert "merged" in notes["A5"]
    page = copy["Clinical"]
    assert (page["J2"].value, page["K2"].value) == ("=40+2", "Zebra")
    assert {page[where].fill.start_color.rgb for where in notes} == {"FFFFC7CE"}
    assert page["J3"].fill.start_color.rgb != "FFFFC7CE"
    assert {"Codes", "Meaning", "Problems"} <= set(copy.sheetnames)
    assert len(page.data_validations.dataValidation) == sum(bool(field.codes) for field in DICTIONARY.fields)
    assert not any("Zebra" in str(cell.value) for row in copy["Problems"].iter_rows() for cell in row)


def test_a_workbook_that_cannot_be_copied_any_more_says_so(tmp_path: Path) -> None:
    """As one that was damaged since it was read."""
    book = Workbook()
    book.active.append(["MRN"])
    book.save(tmp_path / "sheet.xlsx")
    table = read_table(tmp_path / "sheet.xlsx")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04 but no workbook")
    with pytest.raises(ClinicalSheetInvalid):
        write_annotated(tmp_path / "sheet.xlsx", table, (), tmp_path / "annotated.xlsx")
    assert not (tmp_path / "annotated.xlsx").exists()


def test_a_last_page_lists_each_problem_in_words(tmp_path: Path) -> None:
    """With its row, its column and why; of a whole row no column."""
    (tmp_path / "sheet.csv").write_text("MRN,Age,Ward\nP1,many,\n,7,\n", encoding="utf-8")
    table = read_table(tmp_path / "sheet.csv")
    problems = type_table(table, DICTIONARY).problems
    listed = list(annotated(tmp_path / "sheet.csv")["Problems"].iter_rows(values_only=True))
    assert listed[0] == ("Row", "Column", "Letter", "Code", "Meaning")
    assert listed[1:] == [(each.row, each.column, each.letter, each.code, each.message) for each in problems]
    assert [each[:4] for each in listed[1:]] == [
        (1, "C", "C", "unknown-column"),
        (2, "Age", "B", "no-number"),
        (3, None, None, "no-key"),
    ]


def test_a_text_keeps_each_character_that_a_workbook_can_hold(tmp_path: Path) -> None:
    """Of the control characters these are the tab and the two ends of a line."""
    table = Table([["MRN", *(f"a{chr(code)}b" for code in range(1, 34))]])
    write_annotated(tmp_path / "sheet.csv", table, (), tmp_path / "annotated.xlsx")
    _, *texts = (cell.value for cell in load_workbook(tmp_path / "annotated.xlsx")["Clinical"][1])
    kept = [text.replace("_x000D_", "\r").replace("\n", "\r")[1:-1] for text in texts if text != "ab"]
    assert kept == ["\t", "\r", "\r", " ", "!"]


@pytest.mark.parametrize("formula", ["=1+1", "=cmd|'/c calc'!A1", "+1", "@x"])
def test_what_was_text_in_a_text_file_stays_text(tmp_path: Path, formula: str) -> None:
    """A copy of a CSV must not be the place where its cells become formulas."""
    (tmp_path / "sheet.csv").write_text(f'MRN,Age,Comment\nP1,many,"{formula}"\n', encoding="utf-8")
    copy = annotated(tmp_path / "sheet.csv")
    assert set(comments(copy, "Clinical")) >= {"B2"}
    assert copy["Clinical"]["C2"].value == formula
    assert copy["Clinical"]["C2"].data_type == "s"


def test_a_sheet_without_fault_comes_back_unmarked(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["MRN", "Test date"])
    book.active.append(["P1", date(2020, 4, 3)])
    book.save(tmp_path / "sheet.xlsx")
    copy = annotated(tmp_path / "sheet.xlsx")
    assert not comments(copy, copy.sheetnames[0])
    assert copy["Problems"].max_row == 1
