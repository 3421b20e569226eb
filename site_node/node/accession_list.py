"""Read a list of accession numbers with all that its file says: values, merged cells, formulas, number formats."""

import sys
from pathlib import Path

from shared.errors import AccessionListInvalid, ClinicalSheetInvalid, InvalidArgument
from site_node.clinical.table import read_table
from site_node.receive.accessions import WORKBOOKS, AccessionList, Place, of_text, read_accessions
from site_node.receive.zero_padding import padded_cells

_MOST_COLUMNS = 16_384  # of a sheet


def read_list(source: str, *, column: str, patient_column: str) -> AccessionList:
    """Read a list; `-` is standard input.

    Raises `AccessionListInvalid` or `SourceMissing` for a file that is no list, `InvalidArgument` for an empty one.
    """
    if source == "-":
        listed = of_text(sys.stdin.read())
    else:
        file = Path(source)
        listed = read_accessions(file, column=column, patient_column=patient_column, spoilt=_unsure_cells(file))
    if not listed.wanted and not listed.problems:
        raise InvalidArgument(name="--accessions", problem="the list is empty")
    return listed


def _unsure_cells(file: Path) -> dict[Place, str]:
    """Cells of a workbook whose value says nothing for sure, each with its code. Raises `AccessionListInvalid`."""
    if file.suffix.lower() not in WORKBOOKS or not file.is_file():
        return {}
    try:
        table = read_table(file)
    except ClinicalSheetInvalid as error:  # the reader's own word for a workbook that it cannot read
        raise AccessionListInvalid(error.private, problem=error.fields["problem"]) from None
    merged = (
        (row, column)
        for (top, left), (bottom, right) in table.merged
        for row in range(top, min(bottom, len(table.rows) - 1) + 1)
        for column in range(left, min(right, _MOST_COLUMNS) + 1)
    )
    padded = dict.fromkeys(padded_cells(file), "zero-padded")
    return padded | dict.fromkeys(merged, "merged") | dict.fromkeys(table.formulas, "formula")
