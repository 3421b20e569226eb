"""The raw table of a sheet: XLSX, XLS or ODS through calamine, or CSV; the first visible sheet that has headings."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from shared.errors import ClinicalSheetInvalid, SourceMissing
from site_node.clinical.cells import Cell

Row = Sequence[Cell]
_LOOKED_AT = 10  # lines, to tell what parts the columns
_ENCODINGS = ("utf-8-sig", "cp1252")


def read_table(path: Path) -> list[Row]:
    """All rows of the sheet, empty ones too, so that an index is a row number.

    Raises:
        SourceMissing: there is no such file.
        ClinicalSheetInvalid: it is no sheet, it is protected, or it is empty.
    """
    if not path.is_file():
        raise SourceMissing(source="the clinical sheet")
    rows = list(_read_csv(path) if path.suffix.lower() in {".csv", ".tsv", ".txt"} else _read_workbook(path))
    if not any(any(cell not in {None, ""} for cell in row) for row in rows):
        raise ClinicalSheetInvalid(problem="it is empty")
    return rows


def _read_workbook(path: Path) -> Iterator[Row]:
    try:
        with path.open("rb") as stream:
            book = CalamineWorkbook.from_filelike(stream)
            visible = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
            if not visible:
                raise ClinicalSheetInvalid(problem="it holds no visible sheet")
            yield from book.get_sheet_by_name(visible[0]).to_python(skip_empty_area=False)
    except PasswordError:
        raise ClinicalSheetInvalid(problem="it is protected by a password; save it without one") from None
    except (CalamineError, OSError) as error:
        raise ClinicalSheetInvalid(type(error).__name__, problem="it is neither XLSX, XLS, ODS nor CSV") from None


def _read_csv(path: Path) -> Iterator[Row]:
    text = _decode(path.read_bytes())
    start = "".join(text.splitlines(keepends=True)[:_LOOKED_AT])
    delimiter = max(",;\t", key=start.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error:
        raise ClinicalSheetInvalid(problem="its quotes do not pair") from None


def _decode(content: bytes) -> str:
    for encoding in _ENCODINGS:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise ClinicalSheetInvalid(problem="its text is neither UTF-8 nor Windows-1252")
