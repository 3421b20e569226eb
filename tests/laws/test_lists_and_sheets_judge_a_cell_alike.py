"""Lists of accession numbers and clinical sheets judge a cell alike, and read nothing as blank that is not."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from openpyxl import Workbook
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.worksheet import Worksheet

from shared.errors.inputs import AccessionListInvalid, ClinicalSheetInvalid
from shared.protocol.loader import load_protocol
from site_node.clinical.sheet import read_sheet
from site_node.receive.accessions import read_accessions

DICTIONARY = load_protocol("ricord").clinical
HEADINGS = ("Accession number", "Sex", "Age", "Test date")


def book(
    folder: Path, change: Callable[[Worksheet], None], *, book_changes: Callable[[Workbook], None] | None = None
) -> Path:
    """A workbook of three good rows, and what `change` does to its sheet."""
    workbook = Workbook()
    page = workbook.active
    assert page is not None
    for row in (HEADINGS, ("A2", "F", 42), ("A3", "M", 43), ("A4", "F", 44)):
        page.append(row)
    change(page)
    if book_changes:
        book_changes(workbook)
    workbook.save(folder / "list.xlsx")
    return folder / "list.xlsx"


def both(file: Path) -> tuple[dict[int, str], dict[int, str]]:
    """The codes of a file's rows as a list and as a sheet: each row that is not used has exactly one of its own."""
    listed, sheet = read_accessions(file), read_sheet(file, DICTIONARY)
    used = {row.row for row in sheet.rows}
    assert set(listed.rows) == used, "both use the same rows"
    problems = {problem.row: problem.code for problem in sheet.problems if problem.code != "no-key"}
    return {problem.row: problem.code for problem in listed.problems}, problems


def put(value: object, shape: str = "General") -> Callable[[Worksheet], None]:
    def change(page: Worksheet) -> None:
        cell = page["A3"]
        cell.value = value
        cell.number_format = shape

    return change


def hide(page: Worksheet) -> None:
    page.row_dimensions[3].hidden = True


def filter_out(page: Worksheet) -> None:
    page.auto_filter.ref = "A1:C4"
    page.auto_filter.add_filter_column(1, ["F"])
    page.row_dimensions[3].hidden = True  # as a spreadsheet saves a filter's outcome


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(put("#N/A"), "error-cell", id="an error"),
        pytest.param(put("#REF!"), "error-cell", id="a lost reference"),
        pytest.param(put(1234567890123456789), "number-cell-too-long", id="19 digits"),
        pytest.param(put(12347, "0000000"), "zero-padded", id="zeros that are only shown"),
        pytest.param(put("1,2E+10"), "scientific", id="shortened, with a comma"),
        pytest.param(put("1.23457E+11"), "scientific", id="shortened, with a point"),
        pytest.param(put(True), "not-a-number-or-text", id="a truth value"),
        pytest.param(put(date(2020, 3, 1), "yyyy-mm-dd"), "not-a-number-or-text", id="a date"),
        pytest.param(put(1.5), "not-a-number-or-text", id="a fraction"),
        pytest.param(put("=A2"), "formula", id="a formula"),
        pytest.param(lambda page: page.merge_cells("A3:B3"), "merged", id="merged"),
        pytest.param(hide, "hidden-row", id="a hidden row"),
        pytest.param(filter_out, "hidden-row", id="a row filtered out"),
    ],
)
def test_a_spoilt_cell_has_one_code_in_both(tmp_path: Path, change: Callable[[Worksheet], None], code: str) -> None:
    """Its row is neither asked for nor joined, and both name the row and the cause."""
    listed, sheet = both(book(tmp_path, change))
    assert listed == {3: code}
    assert sheet.get(3) == code


@pytest.mark.parametrize(
    ("cell", "code"),
    [("#N/A", "error-cell"), ("1.23457E+11", "scientific"), ("1,2E+10", "more-cells"), ("=B2", "formula")],
)
def test_text_is_judged_as_a_workbook_is(tmp_path: Path, cell: str, code: str) -> None:
    """A comma within a number parts its row, which then has more cells than there are headings."""
    file = tmp_path / "list.csv"
    file.write_text(f"Accession number,Sex\nA2,F\n{cell},M\nA4,F\n", encoding="utf-8")
    listed, sheet = both(file)
    assert listed == sheet == {3: code}


