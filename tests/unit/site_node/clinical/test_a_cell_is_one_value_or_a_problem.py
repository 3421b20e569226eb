"""A cell is one value of its column, to the last one that passes, or a problem; it is never a guess."""

from datetime import date, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openpyxl.utils import get_column_letter

from shared.protocol.clinical import Field
from shared.protocol.loader import load_protocol
from site_node.clinical.cell_problem import cell_problem, index_of, letter_of
from site_node.clinical.cells import Column, DateOrder, Value, text_of
from site_node.clinical.units import convert, convertible
from site_node.sheets.table import Cell, CellInvalid

FIELDS = {field.name: field for field in load_protocol().clinical.fields}
BOUNDED = sorted(name for name, field in FIELDS.items() if field.minimum is not None and field.maximum is not None)
DAYS = st.dates(date(1880, 1, 1), date(2100, 1, 1))


def read(column: Column | Field, cell: Cell) -> Value | str:
    """A cell's value, or the code of its problem."""
    try:
        return (column if isinstance(column, Column) else Column(column)).value(cell)
    except CellInvalid as error:
        return f"problem: {error}"


@pytest.mark.parametrize("name", BOUNDED)
def test_a_number_passes_from_its_least_to_its_most(name: str) -> None:
    """And none beyond, whether a sheet holds it as number or as text."""
    field = FIELDS[name]
    assert field.minimum is not None
    assert field.maximum is not None
    for bound, beyond in ((field.minimum, field.minimum - 1), (field.maximum, field.maximum + 1)):
        for cell in (float(bound), int(bound), f" {int(bound)} "):
            assert read(field, cell) == bound
        for cell in (float(beyond), int(beyond), f" {int(beyond)} "):
            assert read(field, cell) == "problem: out-of-range"


def test_a_bound_that_is_not_named_is_none() -> None:
    """One side may be open."""
    age = FIELDS["age"]
    assert read(age.model_copy(update={"minimum": None}), -7) == -7
    assert read(age.model_copy(update={"maximum": None}), 999) == 999


@pytest.mark.parametrize(
    ("name", "cell", "expected"),
    [
        ("age", 59.0, 59),
        ("age", "59.0", 59),
        ("age", 59.5, "problem: no-whole-number"),
        ("age", True, "problem: no-number"),
        ("age", "9 years", 9),
        ("age", "9 yrs", 9),
        ("age", "9 months", "problem: other-unit"),
        ("age", "9 x", "problem: no-number"),
        ("crp", "1,23", 1.23),
        ("crp", "1.234", 1.234),
        ("crp", "123,4", 123.4),
        ("crp", "1,234", "problem: ambiguous-number"),
        ("crp", "1,234,567", "problem: ambiguous-number"),
        ("crp", "1234,567", "problem: out-of-range"),
        ("covid_status", 1, "positive"),
        ("covid_status", 1.0, "positive"),
        ("covid_status", True, "problem: unknown-code"),
        ("covid_status", "POS", "positive"),
        ("covid_status", " \0 ", None),
        ("covid_status", None, None),
        ("mrn", " ", None),
        ("mrn", 7.0, "7"),
    ],
)
def test_what_a_cell_means_is_written_in_it(name: str, cell: Cell, expected: Value | str) -> None:
    """A unit is the column's own, a comma is one of decimals, a truth value is no number and no code."""
    column = Column(FIELDS[name])
    for _ in range(2):  # what was read once is read so again
        value = read(column, cell)
        assert (value, type(value)) == (expected, type(expected))
    assert read(column, "") is None


def test_a_number_without_a_unit_has_none_beside_it() -> None:
    """Whether what stands there is one or not."""
    bare = FIELDS["crp"].model_copy(update={"unit": None})
    assert [read(bare, cell) for cell in ("5", "5 x", "5 mg/L")] == [5, "problem: no-number", "problem: other-unit"]


