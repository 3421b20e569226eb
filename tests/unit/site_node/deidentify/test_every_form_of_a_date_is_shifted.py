"""Every written form of a date and a datetime, shifted back by 40 days."""

import pytest

from site_node.deidentify.date_shift import shift_values

CASES = [
    ("20210302", "20210121", "20210121"),
    ("20210302 ", "20210121", "20210121"),
    ("2021.03.02", "20210121", "20210121"),  # ACR-NEMA
    ("20210302\\20210303", "20210121\\20210122", "20210121\\20210122"),
    ("20210302\\\\20210303", "20210121\\\\20210122", None),
    ("20210302-20210303", "20210121-20210122", "20210121-20210122"),
    ("20210302-", "20210121-", "20210121-"),
    ("-20210302", "-20210121", "-20210121"),
    ("202103", "", "20210120"),
    ("2021", "", "20201122"),
    ("20210302101112", "20210121101112", "20210121101112"),
    ("20210302101112.123456", "20210121101112.123456", "20210121101112.123456"),
    ("20210302101112+0100", "20210121101112", "20210121101112"),
    ("20210302101112.5-0500", "20210121101112.5", "20210121101112.5"),
    ("20210302+0100", "20210121", "20210121"),
    ("20210302101112-20210303101112", "20210121101112-20210122101112", "20210121101112-20210122101112"),
    ("20210230", "", None),
    ("00010101", "", None),
    ("N/A", "", None),
    ("20210302 Zanzibarova", "", None),
    ("-", "", None),
    ("20210302-x", "", None),
    ("", "", None),
]


@pytest.mark.parametrize(("text", "emptied", "completed"), CASES)
def test_every_form(text: str, emptied: str, completed: str | None) -> None:
    """Partial and invalid dates become empty, or are completed and refused where a date must be."""
    assert shift_values(text, 40, complete=False) == emptied
    assert shift_values(text, 40, complete=True) == completed
