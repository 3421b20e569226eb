"""The first visible sheet of an XLSX, XLS, XLSB or ODS workbook, through calamine. A failure becomes one sentence.

calamine is Rust. On some damaged files it panics: Python sees a `BaseException`, and Rust prints a message to the
process's standard error that may quote a cell. Both are caught here.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetVisibleEnum

from shared.errors import ClinicalSheetInvalid
from site_node.clinical.formulas import Place

_STDERR = 2
_STDERR_LOCK = threading.Lock()  # a process has one standard error


class RawSheet(NamedTuple):
    """What calamine reads of a sheet; `place` is its index among all sheets of the workbook."""

    rows: list[list[Any]]
    merged: tuple[tuple[Place, Place], ...]
    name: str
    place: int


def read_workbook(path: Path) -> RawSheet:
    """Read the first visible sheet; raises `ClinicalSheetInvalid`."""
    try:
        with _without_panics(), path.open("rb") as stream, CalamineWorkbook.from_filelike(stream) as book:
            visible = [at for at, meta in enumerate(book.sheets_metadata) if meta.visible == SheetVisibleEnum.Visible]
            if not visible:
                raise ClinicalSheetInvalid(problem="it holds no visible sheet")
            sheet = book.get_sheet_by_index(visible[0])
            rows = sheet.to_python(skip_empty_area=False)
            return RawSheet(rows, tuple(sheet.merged_cell_ranges or ()), sheet.name, visible[0])
    except PasswordError:
        raise ClinicalSheetInvalid(problem="it is protected by a password; save it without one") from None
    except (CalamineError, OSError, ValueError, OverflowError) as error:
        raise unreadable_workbook(error) from None


def unreadable_workbook(error: BaseException) -> ClinicalSheetInvalid:
    """The error for a file that is damaged or of another kind."""
    return ClinicalSheetInvalid(type(error).__name__, problem="it is neither XLSX, XLS, ODS nor CSV, or is damaged")


@contextmanager
def _without_panics() -> Iterator[None]:
    """Turn a panic into `ClinicalSheetInvalid` and drop what was printed; without a panic, pass it on."""
    with _STDERR_LOCK, tempfile.TemporaryFile() as printed:
        real = os.dup(_STDERR)
        os.dup2(printed.fileno(), _STDERR)
        try:
            yield
        except BaseException as error:
            if type(error).__name__ == "PanicException":
                printed.truncate(0)
                raise unreadable_workbook(error) from None
            raise
        finally:
            os.dup2(real, _STDERR)
            os.close(real)
            printed.seek(0)
            while block := printed.read(1 << 16):
                os.write(_STDERR, block)
