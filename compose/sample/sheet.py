"""A clinical sheet as a hospital fills it in: the dictionary's own template with rows below its headings."""

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from openpyxl import load_workbook

from shared.protocol.clinical import ClinicalDictionary
from site_node.clinical.template import write_template

Row = Mapping[str, str | int | float | date | None]  # by the dictionary's field names


def write_sheet(path: Path, dictionary: ClinicalDictionary, rows: Iterable[Row]) -> None:
    """Write an XLSX sheet to `path`; a name that the dictionary lacks is a `KeyError`."""
    write_template(path, dictionary)
    book = load_workbook(path)
    page = book["Clinical"]
    columns = {field.name: column for column, field in enumerate(dictionary.fields, start=1)}
    for number, row in enumerate(rows, start=2):
        for name, value in row.items():
            page.cell(row=number, column=columns[name], value=value)
    book.save(path)
