"""Workbooks that are damaged, of another kind or too large: each ends in one sentence, and none fills the memory."""

import re
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.xml.constants import SHEET_MAIN_NS

from shared.errors.inputs import ClinicalSheetInvalid
from shared.protocol.loader import load_protocol
from site_node.clinical.sheet import read_sheet
from site_node.sheets.workbook import WorkbookInvalid, is_workbook, read_workbook

DICTIONARY = load_protocol().clinical
SAVE = "save it as XLSX"
SHEET = "xl/worksheets/sheet1.xml"


def xlsx() -> bytes:
    book = Workbook()
    for row in (["MRN", "Age"], ["P1", 59], ["P2", "=1+1"]):
        book.active.append(row)
    with tempfile.NamedTemporaryFile(suffix=".xlsx") as file:
        book.save(file.name)
        return Path(file.name).read_bytes()


WHOLE = xlsx()


def changed(folder: Path, change: Callable[[bytes], bytes], member: str = SHEET) -> Path:
    """The whole workbook, but for one of its members."""
    path = folder / "sheet.xlsx"
    path.write_bytes(WHOLE)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members[member] = change(members[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def zipped(member: str) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("mimetype", "x")
            archive.writestr(member, "<x/>")
        return Path(file.name).read_bytes()


XLS = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600) + "Workbook".encode("utf-16-le")
KINDS = {"xls": XLS, "xlsb": zipped("xl/workbook.bin"), "ods": zipped("content.xml")}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("suffix", [".xls", ".xlsb", ".ods", ".xlsx", ".csv", ""])
def test_other_workbooks_are_known_by_content_and_asked_for_as_xlsx(tmp_path: Path, kind: str, suffix: str) -> None:
    """Whatever the file is called, the sentence says which kinds are not read and what to do."""
    path = tmp_path / f"sheet{suffix}"
    path.write_bytes(KINDS[kind])
    assert is_workbook(path)
    with pytest.raises(ClinicalSheetInvalid, match=f"XLS, XLSB and ODS are not read; {SAVE}"):
        read_sheet(path, DICTIONARY)


@pytest.mark.parametrize("content", [b"", b"<html><table></table></html>", b"MRN\tAge\n", zipped("word/document.xml")])
@pytest.mark.parametrize("suffix", [".xls", ".xlsx", ".pdf"])
def test_what_is_no_workbook_is_asked_for_as_one(tmp_path: Path, content: bytes, suffix: str) -> None:
    """Many programs call a web page or a text `.xls`."""
    path = tmp_path / f"sheet{suffix}"
    path.write_bytes(content)
    with pytest.raises(ClinicalSheetInvalid, match=SAVE):
        read_sheet(path, DICTIONARY)


def test_an_xlsx_is_one_whatever_its_name(tmp_path: Path) -> None:
    """Its formula is seen under the name of a text file too."""
    (tmp_path / "sheet.csv").write_bytes(WHOLE)
    sheet = read_sheet(tmp_path / "sheet.csv", DICTIONARY)
    assert [(problem.row, problem.letter, problem.code) for problem in sheet.problems] == [(3, "B", "formula")]
    assert [(row.keys["mrn"], row.values["age"]) for row in sheet.rows] == [("P1", 59), ("P2", None)]


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 6000), flips=st.lists(st.tuples(st.integers(0, 5631), st.integers(0, 255)), max_size=6))
def test_damage_is_refused_or_read_and_never_anything_else(cut: int, flips: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE[: cut or None])
    for at, value in flips:
        if at < len(content):
            content[at] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.xlsx"
        path.write_bytes(content)
        with suppress(ClinicalSheetInvalid):  # one sentence, as every error of the table
            read_sheet(path, DICTIONARY)


XML = st.text(st.sampled_from("<>/=\"' azBC019:&;"), max_size=12)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 900), length=st.integers(0, 30), put=XML)
def test_xml_that_is_not_what_it_should_be_is_refused_or_read(at: int, length: int, put: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = changed(Path(folder), lambda xml: xml[:at] + put.encode() + xml[at + length :])
        with suppress(WorkbookInvalid):
            read_workbook(path)


def test_a_workbook_that_unpacks_to_too_much_is_not_opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("site_node.sheets.workbook._UNPACKED", 1000)
    (tmp_path / "sheet.xlsx").write_bytes(WHOLE)
    with pytest.raises(ClinicalSheetInvalid, match="unpacks"):
        read_sheet(tmp_path / "sheet.xlsx", DICTIONARY)


@pytest.mark.parametrize(
    "element",
    [
        '<mergeCells count="1"><mergeCell ref="A1:XFD1048576"/></mergeCells>',
        f'<x:mergeCells xmlns:x="{SHEET_MAIN_NS}"><x:mergeCell ref="A1:XFD1048576"/></x:mergeCells>',
        '<hyperlinks><hyperlink ref="A1:XFD1048576" location="A1"/></hyperlinks>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_ranges_over_the_whole_sheet_are_not_filled(tmp_path: Path, element: str, encoding: str) -> None:
    """Else openpyxl would make an object for each of 17 thousand million cells."""

    def change(xml: bytes) -> bytes:
        text = re.sub(r"^<\?xml.*?\?>", "", xml.decode()).replace("</sheetData>", "</sheetData>" + element)
        return text.encode(encoding)

    with pytest.raises(ClinicalSheetInvalid, match="cover more"):
        read_sheet(changed(tmp_path, change), DICTIONARY)


@pytest.mark.parametrize("kind", ["array", "dataTable"])
def test_a_formula_over_the_whole_sheet_is_not_expanded(tmp_path: Path, kind: str) -> None:
    formula = f'<f t="{kind}" ref="A1:XFD1048576">A1</f>'.encode()
    path = changed(tmp_path, lambda xml: xml.replace(b"<f>1+1</f>", formula))
    with pytest.raises(ClinicalSheetInvalid, match="cover more"):
        read_sheet(path, DICTIONARY)


@pytest.mark.parametrize(("place", "read"), [("XFD1048576", True), ("A1048577", False), ("A999999999", False)])
def test_a_cell_far_away_costs_no_memory_for_those_between(tmp_path: Path, place: str, read: bool) -> None:
    far = f'<row><c r="{place}"><v>1</v></c></row></sheetData>'.encode()
    path = changed(tmp_path, lambda xml: xml.replace(b"</sheetData>", far))
    if read:
        assert len(read_sheet(path, DICTIONARY).rows) == 2
    else:
        with pytest.raises(ClinicalSheetInvalid, match="too far apart"):
            read_sheet(path, DICTIONARY)


def test_wide_rows_are_bounded_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("site_node.sheets.workbook._MOST_CELLS", 5)
    (tmp_path / "sheet.xlsx").write_bytes(WHOLE)
    with pytest.raises(ClinicalSheetInvalid, match="too far apart"):
        read_sheet(tmp_path / "sheet.xlsx", DICTIONARY)


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    names = "".join(f'<!ENTITY e{at} "{f"&e{at - 1};" * 20}">' for at in range(1, 12))
    kind = f'<!DOCTYPE worksheet [<!ENTITY e0 "{"x" * 50}">{names}]>'.encode()
    path = changed(
        tmp_path, lambda xml: kind + re.sub(rb"^<\?xml.*?\?>", b"", xml).replace(b"<v>59</v>", b"<v>&e11;</v>")
    )
    with pytest.raises(ClinicalSheetInvalid, match=SAVE):
        read_sheet(path, DICTIONARY)
