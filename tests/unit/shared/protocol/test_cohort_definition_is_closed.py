"""Laws of the cohort definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.protocol import ProtocolInvalid
from shared.protocol.cohort import MISSING, OTHER, CohortDefinition, filled_cells
from shared.protocol.loader import load_protocol

HEAD = 'name = "x"\nedition = "1"\nsource = "a test"\n'
VARIABLE = """
[[variables]]
name = "age"
title = "Age"
unit = "patients"
source = "clinical"
field = "age"
categories = [{ label = "young", lowest = 0, below = 18 }, { label = "old", lowest = 18 }]
"""
PROTOCOL = load_protocol()
DEFINITION = PROTOCOL.cohort


def named(name: str) -> str:
    return VARIABLE.replace('name = "age"', f'name = "{name}"')


def table(pair: str) -> str:
    return f'[[tables]]\nrows = "{pair[0]}"\ncolumns = "{pair[1]}"\n'


@given(st.one_of(st.none(), st.text(max_size=8), st.integers(-5, 200), st.floats(-5, 200)))
def test_every_value_has_exactly_one_category(value: str | float | None) -> None:
    """Whatever is recorded, each variable of the shipped definition gives it one of its labels."""
    for variable in DEFINITION.variables:
        assert variable.label_of(value) in variable.labels


def test_the_layout_follows_from_the_definition() -> None:
    """Cells follow as totals, variables, tables, completeness, each name once; the digest changes with any part."""
    definition = CohortDefinition.from_toml(HEAD + 'filled = ["crp"]\n' + VARIABLE)
    assert definition.cells == (
        "patients", "studies", "series", "images", "age/young", "age/old", "age/not recorded", *filled_cells("crp"),
    )  # fmt: skip
    assert definition.digest != CohortDefinition.from_toml(HEAD + 'filled = ["crp", "icu"]\n' + VARIABLE).digest
    assert len(set(DEFINITION.cells)) == len(DEFINITION.cells)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "colour = 1", "there is no key `colour`"),
        (HEAD + VARIABLE.replace("below = 18", "below = 17"), "gap"),
        (HEAD + VARIABLE + VARIABLE, "stands twice"),
        (HEAD + VARIABLE + '[[tables]]\nrows = "age"\ncolumns = "sex"', "does not name two variables"),
        (HEAD + VARIABLE.replace('"young"', '"other"'), "given to every variable"),
        (HEAD + VARIABLE.replace("lowest = 18", 'values = ["a"], lowest = 18'), "either texts or a lowest number"),
        (HEAD + VARIABLE.replace('field = "age"', 'field = "age"\nonly = "sex/male"'), "there is no cell"),
        (HEAD + 'zero = ["age/0-17"]\n' + VARIABLE, "there is no cell age/0-17"),
        (HEAD + 'implies = [["age/old", "sex/male"]]\n' + VARIABLE, "there is no cell sex/male"),
        (HEAD + "".join(map(named, "abc")) + "".join(map(table, ("ab", "bc", "ca"))), "closes a ring of tables"),
        ("name = ", "no TOML"),
    ],
)
def test_what_cannot_be_counted_is_refused(text: str, problem: str) -> None:
    """A definition with an unknown key, a gap, a double or a missing part says so."""
    with pytest.raises(ProtocolInvalid) as caught:
        CohortDefinition.from_toml(text)
    assert problem in caught.value.public


def test_manufacturers_are_a_closed_list() -> None:
    """Spellings of one maker fall together; an unknown maker is `other`, an empty one `not recorded`."""
    variable = DEFINITION.variable("manufacturer")
    cases = {"SIEMENS Healthineers": "Siemens", "ge": "GE", "GE MEDICAL SYSTEMS": "GE", "TOSHIBA": "Canon"}
    assert {value: variable.label_of(value) for value in cases} == cases
    assert variable.label_of("Gerätebau Meier") == "other"
    assert variable.label_of(" ") == "not recorded"


def test_what_the_criteria_leave_no_room_for_is_stated() -> None:
    """Every cell in which the criteria let nothing fall without a person's say is stated to be empty."""
    criteria = PROTOCOL.criteria
    assert criteria.age is not None
    assert criteria.covid is not None
    assert criteria.linkage is not None
    bands = [band for band in DEFINITION.variable("age").categories if band.below is not None]
    expected = {f"age/{band.label}" for band in bands if (band.below or 0) <= criteria.age.minimum_years}
    expected |= {
        f"{field}/{MISSING}" for field in (*criteria.linkage.required, "covid_status", "covid_method", "modality")
    }
    methods = {method for allowed in criteria.covid.statuses.values() for method in allowed}
    for variable, values in (("covid_status", criteria.covid.statuses), ("covid_method", methods)):
        labels = {DEFINITION.variable(variable).label_of(value) for value in values}
        expected |= {f"{variable}/{label}" for label in DEFINITION.variable(variable).labels if label not in labels}
    for status, allowed in criteria.covid.statuses.items():
        labels = {DEFINITION.variable("covid_method").label_of(method) for method in methods.difference(allowed)}
        expected |= {f"covid_status*covid_method/{status}/{label}" for label in labels}
    expected |= {f"modality/{OTHER}"} if set(criteria.modality.allowed) <= {"CT", "CR", "DX"} else set()
    assert expected <= set(DEFINITION.zero)
