"""Sheets that are not ours: a mapping is proposed, a person completes it, and only then are columns read by it."""

import re
from datetime import date
from pathlib import Path

import pytest

from shared.errors.inputs import ClinicalSheetInvalid, SourceMissing
from shared.protocol.loader import load_protocol
from site_node.clinical.mapping import ColumnRule, SheetMapping, headings_digest, load_mapping, mapping_text, propose
from site_node.clinical.sheet import read_sheet, type_table
from site_node.clinical.sheet_store import SheetStore
from site_node.clinical.table import read_table
from site_node.sheets.table import Cell, Table

DICTIONARY = load_protocol().clinical
GUESS = "a guess from a part of the heading; look at the column"
ORDER = 'dates here are text: say whether dates = "dmy" or "mdy"'
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


@pytest.mark.parametrize(
    ("heading", "field", "unit", "note"),
    [
        ("Patient ID", "mrn", None, ""),
        ("CRP (mg/L)", "crp", "mg/L", ""),
        ("CRP (mg/dL)", "crp", "mg/dL", "the dictionary wants mg/L"),
        ("Test date", "test_date", None, ORDER),
        ("Sex of patient", "sex", None, GUESS),
        ("Test method of PCR", "covid_method", None, GUESS),
        ("First admission date", "admission_date", None, f"{GUESS}; {ORDER}"),
        ("Ward", "", None, "which field? leave empty if none"),
        ("MRN", "", None, "another column is proposed for this field"),
    ],
)
def test_a_proposal_says_why(heading: str, field: str, unit: str | None, note: str) -> None:
    """Of each column: a name that the dictionary knows, the longest that a heading holds, or none."""
    rows = [
        ["Our ward"],
        ["Patient number", "", heading] if field != "mrn" else ["", "", heading],
        ["P1", "", "3.4.2020"],
    ]
    (*_, rule) = propose(Table(rows), DICTIONARY).columns
    assert (rule.column, rule.heading, rule.field, rule.unit, rule.note) == ("C", heading, field, unit, note)


def test_of_two_guesses_the_longer_name_is_proposed() -> None:
    """By words, then by letters, then as the dictionary has it."""
    for heading, field in (
        ("Patient ID of exam", "mrn"),
        ("ID, patient", "mrn"),
        ("ICU: sex, age at exam", "age"),
        ("ICU or sex", "sex"),
    ):
        assert propose(Table([[heading]]), DICTIONARY).columns[0].field == field


@pytest.mark.parametrize(
    ("rows", "headings", "columns"),
    [
        ([["Patient ID", "Sex"], ["MRN", "Age"]], 0, "AB"),  # of two alike the upper
        ([["Our patient ID list"], ["", "Sex", "Age"]], 1, "BC"),
        ([["x", 7, 8], ["y", "", "z"], ["u", "v"]], 1, "AC"),  # where none is known: that of most texts
        ([[7, 8, 9], ["y"]], 1, "A"),
    ],
)
def test_the_row_that_may_mean_most_is_proposed(rows: list[list[Cell]], headings: int, columns: str) -> None:
    """A mapping is then for these very headings, a rule for each."""
    proposed = propose(Table(rows), DICTIONARY)
    assert proposed.headings == headings_digest(rows[headings])
    assert "".join(rule.column for rule in proposed.columns) == columns


@pytest.mark.parametrize(
    ("cells", "is_asked"),
    [(["3.4.2020"], True), (["", "3/4/2020"], True), (["2020-04-03"], False), ([date(2020, 4, 3)], False), ([], False)],
)
def test_an_order_is_asked_for_where_a_text_needs_one(cells: list[Cell], is_asked: bool) -> None:
    """In a column of dates, of which some rows may end before."""
    table = Table([["MRN", "Test date"], ["P0"], *(["P1", cell] for cell in cells)])
    assert ("say whether dates" in propose(table, DICTIONARY).columns[1].note) == is_asked


