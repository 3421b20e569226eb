"""A typed sheet as a file, so that the sheet itself is parsed once: JSON lines, PHI, readable by its owner only.

The first line names what the rest was made from, and the rest's SHA-256; then come the problems, then a line for each
row.
"""

import hashlib
from datetime import date
from importlib.metadata import version
from pathlib import Path

from pydantic import Field as Setting
from pydantic import ValidationError

from shared.durable import write_whole
from shared.frozen import Frozen
from shared.ids import Sha256
from site_node.clinical.sheet import ClinicalSheet
from site_node.sheets import table, workbook
from site_node.study import ClinicalRow


class _Head(Frozen):
    made_from: Sha256
    rest: Sha256


class _Row(Frozen):
    """A row whose dates stand apart, since JSON knows none."""

    row: int
    keys: dict[str, str] = Setting(repr=False)
    values: dict[str, str | int | float | None] = Setting(repr=False)
    dates: dict[str, date] = Setting(repr=False)


def reader_digest() -> str:
    """The digest of the code that reads and types sheets: a changed reader reads every sheet anew."""
    modules = sorted([*Path(__file__).parent.glob("*.py"), Path(table.__file__), Path(workbook.__file__)])
    code = b"\0".join(module.read_bytes() for module in modules)
    return hashlib.sha256(code + version("openpyxl").encode()).hexdigest()


def save_typed(file: Path, made_from: Sha256, sheet: ClinicalSheet) -> None:
    """Write the typed form; raises `DiskFull`."""
    lines = [ClinicalSheet(rows=(), problems=sheet.problems, doubled=sheet.doubled), *map(_as_line, sheet.rows)]
    rest = "\n".join(line.model_dump_json() for line in lines).encode()
    head = _Head(made_from=made_from, rest=Sha256(hashlib.sha256(rest).hexdigest()))
    write_whole(file, head.model_dump_json().encode() + b"\n" + rest, mode=0o600)


def load_typed(file: Path, made_from: Sha256) -> ClinicalSheet | None:
    """The sheet of a typed form; `None` where there is none, or one that is damaged or was made from something else."""
    try:
        head, _, rest = file.read_bytes().partition(b"\n")
        expected = _Head(made_from=made_from, rest=Sha256(hashlib.sha256(rest).hexdigest()))
        if _Head.model_validate_json(head) != expected:
            return None
        first, *lines = rest.split(b"\n")
        rows = tuple(map(_from_line, lines))
        return ClinicalSheet.model_validate_json(first).model_copy(update={"rows": rows})
    except (OSError, ValidationError):
        return None


def _as_line(row: ClinicalRow) -> _Row:
    dates = {name: value for name, value in row.values.items() if isinstance(value, date)}
    values = {name: value for name, value in row.values.items() if not isinstance(value, date)}
    return _Row(row=row.row, keys=row.keys, values=values, dates=dates)


def _from_line(line: bytes) -> ClinicalRow:
    row = _Row.model_validate_json(line)
    return ClinicalRow(row=row.row, keys=row.keys, values=row.values | row.dates)
