"""Cells of a workbook that show zeros which their number does not have: `0012` is stored as 12, another accession.

calamine tells no formats. openpyxl does, slowly, so it is asked only where the workbook has such a format at all.
"""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from shared.errors import AccessionListInvalid

Place = tuple[int, int]  # row and column from 0
_STYLES = "xl/styles.xml"
_FORMAT = re.compile(r"0[0-]*0")  # as in 00000000 and 00-0000
_IN_STYLES = re.compile(rb"formatCode\s*=\s*[\"']0[0-]*0[\"']")


def padded_cells(file: Path) -> frozenset[Place]:
    """Where the first visible sheet of an XLSX shows more than it holds; raises `AccessionListInvalid`."""
    try:
        with zipfile.ZipFile(file) as archive:
            if _STYLES not in archive.namelist() or not _IN_STYLES.search(archive.read(_STYLES)):
                return frozenset()
        return _padded(file)
    except zipfile.BadZipFile:  # XLS; or no workbook, which its reader tells
        return frozenset()
    except Exception as error:  # noqa: BLE001 -- openpyxl raises whatever it meets, and may quote it
        problem = "the formats of its numbers cannot be read; format the column as text"
        raise AccessionListInvalid(type(error).__name__, problem=problem) from None


def _padded(file: Path) -> frozenset[Place]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = load_workbook(file, read_only=True)
    try:
        sheet = next(one for one in book.worksheets if one.sheet_state == "visible")
        return frozenset(
            (cell.row - 1, cell.column - 1) for row in sheet.iter_rows() for cell in row if _is_padded(cell)
        )
    finally:
        book.close()


def _is_padded(cell: Any) -> bool:
    if isinstance(cell.value, bool) or not isinstance(cell.value, int | float):
        return False
    shown = cell.number_format
    return bool(_FORMAT.fullmatch(shown)) and ("-" in shown or len(str(int(cell.value))) < len(shown))