def test_what_is_shown_of_a_column_is_no_sheets() -> None:
    """Neither its heading nor a spelling nor a cell that was read."""
    column = Column(FIELDS["sex"], "Geschlecht", codes={"weiblich": "F"})
    assert read(column, "weiblich") == "F"
    assert not any(text in repr(column) for text in ("Geschlecht", "weiblich"))


@given(
    number=st.integers(-50, 150), stated=st.sampled_from([None, "Cel", "[degF]"]), converted=st.booleans(),
    written=st.sampled_from(["", "°C", "F", "mg/L"]),
)  # fmt: skip
@example(number=100, stated="[degF]", converted=True, written="")
@example(number=100, stated="[degF]", converted=True, written="F")
@example(number=37, stated=None, converted=False, written="°C")
def test_only_a_unit_that_a_person_named_is_converted(
    number: int, stated: str | None, converted: bool, written: str
) -> None:
    """And one in a cell must be its column's."""
    column = Column(FIELDS["temperature"], unit=stated, converted=converted)
    own = stated or "Cel"
    named = {"": own, "°C": "Cel", "F": "[degF]", "mg/L": "mg/L"}[written]
    if named != own or (own != "Cel" and not converted):
        expected: Value | str = "problem: other-unit"
    else:
        degrees = number if own == "Cel" else round((number - 32) * 5 / 9, 4)
        expected = float(degrees) if 30 <= degrees <= 45 else "problem: out-of-range"
    assert read(column, f"{number} {written}") == expected


@given(day=DAYS, order=st.sampled_from(["iso", "dmy", "mdy"]))
@example(day=date(1900, 1, 1), order="iso")
@example(day=date(1899, 12, 31), order="dmy")
def test_a_day_is_read_as_it_is_written_or_not_at_all(day: date, order: DateOrder) -> None:
    """From 1900 on; text that is not ISO in the order that a person named, and in no other."""
    column = Column(FIELDS["test_date"], dates=order)
    expected: Value | str = day if day >= date(1900, 1, 1) else "problem: no-date"
    for cell in (day, datetime(day.year, day.month, day.day, 12), f"{day:%Y-%m-%d}", f"{day:%Y%m%d}", f"{day} 07:30"):
        assert read(column, cell) == expected
    written = {"dmy": f"{day.day}.{day.month}.{day:%Y}", "mdy": f"{day.month}/{day.day}/{day:%Y}"}
    for text_order, text in written.items():
        if order == "iso":
            assert read(column, text) == "problem: date-order"
        elif order == text_order:
            assert read(column, text) == expected
        elif day.day > 12:
            assert read(column, text) == "problem: no-date"
    assert read(column, "in March") == "problem: no-date"


@pytest.mark.parametrize("text", ["2020-02-30", "2020-13-01", "20200230"])
def test_a_day_that_the_calendar_lacks_is_none(text: str) -> None:
    """It is a problem, not the next one."""
    assert read(FIELDS["test_date"], text) == "problem: no-date"


@given(st.integers(0, 18_277))
@example(25)
@example(26)
@example(701)
@example(702)
def test_letters_of_columns_are_those_of_spreadsheets(index: int) -> None:
    """From A on, and back."""
    assert letter_of(index) == get_column_letter(index + 1)
    assert index_of(letter_of(index)) == index
    assert cell_problem(7, index, "Age", "no-number").letter == letter_of(index)


def test_units_convert_as_physics_has_it() -> None:
    """Each named pair, to four decimals; no other pair converts."""
    for number, unit, target, expected in (
        (212, "[degF]", "Cel", 100), (0.95, "1", "%", 95), (1.2, "mg/dL", "mg/L", 12), (3, "ug/mL", "mg/L", 3),
        (0.5, "g/L", "mg/L", 500), (7, "%", "%", 7),
    ):  # fmt: skip
        assert convertible(unit, target)
        assert convert(number, unit, target) == pytest.approx(expected)
    assert not convertible("nmol/L", "mg/L")
    assert not convertible("mg/L", None)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_a_whole_number_reads_without_its_point(number: float) -> None:
    """So that a sheet's 7.0 is patient 7."""
    assert text_of(number) == (str(int(number)) if float(number) == int(number) else str(number))
