"""What a program prints of a sheet, a mapping or a row holds no cell: it may stand in a log."""

from hypothesis import given
from hypothesis import strategies as st

from site_node.clinical.mapping import ColumnRule
from site_node.clinical.sheet import ClinicalSheet

cells = st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=12).map(lambda text: f"zq{text}")


@given(heading=cells, spelling=cells, key=cells)
def test_nothing_of_a_sheet_is_printed(heading: str, spelling: str, key: str) -> None:
    """Neither a heading, which may be a name, nor a code as the sheet spells it, nor a key that two rows have."""
    rule = ColumnRule(column="A", heading=heading, field="sex", codes={spelling: "F"})
    sheet = ClinicalSheet(rows=(), problems=(), doubled=frozenset({("mrn", key)}))
    for shown in (repr(rule), str(rule), repr(sheet), str(sheet)):
        assert not any(cell in shown for cell in (heading, spelling, key))