def test_a_column_of_numbers_alone_keeps_a_parted_one_apart(tmp_path: Path) -> None:
    """`1,2E+10` in a list of one column is not accession number 1."""
    file = tmp_path / "sci.csv"
    file.write_text("Accession\n1.23457E+11\n1,2E+10\nA3\n", encoding="utf-8")
    listed = read_accessions(file)
    assert [request.accession for request in listed.requests] == ["A3"]
    assert {problem.row: problem.code for problem in listed.problems} == {2: "scientific", 3: "more-cells"}


def test_a_patient_that_cannot_be_read_is_no_missing_patient(tmp_path: Path) -> None:
    """The row is not asked for without its patient, nor joined by its accession number alone."""

    def change(page: Worksheet) -> None:
        page["B1"], page["B3"], page["B4"] = "MRN", "#N/A", 1234567890123456789

    listed = read_accessions(file := book(tmp_path, change), patient_column="MRN")
    sheet = read_sheet(file, DICTIONARY)
    assert {problem.row: problem.code for problem in listed.problems} == {3: "error-cell", 4: "number-cell-too-long"}
    assert [row.keys for row in sheet.rows] == [{"accession": "A2", "mrn": "F"}]


def test_an_error_among_the_values_is_no_empty_value(tmp_path: Path) -> None:
    """The row stays, its value is missing, and the cell is named."""
    sheet = read_sheet(book(tmp_path, lambda page: page.__setitem__("C3", "#REF!")), DICTIONARY)
    assert [(problem.row, problem.letter, problem.code) for problem in sheet.problems] == [(3, "C", "error-cell")]
    assert sheet.rows[1].values["age"] is None


def test_zeros_shown_before_a_value_are_no_other_value(tmp_path: Path) -> None:
    """Only an identifier has zeros that count."""
    sheet = read_sheet(book(tmp_path, lambda page: setattr(page["C3"], "number_format", "000")), DICTIONARY)
    assert (sheet.problems, sheet.rows[1].values["age"]) == ((), 43)


def test_dates_counted_from_1904_are_named(tmp_path: Path) -> None:
    """A date pasted from a workbook of the other calendar is four years off, and nothing shows it."""

    def count_from_1904(workbook: Workbook) -> None:
        workbook.epoch = CALENDAR_MAC_1904

    def change(page: Worksheet) -> None:
        page["D3"] = date(2020, 3, 1)

    sheet = read_sheet(book(tmp_path, change, book_changes=count_from_1904), DICTIONARY)
    assert [(problem.row, problem.letter, problem.code) for problem in sheet.problems] == [(3, "D", "date-1904")]
    assert not read_sheet(book(tmp_path, change), DICTIONARY).problems


@pytest.mark.parametrize("is_first", [False, True], ids=["after", "before"])
def test_a_further_page_of_data_is_refused_and_one_of_notes_is_not_read(tmp_path: Path, *, is_first: bool) -> None:
    """Data on two pages, or behind a page of notes, are refused by both; notes behind the data are only notes."""

    def add(*rows: tuple[str, ...]) -> Callable[[Workbook], None]:
        def change(workbook: Workbook) -> None:
            page = workbook.create_sheet("More", 0 if is_first else 1)
            for row in rows:
                page.append(row)

        return change

    file = book(tmp_path, lambda page: None, book_changes=add(HEADINGS, ("B1", "F")))
    with pytest.raises(AccessionListInvalid, match="more than one of its sheets"):
        read_accessions(file)
    with pytest.raises(ClinicalSheetInvalid, match="more than one of its sheets"):
        read_sheet(file, DICTIONARY)
    file = book(tmp_path, lambda page: None, book_changes=add(("How to fill this in",), ("MRN is the patient's",)))
    if is_first:
        with pytest.raises(AccessionListInvalid, match="more than one of its sheets"):
            read_accessions(file)
        with pytest.raises(ClinicalSheetInvalid, match="no column is headed"):
            read_sheet(file, DICTIONARY)
    else:
        assert both(file) == ({}, {})