@pytest.mark.parametrize(
    "text", ["plain", 'a "quote" \\ and ä', "tab\t, line\nand \x7f", "\ud800 alone", "a \U0001fac1"]
)
def test_a_mapping_is_read_as_it_was_written(tmp_path: Path, text: str) -> None:
    """Whatever a sheet's headings and spellings are; what no text can hold is replaced."""
    rule = ColumnRule(
        column="B", heading=text, field="sex", unit="mg/L", dates="mdy", codes={text: "F", "m": "M"}, note="a guess"
    )
    plain = ColumnRule(column="A", heading="MRN", field="mrn")
    mapping = SheetMapping(headings=headings_digest(["x"]), reviewed_by="Dr Who", dates="dmy", columns=(plain, rule))
    written = mapping_text(mapping, DICTIONARY)
    (tmp_path / "mapping.toml").write_text(written, encoding="utf-8")
    kept = text.replace("\ud800", "\ufffd")
    expected = rule.model_copy(update={"heading": kept, "codes": {kept: "F", "m": "M"}, "note": ""})
    assert load_mapping(tmp_path / "mapping.toml") == mapping.model_copy(update={"columns": (plain, expected)})
    assert "[[columns]]\n" in written
    assert "[[columns]]  # a guess\n" in written
    assert "unit" not in written.partition("[[columns]]")[2].partition("[[columns]]")[0]


def test_what_is_shown_of_a_mapping_is_no_sheets() -> None:
    """Neither headings nor spellings; a note is for its file alone."""
    rule = ColumnRule(column="A", heading="Geschlecht", field="sex", codes={"weiblich": "F"}, note="why")
    assert not any(text in repr(rule) for text in ("Geschlecht", "weiblich"))
    assert "note" not in rule.model_dump()


def test_a_mapping_may_leave_headings_out() -> None:
    """An empty cell below is then no heading that comes again."""
    columns = (ColumnRule(column="A", field="mrn"), ColumnRule(column="B", field="accession"))
    mapping = SheetMapping(headings=headings_digest(["Nr", "Auftrag"]), reviewed_by="Dr Who", columns=columns)
    read = type_table(Table([["Nr", "Auftrag"], ["P1", ""], ["P2"]]), DICTIONARY, mapping)
    assert ([row.keys for row in read.rows], read.problems) == ([{"mrn": "P1"}, {"mrn": "P2"}], ())


@pytest.mark.parametrize(("cell", "is_heading"), [("Nr", True), ("Patient ID", True), ("Nrs", False), ("Age", False)])
def test_headings_that_come_again_are_no_patient(cell: str, is_heading: bool) -> None:
    """As the sheet writes them, or by a name of the dictionary."""
    rule = ColumnRule(column="A", heading="Nr", field="mrn")
    mapping = SheetMapping(headings=headings_digest(["Nr"]), reviewed_by="Dr Who", columns=(rule,))
    read = type_table(Table([["Nr"], ["P1"], [cell]]), DICTIONARY, mapping)
    assert [(problem.row, problem.code) for problem in read.problems] == ([(3, "heading-row")] if is_heading else [])
    assert len(read.rows) == (1 if is_heading else 2)


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
    for _ in range(2):
        store.remember(mapping, DICTIONARY)
    assert store.mapping_for(read_table(sheet)) == mapping.model_copy()
    other = tmp_path / "other.csv"
    other.write_text(THEIRS.replace("Alter", "Jahre"), encoding="utf-8")
    assert store.mapping_for(read_table(other)) is None
    sheet.write_bytes(THEIRS.replace("never", "nié; «x»").encode("cp1252"))
    table = read_table(sheet, encoding="cp1252", separator="semicolon")
    store.keep(sheet, table)
    (file,) = store.files([""])
    assert re.fullmatch(r"[0-9a-f]{32}\.comma\.csv", file.name)  # as earlier releases named it
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
