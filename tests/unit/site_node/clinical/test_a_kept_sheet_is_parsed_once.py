"""The typed form of a kept sheet equals a fresh reading; one that is damaged, foreign or outdated is never used."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from shared.errors.storage import DiskFull
from shared.protocol.loader import load_protocol
from site_node.clinical import sheet_store, typed_form
from site_node.clinical.mapping import propose
from site_node.clinical.sheet import ClinicalSheet, type_table
from site_node.clinical.sheet_store import SheetStore
from site_node.clinical.table import read_table
from site_node.sheets.table import Table

DICTIONARY = load_protocol().clinical
CELLS = (
    st.sampled_from(
        [
            "",
            "P1",
            "P2",
            "007",
            '="007"',
            '="=1"',
            "=1+1",
            "M",
            "female",
            "pos",
            "37,5",
            "1.5 mg/L",
            "x\r\ny",
            "_xD800_",
        ]
    )
    | st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=8)
    | st.integers(-5, 150)
    | st.floats(-5, 150, allow_subnormal=False)
    | st.dates(date(1890, 1, 1), date(2030, 1, 1))
    | st.datetimes(datetime(1999, 1, 1), datetime(2030, 1, 1))
    | st.booleans()
    | st.none()
)
HEADINGS = ["MRN", "Accession number", "Age", "Temperature", "Test date", "Sex", "Comment", "Ours"]


@pytest.fixture
def store(tmp_path: Path) -> SheetStore:
    return SheetStore(tmp_path)


@contextmanager
def counted(calls: list[Path]) -> Iterator[None]:
    """Note every kept sheet that is parsed."""
    real = sheet_store._read_kept

    def note(file: Path) -> Table:
        calls.append(file)
        return real(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sheet_store, "_read_kept", note)
        yield


def exactly(sheet: ClinicalSheet) -> object:
    """A sheet so that 1, 1.0 and True differ, and a day from a moment."""
    rows = [(row.row, row.keys, {name: repr(value) for name, value in row.values.items()}) for row in sheet.rows]
    return rows, sheet.problems, sheet.doubled


def keep(store: SheetStore, content: str = "MRN,Age,Test date\nP1,59,2020-04-03\n") -> Path:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sheet.csv").write_text(content, encoding="utf-8")
        return store.keep(Path(folder) / "sheet.csv", read_table(Path(folder) / "sheet.csv"))


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=len(HEADINGS), max_size=len(HEADINGS)), max_size=5), as_text=st.booleans()
)
def test_the_typed_form_equals_a_fresh_reading(rows: list[list[object]], as_text: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, calls = SheetStore(Path(folder)), list[Path]()
        book = Workbook()
        for row in [HEADINGS, *rows]:
            book.active.append(row)
        sheet = Path(folder) / "drawn.xlsx"
        book.save(sheet)
        table = read_table(sheet)
        kept = store.keep(sheet, Table(_texts(table)) if as_text else table)
        sheet.unlink()
        fresh = type_table(read_table(kept), DICTIONARY)
        with counted(calls):
            assert exactly(store.read(kept, DICTIONARY, None if as_text else table)) == exactly(fresh)
            assert exactly(store.read(kept, DICTIONARY)) == exactly(fresh)
        assert calls == [kept] * as_text  # a workbook was read when it was imported


def _texts(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in table.rows]


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, 2000), value=st.integers(0, 255), cut=st.integers(0, 1500))
def test_a_damaged_typed_form_is_read_anew(at: int, value: int, cut: int) -> None:
    """Any byte changed, any end missing: the sheet itself is parsed again, and the form mended."""
    with tempfile.TemporaryDirectory() as folder:
        store, calls = SheetStore(Path(folder)), list[Path]()
        kept = keep(store)
        fresh = store.read(kept, DICTIONARY)
        (typed,) = (Path(folder) / "typed").iterdir()
        whole = typed.read_bytes()
        damaged = bytearray(whole[: len(whole) - cut % len(whole)])
        damaged[at % len(damaged)] = value
        typed.write_bytes(damaged)
        with counted(calls):
            assert exactly(store.read(kept, DICTIONARY)) == exactly(fresh)
        assert len(calls) == (damaged != whole)
        assert typed.read_bytes() == whole


def test_what_is_shown_of_a_typed_row_is_no_patients(store: SheetStore) -> None:
    """Neither its keys nor a value or a day."""
    (row,) = store.read(keep(store), DICTIONARY).rows
    assert not any(text in repr(typed_form._as_line(row)) for text in ("P1", "59", "2020"))


def test_the_typed_form_of_another_sheet_is_not_used(store: SheetStore, tmp_path: Path) -> None:
    first = keep(store)
    store.read(first, DICTIONARY)
    (foreign,) = (tmp_path / "typed").iterdir()
    second = keep(store, "MRN,Age\nP2,7\n")
    foreign.rename(store._typed_file(second, DICTIONARY))
    assert store.read(second, DICTIONARY).rows[0].keys == {"mrn": "P2"}


Change = Callable[[SheetStore, Path, pytest.MonkeyPatch], None]


def _map(store: SheetStore, kept: Path, patch: pytest.MonkeyPatch) -> None:
    store.remember(propose(read_table(kept), DICTIONARY).model_copy(update={"reviewed_by": "Dr Who"}), DICTIONARY)


def _change_sheet(store: SheetStore, kept: Path, patch: pytest.MonkeyPatch) -> None:
    kept.write_text("MRN,Age\nP1,60\n", encoding="utf-8")


def _change_reader(store: SheetStore, kept: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(typed_form, "version", lambda _name: "0")


@pytest.mark.parametrize("change", [_map, _change_sheet, _change_reader])
def test_what_a_sheet_follows_from_makes_it_read_anew(
    store: SheetStore, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    kept, calls = keep(store), list[Path]()
    store.read(kept, DICTIONARY)
    change(store, kept, monkeypatch)
    with counted(calls):
        store.read(kept, DICTIONARY)
        store.read(kept, DICTIONARY)
    assert calls == [kept]


def test_another_dictionary_reads_anew(store: SheetStore) -> None:
    kept = keep(store)
    assert store.read(kept, DICTIONARY).rows[0].values["age"] == 59
    fields = tuple(field for field in DICTIONARY.fields if field.name != "age")
    assert "age" not in store.read(kept, DICTIONARY.model_copy(update={"fields": fields})).rows[0].values


def test_typed_forms_are_their_owners_and_go_with_their_sheet(store: SheetStore, tmp_path: Path) -> None:
    """No patient's data stays behind when a sheet is deleted, and none of an outdated reading."""
    kept = keep(store)
    names = [keep(store, "MRN,Age\nP2,7\n").name, kept.name]
    assert [sheet.rows[0].keys["mrn"] for _, sheet in store.read_all(names, DICTIONARY)] == ["P2", "P1"]
    typed = list((tmp_path / "typed").iterdir())
    assert {path.stat().st_mode & 0o777 for path in typed} == {0o600}
    assert (tmp_path / "typed").stat().st_mode & 0o777 == 0o700
    kept.unlink()
    store.read_all(names, DICTIONARY)
    assert len(list((tmp_path / "typed").iterdir())) == 1 < len(typed)


def test_without_room_for_a_typed_form_the_sheet_is_read_all_the_same(
    store: SheetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise DiskFull(folder=os.sep)

    monkeypatch.setattr(sheet_store, "save_typed", full)
    assert store.read(keep(store), DICTIONARY).rows[0].keys == {"mrn": "P1"}
