"""Read a list of accession numbers with everything in its file: values, merged cells, formulas, number formats."""

import sys
from pathlib import Path

from shared.errors import AccessionListInvalid, ClinicalSheetInvalid, InvalidArgument
from site_node.clinical.table import read_table
from site_node.receive.accessions import WORKBOOKS, AccessionList, CellPosition, of_text, read_accessions
from site_node.receive.zero_padding import zero_padded_cells

_MAX_COLUMNS = 16_384  # of a sheet


def read_list(source: str, *, column: str, patient_column: str) -> AccessionList:
    """Read a list; `-` is standard input.

    Raises `AccessionListInvalid` or `SourceMissing` for a file that is not a list, `InvalidArgument` for an empty one.
    """
    if source == "-":
        listed = of_text(sys.stdin.read())
    else:
        file = Path(source)
        unreliable = _unreliable_cells(file)
        listed = read_accessions(file, column=column, patient_column=patient_column, unreliable_cells=unreliable)
    if not listed.requests and not listed.problems:
        raise InvalidArgument(name="--accessions", problem="the list is empty")
    return listed


def _unreliable_cells(file: Path) -> dict[CellPosition, str]:
    """Cells of a workbook whose value cannot be relied on, each with its code. Raises `AccessionListInvalid`."""
    if file.suffix.lower() not in WORKBOOKS or not file.is_file():
        return {}
    try:
        table = read_table(file)
    except ClinicalSheetInvalid as error:  # the table reader's error for an unreadable workbook
        raise AccessionListInvalid(error.private, problem=error.fields["problem"]) from None
    merged = (
        (row, column)
        for (top, left), (bottom, right) in table.merged
        for row in range(top, min(bottom, len(table.rows) - 1) + 1)
        for column in range(left, min(right, _MAX_COLUMNS) + 1)
    )
    padded = dict.fromkeys(zero_padded_cells(file), "zero-padded")
    return padded | dict.fromkeys(merged, "merged") | dict.fromkeys(table.formulas, "formula")
