"""Our own clinical sheet: headings, drop-down lists of the codes, and a page that explains every column."""

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from shared.durable import replacing
from shared.protocol.clinical import ClinicalDictionary, Field

_ROWS = 100_000  # that the drop-down lists cover


def write_template(path: Path, dictionary: ClinicalDictionary) -> None:
    """Write an empty XLSX sheet with the dictionary's columns to `path`."""
    book = Workbook()
    sheet = book.active
    sheet.title = "Clinical"
    codes = book.create_sheet("Codes")
    for column, field in enumerate(dictionary.fields, start=1):
        _write_heading(sheet, column, field)
        if field.codes:
            _write_codes(sheet, codes, column, field)
    sheet.freeze_panes = "A2"
    _write_meanings(book.create_sheet("Meaning"), dictionary)
    with replacing(path) as file:
        book.save(file)


def _write_heading(sheet: Any, column: int, field: Field) -> None:
    cell = sheet.cell(row=1, column=column, value=field.title)
    cell.font = Font(bold=True)
    cell.alignment = Alignment(wrap_text=True)
    letter = get_column_letter(column)
    sheet.column_dimensions[letter].width = 18
    shape = {"date": "yyyy-mm-dd", "key": "@"}.get(field.kind)  # identifiers as text keep their leading zeros
    if shape:
        for row in range(2, 202):
            sheet.cell(row=row, column=column).number_format = shape


def _write_codes(sheet: Any, codes: Any, column: int, field: Field) -> None:
    """Put the field's codes in its column of the page Codes and offer them as a list."""
    letter = get_column_letter(column)
    codes.cell(row=1, column=column, value=field.title).font = Font(bold=True)
    for row, code in enumerate(field.codes, start=2):
        codes.cell(row=row, column=column, value=code.value)
    last = len(field.codes) + 1
    choice = DataValidation(type="list", formula1=f"Codes!${letter}$2:${letter}${last}", allow_blank=True)
    choice.error = "Choose one of the codes on the page Codes."
    choice.add(f"{letter}2:{letter}{_ROWS}")
    sheet.add_data_validation(choice)


def _write_meanings(page: Any, dictionary: ClinicalDictionary) -> None:
    page.append(["Column", "Meaning", "Kind", "Unit", "Leaves the hospital", "Codes"])
    for field in dictionary.fields:
        meanings = "; ".join(f"{code.value}: {code.meaning}" for code in field.codes)
        page.append([field.title, field.meaning, field.kind, field.unit, "yes" if field.leaves else "no", meanings])
    for letter, width in zip("ABCDEF", (24, 60, 10, 8, 20, 80), strict=True):
        page.column_dimensions[letter].width = width
