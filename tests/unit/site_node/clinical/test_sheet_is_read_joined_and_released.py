"""The clinical sheet: what is read, what is a problem, what joins, what leaves."""

from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook

from shared.errors.inputs import ClinicalSheetInvalid, SourceMissing
from shared.ids import SiteId
from shared.protocol.clinical import ClinicalDictionary
from site_node.clinical.release import deidentify_row
from site_node.clinical.sheet import ClinicalSheet, read_sheet, study_keys, type_table
from site_node.clinical.template import write_template
from site_node.pseudonyms.keyed import Pseudonyms
from site_node.sheets.table import Cell, Row, Table
from site_node.study import ClinicalRow, Identity

DATA = Path(__file__).resolve().parents[4] / "shared" / "protocol" / "data" / "clinical"
DICTIONARY = ClinicalDictionary.from_toml((DATA / "ricord.toml").read_text(encoding="utf-8"))
PSEUDONYMS = Pseudonyms(b"k" * 32, SiteId("123456"))
PATIENT = Identity(issuer="", patient_id="MRN7731904")


def _csv(folder: Path, text: str) -> ClinicalSheet:
    path = folder / "sheet.csv"
    path.write_text(text, encoding="utf-8")
    return read_sheet(path, DICTIONARY)


def _codes(sheet: ClinicalSheet) -> list[tuple[int, str | None, str]]:
    return [(problem.row, problem.column, problem.code) for problem in sheet.problems]


def test_a_csv_row_is_typed_and_coded(tmp_path: Path) -> None:
    sheet = _csv(
        tmp_path,
        "MRN,Accession number,COVID-19 status,Method,Test date,Age,Sex,Temperature,Comment\n"
        " P7 ,A1,Pos,PCR,2020-04-03,59,female,37.5,call her sister\n",
    )
    assert not sheet.problems
    (row,) = sheet.rows
    assert row.keys == {"mrn": "P7", "accession": "A1"}
    assert row.values == {
        "covid_status": "positive", "covid_method": "rt-pcr", "test_date": date(2020, 4, 3), "age": 59, "sex": "F",
        "temperature": 37.5,
    }  # fmt: skip


def test_the_template_filled_in_reads_back_without_a_problem(tmp_path: Path) -> None:
    """What we write we read: every column of the template is known, dates and codes included."""
    path = tmp_path / "template.xlsx"
    write_template(path, DICTIONARY)
    book = load_workbook(path)
    sheet = book["Clinical"]
    titles = [cell.value for cell in sheet[1]]
    assert titles == [field.title for field in DICTIONARY.fields]
    cells = {"MRN": "007", "COVID-19 status": "negative", "Test date": datetime(2020, 4, 3), "Age": 92, "Sex": "M"}
    for title, value in cells.items():
        sheet.cell(row=2, column=titles.index(title) + 1, value=value)
    book.save(path)
    read = read_sheet(path, DICTIONARY)
    assert not read.problems
    assert read.rows[0].keys == {"mrn": "007"}
    assert read.rows[0].values["test_date"] == date(2020, 4, 3)
    assert read.rows[0].values["age"] == 92


def test_problems_name_row_and_column_and_never_the_cell(tmp_path: Path) -> None:
    """A wrong cell counts as empty, is listed by place, and its content is quoted nowhere."""
    sheet = _csv(
        tmp_path,
        "MRN,Test date,Age,Sex,Secret heading,Admission date\n"
        "P1,03/04/2020,fifty,Zebra,x,2020-02-30\n"
        ",2020-01-01,7,M,,\n"
        "P2,13/04/2020,59.5,M,,\n"
        "P3,04.03.2020,1777,M,,\n",
    )
    assert _codes(sheet) == [
        (1, "E", "unknown-column"),
        (2, "Test date", "date-order"),
        (2, "Age", "no-number"),
        (2, "Sex", "unknown-code"),
        (2, "Admission date", "no-date"),
        (3, None, "no-key"),
        (4, "Test date", "date-order"),
        (4, "Age", "no-whole-number"),
        (5, "Test date", "date-order"),
        (5, "Age", "out-of-range"),
    ]
    assert [row.row for row in sheet.rows] == [2, 4, 5]
    assert {row.values["test_date"] for row in sheet.rows} == {None}  # no cell settles the order for the others
    shown = sheet.model_dump_json(include={"problems"}) + repr(sheet)
    assert not any(value in shown for value in ("Zebra", "fifty", "1777", "P1", "Secret", "03/04"))


def test_titles_above_the_headings_and_empty_rows_do_not_disturb(tmp_path: Path) -> None:
    sheet = _csv(tmp_path, "Our study,,\n,,\nPatient ID;x,,\nMRN,Age,Sex\n\nP1,59,M\n")
    assert [(row.row, row.keys["mrn"]) for row in sheet.rows] == [(6, "P1")]


