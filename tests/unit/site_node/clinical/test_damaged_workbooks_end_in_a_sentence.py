"""Old and damaged workbooks: XLS formulas are found in its records, and any damage ends in one sentence."""

import base64
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from shared.errors import ClinicalSheetInvalid
from shared.protocol.loader import load_protocol
from site_node.clinical.formulas import check_size
from site_node.clinical.sheet import read_sheet
from site_node.clinical.xls_formulas import xls_formulas

DICTIONARY = load_protocol().clinical
# A hidden sheet, then MRN and Age of P1 (59), P2 (=1+1) and P3 (7), as xlwt 1.3 writes them.
XLS = zlib.decompress(base64.b64decode(
    "eNrtWE1oE0EU/mZ281fbNKmp0IohVKy19lJ78dJuq2i9NMReFBE0NaGUllSCFz1oteYoCJ4UL4VevFS9+IMe9OZBqOihIAiJHgVBUPDQZn3zMg"
    "tpjdBALbbMt5k3s2/evHn73pvJ7L5bjBbnHreXsAYDsFB2Q/BX8QSVkHcTAfW7rmp6dZCKa7ClEApSIP0+vGh6G1AxVPEuQeKR/Zoo8JnKWVxE"
    "cjqXTWwijrANaaFs6Bc25Z7EfSphtLFdLUwvMN3J9CHLvmQ6yJxbTPtJtijOYNFJdh8mPeo6LTu4L0xU4CmP+cicXrTijcrja7dFJed9GMpPpK"
    "f+z4643Yh5UOSGs7lsPj1VRIxCOI+fbgL44a3VVwnD31y+APF/reYHavDvSBuYgXteqEQsUEIuWSq8fpyYyGSyuQJtuDt8lZAfXcZeqLYqJDUy"
    "miQ6NJ6lvE31KnJIkb4GtU3zso6sWtZNnOyNRDNo5naUUz5CG/fyg+/vR8ZSzjnmzPBWXsE+ZSFcXFcjaHB4zR9FN484yPQGa93N7XamMTKW6s"
    "5Uq24cn2WZm9zbSfP0MT44+6vaXdQufD35LF744hyg9sJw6UpsYcmZQwf5I6MX8Sx6RI+4d1fhuePVQm8Nn5i2/bFNDMgWPGHLB6ueYuN8Jv7q"
    "M5up3II+C8qItt3VJ4FmrLDPQP5QqNwp7wgtL2rIC5ZXGq/KBrYnim9aXtaQlyxvcSz2aO9bLOBqwQDiQv0spcKqocJiFbae0mIVcS8NZK00MD"
    "AwMDAwMDDY3hD6SGrpA6pPH3wD+rvOCpWy+UyybTGKabou0WvpMeSozuNyXfmzCz7h6RLrHON9L1Q4RbPnMYkxtmOy7vylFxdR/TzrHhjZuCVU"
    "7/zleuz8x/P/Bmue8eI="
))  # fmt: skip


def xlsx() -> bytes:
    book = Workbook()
    for row in (["MRN", "Age"], ["P1", 59], ["P2", "=1+1"]):
        book.active.append(row)
    with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
        book.save(file.name)
        return Path(file.name).read_bytes()


WHOLE = {".xlsx": xlsx(), ".xls": XLS}


def test_formulas_of_an_xls_are_found(tmp_path: Path) -> None:
    """A stored result is not trusted there either; other cells are read."""
    (tmp_path / "sheet.xls").write_bytes(XLS)
    sheet = read_sheet(tmp_path / "sheet.xls", DICTIONARY)
    assert [(problem.row, problem.letter, problem.code) for problem in sheet.problems] == [(3, "B", "formula")]
    assert [(row.keys["mrn"], row.values["age"]) for row in sheet.rows] == [("P1", 59), ("P2", None), ("P3", 7)]


@settings(max_examples=150, deadline=None)
@given(
    suffix=st.sampled_from(sorted(WHOLE)),
    cut=st.integers(0, 6000),
    flips=st.lists(st.tuples(st.integers(0, 5631), st.integers(0, 255)), max_size=6),
)
def test_damage_is_refused_or_read_and_never_anything_else(suffix: str, cut: int, flips: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE[suffix][: cut or None])
    for at, value in flips:
        if at < len(content):
            content[at] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"sheet{suffix}"
        path.write_bytes(content)
        with suppress(ClinicalSheetInvalid):  # one sentence, as every error of the table
            read_sheet(path, DICTIONARY)


@given(st.binary(max_size=600))
def test_bytes_without_a_compound_file_hold_no_known_formulas(content: bytes) -> None:
    assert xls_formulas(content, 0) is None


def test_a_workbook_that_unpacks_to_too_much_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("site_node.clinical.formulas._UNPACKED", 1000)
    (tmp_path / "sheet.xlsx").write_bytes(WHOLE[".xlsx"])
    with pytest.raises(ClinicalSheetInvalid, match="unpacks"), zipfile.ZipFile(tmp_path / "sheet.xlsx") as archive:
        check_size(archive)
    with pytest.raises(ClinicalSheetInvalid, match="unpacks"):
        read_sheet(tmp_path / "sheet.xlsx", DICTIONARY)
