"""Two laws of the sheet: what our template holds reads the same from XLSX and CSV, and no problem quotes a cell."""

import csv
import io
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from shared.errors.inputs import ClinicalSheetInvalid
from shared.protocol.clinical import Field
from shared.protocol.loader import load_protocol
from site_node.clinical.mapping import propose
from site_node.clinical.sheet import read_sheet
from site_node.clinical.table import read_table
from site_node.clinical.template import write_template

DICTIONARY = load_protocol().clinical
SLOW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LETTERS = "ABCabc019äß /-;,"


def valid(field: Field) -> st.SearchStrategy[Any]:
    """What a person may write in a cell of the template."""
    low, high = int(field.minimum or 0), int(field.maximum or 0)
    if field.kind == "code":
        return st.sampled_from([code.value for code in field.codes])
    if field.kind == "date":
        return st.dates(date(1990, 1, 1), date(2030, 1, 1))
    if field.kind == "integer":
        return st.integers(low, high)
    if field.kind == "number":
        return st.integers(low * 10, high * 10).map(lambda tenths: tenths / 10)
    return st.text(LETTERS, min_size=1, max_size=12).map(str.strip)


ROW = st.fixed_dictionaries(
    {"mrn": st.text("0123456789ABC", min_size=4, max_size=10)},
    optional={field.name: valid(field) for field in DICTIONARY.fields if field.name != "mrn"},
)


@pytest.mark.slow
@SLOW
@given(st.lists(ROW, min_size=1, max_size=6, unique_by=lambda row: row["mrn"]))
def test_a_valid_sheet_reads_the_same_from_xlsx_and_csv(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, text = Path(folder) / "sheet.xlsx", Path(folder) / "sheet.csv"
        write_template(book, DICTIONARY)
        filled = load_workbook(book)
        for at, row in enumerate(rows, start=2):
            for column, field in enumerate(DICTIONARY.fields, start=1):
                filled["Clinical"].cell(row=at, column=column, value=row.get(field.name))
        filled.save(book)
        with text.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(field.title for field in DICTIONARY.fields)
            writer.writerows([str(row.get(field.name, "")) for field in DICTIONARY.fields] for row in rows)
        from_xlsx, from_csv = read_sheet(book, DICTIONARY), read_sheet(text, DICTIONARY)
    assert from_xlsx == from_csv
    assert not [problem for problem in from_xlsx.problems if problem.code != "duplicate-row"]
    for read in from_xlsx.rows:
        expected = {name: value for name, value in rows[read.row - 2].items() if DICTIONARY.named(name).leaves}
        assert {name: value for name, value in read.values.items() if value is not None} == expected


SECRET = st.text("QXZ#~5678", min_size=5, max_size=9).map("qz".__add__)


@pytest.mark.slow
@settings(SLOW, max_examples=60)
@given(
    cells=st.lists(st.lists(SECRET | st.just(""), min_size=4, max_size=4), min_size=1, max_size=5),
    headings=st.permutations(["MRN", "Age", "Test date", "Sex"]),
    titled=st.booleans(),
)
def test_no_cell_is_ever_quoted(cells: list[list[str]], headings: list[str], titled: bool) -> None:
    """Neither problems nor refusals nor what is shown of a sheet hold a value of it."""
    secrets = {cell for row in cells for cell in row if cell}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "sheet.xlsx", Path(folder) / "sheet.csv"]
        workbook, text = Workbook(), io.StringIO()
        for row in [headings, *cells] if titled else cells:
            workbook.active.append(row)
            csv.writer(text).writerow(row)
        workbook.save(paths[0])
        paths[1].write_text(text.getvalue(), encoding="utf-8")
        for path in paths:
            try:
                sheet = read_sheet(path, DICTIONARY)
                shown = repr(sheet) + sheet.model_dump_json(include={"problems"}) + repr(read_table(path))
                shown += repr(propose(read_table(path), DICTIONARY))
            except ClinicalSheetInvalid as error:
                shown = f"{error} {error.private} {error.fields}"
            assert not [secret for secret in secrets if secret in shown]
