"""An XLSX workbook as tables of values. No formula is evaluated, and no stored result of a formula is used.

openpyxl reads it in its normal mode: its read-only mode knows neither merged cells nor hidden rows. What it would
unpack is bounded first. `WorkbookInvalid` carries one sentence, which each kind of list puts into its own error.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from xml.parsers import expat

from openpyxl import load_workbook
from openpyxl.utils import range_boundaries
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.utils.escape import unescape

from site_node.sheets.table import Cell, Place, Table, is_error, literal_of

_NAMES = frozenset({".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"})
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # MS-CFB: XLS, and an encrypted XLSX
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # MS-OFFCRYPTO 2.3.4.4: the stream of an encrypted document
_NOT_XLSX = frozenset({"xl/workbook.bin", "content.xml"})  # what XLSB and ODS hold in place of an XLSX's workbook
_UNPACKED = 512 << 20  # bytes, for which openpyxl takes some 4 GB of memory
_WIDE = frozenset({"mergeCell", "hyperlink", "comment"})  # elements for each of whose cells openpyxl makes an object
_COVERED = 1 << 20  # cells that these and array formulas may cover
_MOST_ROWS, _MOST_CELLS = 1 << 20, 1 << 25  # Excel has no more rows; of cells, empty ones count before filled ones
_PADDED = re.compile(r"0[0-]*0")  # number formats that show zeros, as 00000000 and 00-0000
_FORMULA = "="  # in place of what a formula's cell holds


class WorkbookInvalid(ValueError):
    """A workbook cannot be read; the text is one sentence without any cell."""


def is_workbook(path: Path) -> bool:
    """Whether a file is a workbook of any kind, by its first bytes, or else by its name."""
    with path.open("rb") as stream:
        return stream.read(len(_OLE)).startswith((_ZIP, _OLE)) or path.suffix.lower() in _NAMES


def read_workbook(path: Path) -> Table:
    """The first visible sheet, and with it the other visible ones; raises `WorkbookInvalid`."""
    with opened_workbook(path) as book:
        pages = [page for page in book.worksheets if page.sheet_state == "visible"]
        if not pages:
            raise WorkbookInvalid("it holds no visible sheet")
        first, *others = (_table(page, from_1904=book.epoch == CALENDAR_MAC_1904) for page in pages)
        return replace(first, others=tuple(others))


@contextmanager
def opened_workbook(path: Path) -> Iterator[Any]:
    """Yield the workbook as openpyxl has it; whatever it raises in the block too becomes `WorkbookInvalid`."""
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's warnings name what it cannot keep
            _check_kind(stream.read())
            with zipfile.ZipFile(stream) as archive:
                _check_size(archive)
            yield load_workbook(stream, keep_links=False)
    except WorkbookInvalid:
        raise
    except Exception:  # noqa: BLE001 -- openpyxl raises many kinds on a damaged book, and quotes cells
        raise WorkbookInvalid("it is neither XLSX nor CSV, or is damaged; save it as XLSX") from None


def _check_kind(content: bytes) -> None:
    if content.startswith(_OLE) and _ENCRYPTED in content:
        raise WorkbookInvalid("it is protected by a password; save it without one")
    if content.startswith(_OLE):
        raise WorkbookInvalid("XLS, XLSB and ODS are not read; save it as XLSX")


def _check_size(archive: zipfile.ZipFile) -> None:
    """Refuse what openpyxl would unpack to more memory than a sheet needs.

    No member is read beyond its stated size.
    """
    if not _NOT_XLSX.isdisjoint(archive.namelist()):
        raise WorkbookInvalid("XLS, XLSB and ODS are not read; save it as XLSX")
    if sum(member.file_size for member in archive.infolist()) > _UNPACKED:
        raise WorkbookInvalid("it unpacks to more than a sheet can hold; save it as CSV")
    covered = 0

    def count(tag: str, attributes: dict[str, str]) -> None:
        nonlocal covered
        if tag.rpartition(":")[2] in _WIDE or attributes.get("t") in {"array", "dataTable"}:
            left, top, right, bottom = range_boundaries(attributes["ref"])
            covered += (right - left + 1) * (bottom - top + 1)
            if covered > _COVERED:
                raise WorkbookInvalid("its merged cells or formulas cover more than a sheet can hold; save it as CSV")

    for member in archive.infolist():
        parser = expat.ParserCreate()
        parser.StartElementHandler = count
        with suppress(expat.ExpatError), archive.open(member) as part:  # openpyxl says of which it needs
            parser.ParseFile(part)


def _table(page: Any, *, from_1904: bool) -> Table:
    rows: list[list[Cell]] = [[] for _ in range(min(page.max_row, _MOST_ROWS))]
    spoilt: dict[Place, str] = {}
    room = _MOST_CELLS
    for (row, column), cell in page._cells.items():  # noqa: SLF001 -- the public iterators make every empty cell
        value = _value(cell)
        if value in {None, ""}:
            continue
        missing = max(column - len(rows[row - 1]), 0) if row <= len(rows) else room + 1
        room -= missing
        if room < 0:
            raise WorkbookInvalid("its cells stand too far apart for a sheet; save it as CSV")
        rows[row - 1] += [""] * missing
        rows[row - 1][column - 1] = value
        if cell.data_type == "f" and value == _FORMULA:
            spoilt.update(dict.fromkeys(_covered(getattr(cell.value, "ref", cell.coordinate)), "formula"))
        elif code := _problem_of(cell, value, from_1904=from_1904):
            spoilt.setdefault((row - 1, column - 1), code)
    for (row, column), code in spoilt.items():
        if code == "formula" and row < len(rows) and column < len(rows[row]):
            rows[row][column] = _FORMULA
    merged = sorted(
        (area.min_row - 1, area.min_col - 1, area.max_row - 1, area.max_col - 1) for area in page.merged_cells
    )
    ranges = tuple(((top, left), (bottom, right)) for top, left, bottom, right in merged)
    hidden = frozenset(row - 1 for row, shape in page.row_dimensions.items() if shape.hidden)
    return Table(rows, page.title, spoilt, ranges, hidden)


def _value(cell: Any) -> Cell:
    """The value of a cell; an error is its text, such as #N/A, and midnight is the day."""
    value: Cell = cell.value
    if cell.data_type == "f":
        literal = literal_of(value[1:]) if isinstance(value, str) else None
        return _FORMULA if literal is None else literal
    if isinstance(value, str):
        return (
            unescape(value).encode(errors="replace").decode() if "_x" in value else value
        )  # half a surrogate is no text
    return value.date() if isinstance(value, datetime) and value.time() == time() else value


def _problem_of(cell: Any, value: Cell, *, from_1904: bool) -> str:
    if cell.data_type == "e" or (isinstance(value, str) and is_error(value)):
        return "error-cell"
    if cell.data_type == "n" and _shows_more_zeros(cell.value, cell.number_format):
        return "zero-padded"
    return "date-1904" if from_1904 and isinstance(value, date) else ""


def _covered(reference: str) -> Iterator[Place]:
    """Every cell of `B2` or, for an array formula or a data table, of `B2:B9`."""
    left, top, right, bottom = range_boundaries(reference)
    return ((row, column) for row in range(top - 1, bottom) for column in range(left - 1, right))


def _shows_more_zeros(number: float, pattern: str) -> bool:
    return bool(_PADDED.fullmatch(pattern)) and ("-" in pattern or len(str(int(number))) < len(pattern))
