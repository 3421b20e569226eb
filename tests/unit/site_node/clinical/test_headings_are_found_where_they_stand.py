"""Headings stand in one of the first ten rows, on one row, each once and over one column; else the sheet is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors.inputs import ClinicalSheetInvalid
from shared.protocol.loader import load_protocol
from site_node.clinical.headings import check_other_sheets, find_headings, heading_rows, known_field, names_of
from site_node.clinical.mapping import ColumnRule, SheetMapping, check_mapping, headings_digest, possible_digests
from site_node.sheets.table import Row, Table

DICTIONARY = load_protocol().clinical
HEADINGS = ["MRN", "Age", "Sex", "Notes of the ward"]
DATA = ["P1", "59", "F", "x"]


def fields_of(*rows: Row, **more: object) -> dict[int, str]:
    """Which field each column is."""
    headings = find_headings(Table(rows, **more), DICTIONARY)  # type: ignore[arg-type]  # what a table has
    return {column: read.field.name for column, read in headings.columns.items()}


@given(above=st.integers(0, 12))
def test_titles_may_stand_above(above: int) -> None:
    """Nine rows at most."""
    rows = [*[["A title"], *[[""]] * 12][:above], HEADINGS, DATA]
    if above < 10:
        headings = find_headings(Table(rows), DICTIONARY)
        assert headings.at == above
        assert {column: read.field.name for column, read in headings.columns.items()} == {0: "mrn", 1: "age", 2: "sex"}
        assert [(problem.row, problem.letter) for problem in headings.problems] == [(above + 1, "D")]
    else:
        with pytest.raises(ClinicalSheetInvalid, match="no column is headed"):
            find_headings(Table(rows), DICTIONARY)


def test_each_heading_that_is_not_known_is_listed() -> None:
    """With its column; one without a text is none."""
    problems = find_headings(Table([["", "Ward", "MRN", "", "Bed"], DATA]), DICTIONARY).problems
    assert [(problem.row, problem.letter, problem.code) for problem in problems] == [
        (1, "B", "unknown-column"),
        (1, "E", "unknown-column"),
    ]


@pytest.mark.parametrize(
    ("rows", "refused"),
    [
        ([["Pneumonia"], HEADINGS, DATA], "two rows, 1 and 2"),
        ([["Sex"], HEADINGS, DATA], ""),  # it is a title: the headings have it, too
        ([HEADINGS, ["", "", "", "", "Pneumonia"], DATA], ""),  # a ward may be called so
        ([HEADINGS, ["", "", "", "", "Pneumonia", "Timing"], DATA], "two rows, 1 and 2"),
        ([HEADINGS, ["MRN", "Age"], DATA], ""),
        ([HEADINGS, DATA, ["", "", "", "", "Pneumonia", "Timing"]], ""),
        ([[""], ["Pneumonia"], [""], HEADINGS, DATA], ""),
        ([["Age", "Sex"]], "no column is headed"),
        ([["MRN", "Age", "Patient ID"]], "two columns are headed MRN"),
        ([["MRN", "Age", "Age"]], "two columns are headed Age"),
        ([["MRN"], ["P1"]], ""),
    ],
)
def test_headings_stand_on_one_row(rows: list[Row], refused: str) -> None:
    """Of which no other row names more, a column each, a key among them."""
    if refused:
        with pytest.raises(ClinicalSheetInvalid, match=refused):
            fields_of(*rows)
    else:
        assert fields_of(*rows)[0] == "mrn"


@pytest.mark.parametrize(
    ("merged", "column"),
    [
        (((0, 1), (0, 2)), "B"),
        (((0, 2), (0, 4)), "C"),
        (((0, 4), (0, 5)), ""),  # of no column that is read
        (((0, 0), (0, 0)), ""),
        (((1, 0), (1, 2)), ""),  # below
    ],
)
def test_a_heading_is_over_one_column(merged: tuple[tuple[int, int], tuple[int, int]], column: str) -> None:
    """One over several could be any of them."""
    rows = [[*HEADINGS, "Ward", ""], [*DATA, "", ""]]
    if column:
        with pytest.raises(ClinicalSheetInvalid, match=f"in column {column} is merged"):
            fields_of(*rows, merged=(merged,))
    else:
        assert fields_of(*rows, merged=(merged,)) == {0: "mrn", 1: "age", 2: "sex"}


@given(top=st.integers(0, 3), bottom=st.integers(0, 3), left=st.integers(0, 3), right=st.integers(0, 3))
@example(top=1, bottom=2, left=2, right=2)
@example(top=1, bottom=3, left=1, right=1)
def test_a_cell_merged_downwards_fills_its_rows(top: int, bottom: int, left: int, right: int) -> None:
    """And nothing else does, nor beside its column."""
    rows = [["a", "b", "c", "d"], ["e", "f"], ["g"], ["h", "i", "j", "k"]]
    padded = [[*row, *[""] * (4 - len(row))] for row in rows]
    for row in range(top + 1, bottom + 1):
        if left == right:
            padded[row][left] = padded[top][left] if left < len(rows[top]) else padded[row][left]
    filled = heading_rows(Table(rows, merged=(((top, left), (bottom, right)),)))
    assert [[*row, *[""] * (4 - len(row))] for row in filled] == padded


@pytest.mark.parametrize(
    ("below", "units"),
    [
        (["", "years", "", ""], {1: "years"}),
        (["", "years", "", "g/L"], {1: "years"}),  # of a column that is not read, too
        (["", "", "", ""], None),
        (["P1", "years", "", ""], None),  # a patient's
        (["1", "", "", ""], None),  # though that, too, is a unit
        (["", "years", "often", ""], None),
        (["", "59", "", ""], None),
    ],
)
def test_a_row_below_that_holds_units_alone_is_no_patients(below: list[str], units: dict[int, str] | None) -> None:
    """Every cell of it is a unit, and no key has one."""
    headings = find_headings(Table([HEADINGS, below, DATA]), DICTIONARY)
    assert headings.skipped == (frozenset() if units is None else {1})
    assert {column: read.unit for column, read in headings.columns.items() if read.unit} == (units or {})
    assert find_headings(Table([HEADINGS]), DICTIONARY).skipped == frozenset()


def test_a_merged_heading_is_refused_for_its_last_column_too() -> None:
    """Though the first of them names no field."""
    with pytest.raises(ClinicalSheetInvalid, match="in column B is merged"):
        fields_of(["MRN", "Ward", "Age"], ["P1", "x", "59"], merged=(((0, 1), (0, 2)),))


def test_one_key_makes_a_row_of_units_a_patients() -> None:
    """Of several."""
    for keys in (("1", ""), ("", "1"), ("1", "1")):
        assert not find_headings(Table([["MRN", "Accession", "Age"], [*keys, "years"]]), DICTIONARY).skipped


def test_a_unit_in_brackets_belongs_to_a_field_that_has_one() -> None:
    """What stands in brackets otherwise is a part of the name, and names no field."""
    names = names_of(DICTIONARY)
    for heading, expected in (
        ("CRP (mg/dL)", ("crp", "mg/dL")),
        ("CRP [mg/L]", ("crp", "mg/L")),
        ("CRP", ("crp", None)),
        ("CRP (ward)", None),
        ("Sex (ward)", None),
        ("Ward (mg/L)", None),
        ("", None),
    ):
        known = known_field(heading, names)
        assert (known and (known[0].name, known[1])) == expected, heading


@pytest.mark.parametrize(
    ("first", "other", "refused"),
    [
        (HEADINGS, [["MRN", "Sex"]], True),
        (HEADINGS, [["A title"], ["Patient ID", "Pneumonia"]], True),
        (HEADINGS, [["MRN", "Ward"]], False),  # one column is chance
        (HEADINGS, [["Age", "Sex"]], False),  # of no patient
        (["MRN", "Ward"], [["MRN"]], True),  # the first has no more, either
        (HEADINGS, [["Codes"], ["F", "M"]], False),
    ],
)
def test_one_sheet_of_a_workbook_holds_data(first: list[str], other: list[Row], refused: bool) -> None:
    """Where a second one has such headings, nobody knows which is meant."""
    table = Table([first, DATA], name="first", others=(Table(other, name="second"),))
    headings = find_headings(table, DICTIONARY)
    if refused:
        with pytest.raises(ClinicalSheetInvalid, match="more than one"):
            check_other_sheets(table, headings, DICTIONARY)
    else:
        check_other_sheets(table, headings, DICTIONARY)


@given(st.lists(st.sampled_from(["", "a", "b"]), max_size=4), st.integers(0, 3))
def test_a_mapping_knows_headings_by_their_texts(texts: list[str], empty: int) -> None:
    """Empty cells at the end are none, those between are."""
    digest = headings_digest(texts)
    assert headings_digest([*texts, *[""] * empty]) == digest
    assert headings_digest([*texts, "c"]) != digest
    assert possible_digests(Table([texts])) == ((digest,) if any(texts) else ())


def rule(column: str, field: str, **more: object) -> ColumnRule:
    return ColumnRule.model_validate({"column": column, "field": field, **more})


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ([rule("A", "mrn"), rule("B", "crp", unit="mg/dL")], ""),
        ([rule("A", "mrn"), rule("B", ""), rule("C", "")], ""),  # not read, so not doubled
        ([rule("A", "mrn"), rule("B", "crp", unit="mg/L")], ""),
        ([rule("A", "mrn"), rule("B", "crp", unit="years")], "its unit cannot"),
        ([rule("A", "mrn"), rule("B", "crp", unit="bananas")], "its unit cannot"),
        ([rule("A", "mrn"), rule("B", "sex", unit="years")], "its unit cannot"),
        ([rule("A", "mrn"), rule("B", "sex", unit="bananas")], "its unit cannot"),
        ([rule("A", "age"), rule("B", "sex")], "no column is mrn"),
        ([rule("A", "mrn"), rule("A", "sex")], "column A stands twice"),
        ([rule("A", "mrn"), rule("B", "sex"), rule("C", "sex")], "field sex stands twice"),
        ([rule("A", "mrn"), rule("B", "sex", codes={"w": "F"})], ""),
        ([rule("A", "mrn"), rule("B", "sex", codes={"w": "F", "d": "X"})], "a code is none"),
        ([rule("A", "mrn"), rule("B", "zebra")], "no such field"),
    ],
)
def test_a_mapping_names_what_the_dictionary_has(columns: list[ColumnRule], problem: str) -> None:
    """Each field and column once, a key among them, units that convert and codes that exist."""
    mapping = SheetMapping(headings=headings_digest(["x"]), reviewed_by="Dr Who", columns=tuple(columns))
    if problem:
        with pytest.raises(ClinicalSheetInvalid, match=problem):
            check_mapping(mapping, DICTIONARY)
    else:
        check_mapping(mapping, DICTIONARY)
