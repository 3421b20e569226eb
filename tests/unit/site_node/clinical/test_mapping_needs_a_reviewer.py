"""Sheets that are not ours: a mapping is proposed, a person completes it, and only then are columns read by it."""

from datetime import date
from pathlib import Path

import pytest

from shared.errors.inputs import ClinicalSheetInvalid, SourceMissing
from shared.protocol.loader import load_protocol
from site_node.clinical.mapping import SheetMapping, load_mapping, mapping_text, propose
from site_node.clinical.sheet import read_sheet
from site_node.clinical.sheet_store import SheetStore
from site_node.clinical.table import read_table

DICTIONARY = load_protocol().clinical
THEIRS = (
    "Pat.-Nr.;Auftrag;Covid test date;Alter;Gender;Temp F;Freitext\n"
    "007;A1;03.04.2020;59;w;98.6;never\n"
    "008;A2;25/12/2020;61;unk;99,5;shown\n"
)


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    (tmp_path / "theirs.csv").write_text(THEIRS, encoding="utf-8")
    return tmp_path / "theirs.csv"


def completed(sheet: Path) -> SheetMapping:
    """What a person makes of the proposal, through its file."""
    text = mapping_text(propose(read_table(sheet), DICTIONARY), DICTIONARY)
    for heading, field in (("Pat.-Nr.", "mrn"), ("Auftrag", "accession"), ("Alter", "age"), ("Temp F", "temperature")):
        text = text.replace(f'heading = "{heading}"\nfield = ""', f'heading = "{heading}"\nfield = "{field}"')
    text = text.replace('field = "temperature"', 'field = "temperature"\nunit = "°F"')
    text = text.replace('field = "sex"', 'field = "sex"\ncodes = { "unk" = "O" }')
    text = text.replace('reviewed_by = ""', 'reviewed_by = "Dr Who"').replace('dates = "iso"', 'dates = "dmy"')
    file = sheet.with_name("mapping.toml")
    file.write_text(text, encoding="utf-8")
    return load_mapping(file)


def test_a_sheet_that_is_not_ours_is_refused_with_the_way_out(sheet: Path) -> None:
    with pytest.raises(ClinicalSheetInvalid, match="clinical map"):
        read_sheet(sheet, DICTIONARY)


def test_the_proposal_says_what_it_knows_and_what_it_guesses(sheet: Path) -> None:
    proposed = propose(read_table(sheet), DICTIONARY)
    fields = {rule.heading: (rule.field, bool(rule.note)) for rule in proposed.columns}
    assert fields["Gender"] == ("sex", False)
    assert fields["Covid test date"] == ("test_date", True)
    assert fields["Freitext"] == ("", True)
    assert not proposed.reviewed_by
    text = mapping_text(proposed, DICTIONARY)
    assert not any(cell in text for cell in ("007", "never", "59", "03.04"))


def test_nothing_is_read_by_a_mapping_that_nobody_reviewed(sheet: Path) -> None:
    mapping = completed(sheet)
    with pytest.raises(ClinicalSheetInvalid, match="reviewed_by"):
        read_sheet(sheet, DICTIONARY, mapping=mapping.model_copy(update={"reviewed_by": " "}))


def test_a_reviewed_mapping_reads_units_orders_and_spellings(sheet: Path) -> None:
    read = read_sheet(sheet, DICTIONARY, mapping=completed(sheet))
    assert not read.problems
    first, second = read.rows
    assert first.keys == {"mrn": "007", "accession": "A1"}
    assert first.values == {"test_date": date(2020, 4, 3), "age": 59, "sex": "F", "temperature": 37.0}
    assert second.values == {"test_date": date(2020, 12, 25), "age": 61, "sex": "O", "temperature": 37.5}


