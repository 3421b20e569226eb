"""Find cells of a workbook that show zeros which their number does not have: `0012` stored as 12 is another accession.

calamine reads no formats. openpyxl does, slowly, so it is used only if the workbook has such a format at all.
"""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from shared.errors import AccessionListInvalid
from site_node.receive.accessions import CellPosition

_STYLES = "xl/styles.xml"
_FORMAT = re.compile(r"0[0-]*0")  # as in 00000000 and 00-0000
_IN_STYLES = re.compile(rb"formatCode\s*=\s*[\"']0[0-]*0[\"']")


def zero_padded_cells(file: Path) -> frozenset[CellPosition]:
    """Cells of the first visible sheet of an XLSX that show padding zeros; raises `AccessionListInvalid`."""
    try:
        with zipfile.ZipFile(file) as archive:
            if _STYLES not in archive.namelist() or not _IN_STYLES.search(archive.read(_STYLES)):
                return frozenset()
        return _find_padded(file)
    except zipfile.BadZipFile:  # XLS; or not a workbook, which its reader reports
        return frozenset()
    except Exception as error:  # noqa: BLE001 -- openpyxl raises whatever it meets, and may quote it
        problem = "the formats of its numbers cannot be read; format the column as text"
        raise AccessionListInvalid(type(error).__name__, problem=problem) from None


def _find_padded(file: Path) -> frozenset[CellPosition]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = load_workbook(file, read_only=True)
    try:
        sheet = next(worksheet for worksheet in book.worksheets if worksheet.sheet_state == "visible")
        return frozenset(
            (cell.row - 1, cell.column - 1) for row in sheet.iter_rows() for cell in row if _is_padded(cell)
        )
    finally:
        book.close()


def _is_padded(cell: Any) -> bool:
    if isinstance(cell.value, bool) or not isinstance(cell.value, int | float):
        return False
    pattern = cell.number_format
    return bool(_FORMAT.fullmatch(pattern)) and ("-" in pattern or len(str(int(cell.value))) < len(pattern))
