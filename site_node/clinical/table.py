"""The raw table of a sheet: XLSX, XLS or ODS through calamine, or CSV; the first visible sheet of a workbook."""

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from shared.errors import ClinicalSheetInvalid, InvalidArgument, SourceMissing
from site_node.clinical.cells import Cell
from site_node.clinical.formulas import Place, check_size, literal_of, refuse_unlocatable, xlsx_formulas
from site_node.clinical.workbook import read_workbook, unreadable_workbook
from site_node.clinical.xls_formulas import xls_formulas

Row = Sequence[Cell]
TEXTS = frozenset({".csv", ".tsv", ".txt"})
ENCODINGS = ("utf-8", "utf-8-sig", "cp1252", "utf-16")
SEPARATORS = MappingProxyType({"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"})
_SAMPLED_RECORDS = 20  # read to find the separator
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # MS-CFB: XLS, and an encrypted XLSX
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # MS-OFFCRYPTO 2.3.4.4: the stream of an encrypted document


@dataclass(frozen=True)
class Table:
    """All rows of a sheet, empty ones too, so that an index is a row number minus one. PHI: never shown."""

    rows: Sequence[Row] = field(repr=False)
    name: str | None = field(default=None, repr=False)  # of the sheet in its workbook
    formulas: frozenset[Place] = frozenset()
    merged: tuple[tuple[Place, Place], ...] = ()  # first and last cell of each range
    formulas_known: bool = True  # whether formulas can be distinguished from values


def read_table(path: Path, *, encoding: str = "utf-8", separator: str | None = None) -> Table:
    """Read a sheet.

    Args:
        path: XLSX, XLS, ODS, or text that ends in .csv, .tsv or .txt.
        encoding: of text; one of `ENCODINGS`. A mark at the start of UTF-8 text is skipped.
        separator: of text, a name of `SEPARATORS`; `None` detects it, where the text is unambiguous.

    Raises:
        SourceMissing: there is no such file.
        ClinicalSheetInvalid: it is not a sheet, it is protected, or it is empty.
        InvalidArgument: `encoding` or `separator` is unknown.
    """
    if not path.is_file():
        raise SourceMissing(source="the clinical sheet")
    is_text = path.suffix.lower() in TEXTS
    table = _read_text(path.read_bytes(), encoding, separator) if is_text else _read_workbook(path)
    if not any(any(cell not in {None, ""} for cell in row) for row in table.rows):
        raise ClinicalSheetInvalid(problem="it is empty")
    return table


def _read_workbook(path: Path) -> Table:
    try:
        _check(path)
        sheet = read_workbook(path)
        formulas, literals, known = _formulas(path, sheet.place)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise unreadable_workbook(error) from None
    for (row, column), text in literals.items():
        if row < len(sheet.rows) and column < len(sheet.rows[row]):
            sheet.rows[row][column] = text
    return Table(sheet.rows, sheet.name, formulas, sheet.merged, formulas_known=known)


def _check(path: Path) -> None:
    """Check, before calamine opens it, that it has no password and not more than a sheet can hold."""
    with path.open("rb") as stream:
        if stream.read(len(_OLE)) == _OLE and _ENCRYPTED in stream.read():
            raise ClinicalSheetInvalid(problem="it is protected by a password; save it without one")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            check_size(archive)


def _formulas(path: Path, index: int) -> tuple[frozenset[Place], dict[Place, str], bool]:
    """Formulas, literals, and whether formulas can be distinguished from values: in XLSB they cannot."""
    if not zipfile.is_zipfile(path):
        formulas = xls_formulas(path.read_bytes(), index)
        return formulas or frozenset(), {}, formulas is not None
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if "xl/workbook.xml" in names:
            return (*xlsx_formulas(archive, index), True)
        refuse_unlocatable(archive)
        return frozenset(), {}, "content.xml" in names


def _read_text(content: bytes, encoding: str, separator: str | None) -> Table:
    text = _decode(content, encoding)
    if separator is not None and separator not in SEPARATORS:
        raise InvalidArgument(name="--separator", problem=f"it is one of {', '.join(SEPARATORS)}")
    try:
        delimiter = SEPARATORS[separator] if separator else _separator(text)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error:
        raise ClinicalSheetInvalid(problem="its quotes do not pair") from None
    formulas: set[Place] = set()
    for at, row in enumerate(rows):
        for column, cell in enumerate(row):
            if cell.startswith("="):
                literal = literal_of(cell[1:])
                if literal is None:
                    formulas.add((at, column))
                else:
                    row[column] = literal
    return Table(rows, formulas=frozenset(formulas))


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


def _separator(text: str) -> str:
    """The delimiter that splits most records into equally many columns; raises `ClinicalSheetInvalid` on a tie."""
    scores = {delimiter: _evenness(text, delimiter) for delimiter in SEPARATORS.values()}
    best = max(scores.values())
    leading = [delimiter for delimiter, score in scores.items() if score == best]
    if best and len(leading) > 1:
        raise ClinicalSheetInvalid(problem="what parts its columns cannot be told; say it with --separator")
    return leading[0]


def _evenness(text: str, delimiter: str) -> int:
    widths: Counter[int] = Counter()
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)):
        if number == _SAMPLED_RECORDS:
            break
        widths[len(row)] += len(row) > 1
    return max(((width - 1) * count for width, count in widths.items()), default=0)
