"""The raw table of a sheet: the first visible sheet of an XLSX, or CSV."""

import csv
from pathlib import Path

from shared.errors.inputs import ClinicalSheetInvalid, InvalidArgument, SourceMissing
from site_node.sheets.table import SEPARATORS, Table, separator_of, table_of_text
from site_node.sheets.workbook import WorkbookInvalid, is_workbook, read_workbook

TEXTS = frozenset({".csv", ".tsv", ".txt"})
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16")


def read_table(path: Path, *, encoding: str = "utf-8", separator: str | None = None) -> Table:
    """Read a sheet.

    Args:
        path: XLSX, or text that ends in .csv, .tsv or .txt.
        encoding: of text; one of `ENCODINGS`. A mark at the start of UTF-8 text is skipped.
        separator: of text, a name of `SEPARATORS`; `None` detects it, where the text is unambiguous.

    Raises:
        SourceMissing: there is no such file.
        ClinicalSheetInvalid: it is not a sheet, it is protected, or it is empty.
        InvalidArgument: `encoding` or `separator` is unknown.
    """
    if not path.is_file():
        raise SourceMissing(source="the clinical sheet")
    if path.suffix.lower() in TEXTS and not is_workbook(path):
        table = _read_text(path.read_bytes(), encoding, separator)
    else:
        try:
            table = read_workbook(path)
        except WorkbookInvalid as error:
            raise ClinicalSheetInvalid(problem=str(error)) from None
    if not any(any(cell not in {None, ""} for cell in row) for row in table.rows):
        raise ClinicalSheetInvalid(problem="it is empty")
    return table


def _read_text(content: bytes, encoding: str, separator: str | None) -> Table:
    text = _decode(content, encoding)
    if separator is not None and separator not in SEPARATORS:
        raise InvalidArgument(name="--separator", problem=f"it is one of {', '.join(SEPARATORS)}")
    try:
        delimiter = SEPARATORS[separator] if separator else separator_of(text)
        if delimiter is None:
            raise ClinicalSheetInvalid(problem="what parts its columns cannot be told; say it with --separator")
        return table_of_text(text, delimiter)
    except csv.Error:
        raise ClinicalSheetInvalid(problem="its quotes do not pair") from None


def _decode(content: bytes, encoding: str) -> str:
    if encoding not in ENCODINGS:
        raise InvalidArgument(name="--encoding", problem=f"it is one of {', '.join(ENCODINGS)}")
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeError:
        problem = f"its text is not {encoding}; say with --encoding which of {', '.join(ENCODINGS)} it is"
        raise ClinicalSheetInvalid(problem=problem) from None
    if "\0" in text:
        raise ClinicalSheetInvalid(problem="it holds bytes that are no text")
    return text