def test_semicolons_quoted_line_ends_and_old_encodings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes('Our study\nMRN;Sex;Temperature;Comment\nÄ7;male;37,5;"two\nlines"\n'.encode("cp1252"))
    with pytest.raises(ClinicalSheetInvalid, match="--encoding"):
        read_sheet(path, DICTIONARY)
    sheet = read_sheet(path, DICTIONARY, encoding="cp1252")
    assert not sheet.problems
    assert sheet.rows[0].keys == {"mrn": "Ä7"}
    assert sheet.rows[0].values == {"sex": "M", "temperature": 37.5}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "no column"),
        ("MRN,Patient ID\n1,2\n", "two columns"),
        ('MRN,"Age\nP1,"x"y\n', "quotes"),
    ],
)
def test_what_is_no_clinical_sheet_is_refused_with_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ClinicalSheetInvalid) as caught:
        _csv(tmp_path, text)
    assert problem in str(caught.value)


def test_a_missing_file_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing):
        read_sheet(tmp_path / "nothing.xlsx", DICTIONARY)
    (tmp_path / "sheet.xlsx").write_bytes(b"PK\x03\x04 but no workbook")
    with pytest.raises(ClinicalSheetInvalid):
        read_sheet(tmp_path / "sheet.xlsx", DICTIONARY)


def test_a_formula_without_a_stored_result_is_empty(tmp_path: Path) -> None:
    book = Workbook()
    book.active.append(["MRN", "Age"])
    book.active.append(["P1", "=1+1"])
    book.save(tmp_path / "sheet.xlsx")
    sheet = read_sheet(tmp_path / "sheet.xlsx", DICTIONARY)
    assert sheet.rows[0].values["age"] is None
    assert _codes(sheet) == [(2, "Age", "formula")]


def test_rows_join_by_their_best_key_and_no_key_may_differ(tmp_path: Path) -> None:
    """Study UID before accession before MRN; a row of another patient's accession joins nothing."""
    sheet = _csv(tmp_path, "MRN,Accession,Study UID,Age\nP1,A1,,1\nP1,A2,,2\nP2,,,3\n,,1.2.3,4\n")

    def age(**keys: str) -> object:
        rows = sheet.rows_for(study_keys(**keys))
        return rows[0].values["age"] if len(rows) == 1 else None

    assert age(patient_id="P1", accession="A2") == 2
    assert age(patient_id="P2", accession="A9") == 3
    assert age(patient_id="P9", accession="A1") is None
    assert age(patient_id="P1") is None
    assert age(patient_id="P9", accession="", study_uid="1.2.3") == 4
    assert age() is None


@pytest.mark.parametrize(
    ("row", "keys", "codes"),
    [
        ("P1", {"mrn": "P1"}, []),
        ("P1,A1", {"mrn": "P1", "accession": "A1"}, []),
        ("P1,,many", {"mrn": "P1"}, ["no-number"]),
        ("#REF!,A1", None, ["error-cell", "no-key"]),
        ("#REF!,A1,#N/A", None, ["error-cell", "error-cell", "no-key"]),
        (",,59", None, ["no-key"]),
        ("P1,A1,59,x", None, ["more-cells"]),
        ("P1,A1,59,", {"mrn": "P1", "accession": "A1"}, []),
    ],
)
def test_a_row_is_of_whom_all_its_keys_say(
    tmp_path: Path, row: str, keys: dict[str, str] | None, codes: list[str]
) -> None:
    """A key that cannot be read is not made up for by another; cells at the end may be left out."""
    sheet = _csv(tmp_path, f"MRN,Accession,Age\nP0,A0,1\n{row}\n")
    assert [(problem.row, problem.code) for problem in sheet.problems] == [(3, code) for code in codes]
    assert [read.keys for read in sheet.rows if read.row == 3] == ([] if keys is None else [keys])


@pytest.mark.parametrize(
    ("cells", "noted"),
    [
        ([date(2020, 4, 3), "25/12/2020"], True),
        (["25/12/2020", date(2020, 4, 3), "in March"], True),
        ([date(2020, 4, 3), "2020-04-03"], False),
        ([date(2020, 4, 3), "in March"], False),
        ([date(2020, 4, 3), date(2020, 4, 4)], False),
        (["25/12/2020", "26/12/2020"], False),
        ([date(2020, 4, 3), ""], False),
        (["25/12/2020", ""], False),
    ],
)
def test_dates_and_ordered_texts_in_one_column_are_noted(cells: list[Cell], noted: bool) -> None:
    """Of a column of dates; empty cells and rows that end before it are neither."""
    for heading in ("Test date", "Comment"):
        rows: list[Row] = [[f"P{number}", cell] for number, cell in enumerate(cells)]
        sheet = type_table(Table([["MRN", heading], *rows, ["P9"]], name="x"), DICTIONARY)
        mixed = [(problem.row, problem.letter) for problem in sheet.problems if problem.code == "mixed-dates"]
        assert mixed == ([(1, "B")] if noted and heading == "Test date" else [])