@pytest.mark.parametrize(("order", "day"), [("dmy", date(2020, 4, 3)), ("mdy", date(2020, 3, 4)), ("iso", None)])
def test_text_dates_are_read_in_the_order_named_and_in_no_other(sheet: Path, order: str, day: date | None) -> None:
    mapping = completed(sheet).model_copy(update={"dates": order})
    read = read_sheet(sheet, DICTIONARY, mapping=mapping)
    assert read.rows[0].values["test_date"] == day
    wrong = [(problem.row, problem.code) for problem in read.problems]
    assert wrong == {"dmy": [], "mdy": [(3, "no-date")], "iso": [(2, "date-order"), (3, "date-order")]}[order]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"mrn"', '"name"', "no such field"),
        ('"accession"', '"mrn"', "stands twice"),
        ('"O" }', '"X" }', "a code is none"),
        ('"°F"', '"mg/L"', "unit"),
        ('"dmy"', "dmy", "no TOML"),
        ('"dmy"', '"ymd"', "not what it should be"),
        ('column = "A"', 'column = "1"', "not what it should be"),
        ("reviewed_by", "signed_by", "not what it should be"),
    ],
)
def test_a_mapping_that_cannot_be_says_so(sheet: Path, old: str, new: str, problem: str) -> None:
    completed(sheet)
    file = sheet.with_name("mapping.toml")
    head, mark, rest = file.read_text(encoding="utf-8").partition("headings = ")
    file.write_text(head + mark + rest.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ClinicalSheetInvalid, match=problem):
        read_sheet(sheet, DICTIONARY, mapping=load_mapping(file))


def test_a_mapping_fits_its_headings_wherever_they_stand_and_no_others(sheet: Path) -> None:
    mapping = completed(sheet)
    sheet.write_text("Our ward\n\n" + THEIRS, encoding="utf-8")
    assert [row.row for row in read_sheet(sheet, DICTIONARY, mapping=mapping).rows] == [4, 5]
    sheet.write_text(THEIRS.replace("Alter", "Jahre"), encoding="utf-8")
    with pytest.raises(ClinicalSheetInvalid, match="other headings"):
        read_sheet(sheet, DICTIONARY, mapping=mapping)


def test_a_mapping_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        load_mapping(tmp_path / "none.toml")


def test_a_home_remembers_a_mapping_for_the_same_headings_and_no_other(sheet: Path, tmp_path: Path) -> None:
    """Kept sheets read the same years later, whatever encoding and separator they came with."""
    folder = tmp_path / "clinical"
    folder.mkdir()
    store, mapping = SheetStore(folder), completed(sheet)
    assert store.mapping_for(read_table(sheet)) is None
    store.remember(mapping, DICTIONARY)
    assert store.mapping_for(read_table(sheet)) == mapping.model_copy()
    other = tmp_path / "other.csv"
    other.write_text(THEIRS.replace("Alter", "Jahre"), encoding="utf-8")
    assert store.mapping_for(read_table(other)) is None
    sheet.write_bytes(THEIRS.replace("never", "nié; «x»").encode("cp1252"))
    table = read_table(sheet, encoding="cp1252", separator="semicolon")
    store.keep(sheet, table)
    (file,) = store.files([""])
    assert store.read(file, DICTIONARY) == read_sheet(sheet, DICTIONARY, mapping=mapping, encoding="cp1252")
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o600}


def test_a_sheet_kept_by_an_earlier_release_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "0123.csv").write_bytes("MRN;Sex\nÄ7;M\n".encode("cp1252"))
    store = SheetStore(tmp_path)
    assert store.read(store.files([""])[0], DICTIONARY).rows[0].keys == {"mrn": "Ä7"}


def test_a_kept_sheet_that_cannot_be_read_any_more_is_named(tmp_path: Path) -> None:
    (tmp_path / "0123.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    store = SheetStore(tmp_path)
    with pytest.raises(ClinicalSheetInvalid, match=r"clinical/0123\.csv .* delete that file"):
        store.read(store.files([""])[0], DICTIONARY)
