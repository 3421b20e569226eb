"""Our own sheet has a column for each field of the dictionary, offers its codes, and says what each column means."""

from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.utils import get_column_letter

from shared.protocol.loader import load_protocol
from site_node.clinical.template import write_template

FIELDS = dict(enumerate(load_protocol().clinical.fields, start=1))


@pytest.fixture
def book(tmp_path: Path) -> Workbook:
    write_template(tmp_path / "template.xlsx", load_protocol().clinical)
    return load_workbook(tmp_path / "template.xlsx")


def test_each_field_has_a_column_that_shows_its_kind(book: Workbook) -> None:
    """Its title stands out; dates are written as such, and identifiers as text, which keeps their zeros."""
    page = book["Clinical"]
    for column, field in FIELDS.items():
        heading = page.cell(1, column)
        assert (heading.value, heading.font.bold, heading.alignment.wrap_text) == (field.title, True, True)
        shape = {"date": "yyyy-mm-dd", "key": "@"}.get(field.kind, "General")
        assert {page.cell(row, column).number_format for row in (2, 100, 201)} == {shape}
    assert (page.max_column, page.freeze_panes) == (len(FIELDS), "A2")


def test_each_code_is_offered_and_nothing_else(book: Workbook) -> None:
    """In every row that a sheet may have; a cell may stay empty."""
    codes, lists = book["Codes"], {}
    for choice in book["Clinical"].data_validations.dataValidation:
        first, last = str(choice.sqref).split(":")
        assert (choice.type, choice.allowBlank) == ("list", True)
        assert int(last.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) >= 100_000
        lists[first] = choice.formula1.replace("$", "").removeprefix("Codes!")
    for column, field in FIELDS.items():
        offered = lists.pop(f"{get_column_letter(column)}2", None)
        cells = [cell.value for row in codes[offered] for cell in row] if offered else []
        assert cells == [code.value for code in field.codes]
        assert (codes.cell(1, column).value or "") == (field.title if field.codes else "")
        assert not field.codes or codes.cell(1, column).font.bold
    assert not lists


def test_a_page_says_what_each_column_means(book: Workbook) -> None:
    """And whether it leaves the hospital."""
    headings, *rows = book["Meaning"].iter_rows(values_only=True)
    assert headings == ("Column", "Meaning", "Kind", "Unit", "Leaves the hospital", "Codes")
    for field, row in zip(FIELDS.values(), rows, strict=True):
        assert row[:5] == (field.title, field.meaning, field.kind, field.unit, "yes" if field.leaves else "no")
        assert all(f"{code.value}: {code.meaning}" in row[5] for code in field.codes)