def test_rows_that_name_one_exam_twice_are_not_used(tmp_path: Path) -> None:
    sheet = _csv(tmp_path, "MRN,Accession,Age\nP1,A1,1\nP1,A1,2\nP2,A2,3\n")
    assert [row.row for row in sheet.rows] == [4]
    assert _codes(sheet) == [(2, None, "duplicate-row"), (3, None, "duplicate-row")]


@given(
    mrn=st.text("ABC123456789", min_size=6, max_size=12),
    day=st.dates(date(2019, 1, 1), date(2022, 1, 1)),
    age=st.integers(0, 120),
)
def test_what_leaves_is_coded_capped_and_shifted(mrn: str, day: date, age: int) -> None:
    """No identifier and no free text leaves; every date goes back by the patient's one shift; ages stop at 90."""
    identity = Identity(issuer="", patient_id=mrn)
    row = ClinicalRow(
        row=2,
        keys={"mrn": mrn, "accession": "ACC" + mrn},
        values={"test_date": day, "admission_date": day, "age": age, "sex": "F", "comment": mrn, "outcome": mrn},
    )
    out = deidentify_row(row, dictionary=DICTIONARY, pseudonyms=PSEUDONYMS, identity=identity)
    assert set(out) == {field.name for field in DICTIONARY.released_fields}
    shifted = out["test_date"]
    assert isinstance(shifted, str)
    assert (day - date.fromisoformat(shifted)).days == PSEUDONYMS.shift_days(identity)
    assert out["admission_date"] == shifted
    assert out["age"] == min(age, 90)
    assert out["outcome"] is None
    assert not any(mrn in str(value) for value in out.values())


def test_what_is_unknown_leaves_as_unknown() -> None:
    """As does a text that is no code; a number that has no cap leaves as it is."""
    values = {"crp": 1234.5, "age": None, "sex": None, "outcome": "of ours", "temperature": "text"}
    row = ClinicalRow(row=2, keys={"mrn": "P1"}, values=values)
    out = deidentify_row(row, dictionary=DICTIONARY, pseudonyms=PSEUDONYMS, identity=PATIENT)
    assert {name: value for name, value in out.items() if value is not None} == {"crp": 1234.5}


def test_no_key_and_no_text_of_the_dictionary_leaves() -> None:
    names = {field.name for field in DICTIONARY.released_fields}
    assert not names & {"mrn", "accession", "study_uid", "comment"}
    assert {"covid_status", "covid_method", "age", "sex", "finding", "pneumonia"} <= names


@given(st.lists(st.sampled_from(["", ",", ",,,", " , "]), max_size=3), st.lists(st.sampled_from(["", ","]), max_size=3))
def test_rows_that_are_empty_or_cut_short_cost_no_other(before: list[str], after: list[str]) -> None:
    """A line of nothing is no row; a row that ends before its last columns has nothing in them."""
    rows = ["59,P1", *before, ",P2,A2", *after, "44,P3,"]
    cells = tuple(tuple(line.split(",")) for line in ["Age,MRN,Accession number", *rows, "7"])
    sheet = type_table(Table(cells), DICTIONARY)
    assert [(row.keys, row.values["age"]) for row in sheet.rows] == [
        ({"mrn": "P1"}, 59),
        ({"mrn": "P2", "accession": "A2"}, None),
        ({"mrn": "P3"}, 44),
    ]
    assert _codes(sheet) == [(len(cells), None, "no-key")]


def test_a_sheet_with_an_empty_line_is_not_empty(tmp_path: Path) -> None:
    """Only one without any filled cell is."""
    assert [row.row for row in _csv(tmp_path, "MRN,Age\n\n,\nP1,59\n\n").rows] == [4]
    with pytest.raises(ClinicalSheetInvalid, match="empty"):
        _csv(tmp_path, "\n,\n\n")


@given(st.integers(1, 4))
def test_rows_of_one_exam_are_all_problems(count: int) -> None:
    """None of them can be trusted; and what is shown of a sheet names nobody."""
    sheet = type_table(Table([("MRN", "Age"), *[("P7", "59")] * count, ("P8", "7")]), DICTIONARY)
    assert [row.keys["mrn"] for row in sheet.rows] == (["P7"] if count == 1 else []) + ["P8"]
    assert [code for _, _, code in _codes(sheet)] == ["duplicate-row"] * (count if count > 1 else 0)
    assert sheet.doubled == (frozenset({("mrn", "P7")}) if count > 1 else frozenset())
    assert not [name for name in ("P7", "P8") if name in repr(sheet)]
