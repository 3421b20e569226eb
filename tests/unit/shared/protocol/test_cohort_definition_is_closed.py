"""Laws of the cohort definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors.protocol import ProtocolInvalid
from shared.protocol.cohort import MISSING, OTHER, STAY, Category, CohortDefinition, Mean, Table, Variable, filled_cells
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
        (HEAD + 'zero = ["age/y", "age/x"]\n' + VARIABLE, "there is no cell age/x"),
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


bands = st.builds(
    lambda low, width: Category(label="x", lowest=low, below=None if width is None else low + width),
    st.integers(0, 9),
    st.none() | st.integers(1, 9),
)
NUMBERS = [number / 2 for number in range(-2, 60)]


@given(band=bands, other=bands)
def test_a_band_holds_its_numbers(band: Category, other: Category) -> None:
    """From the lowest, and below the end; it lies within another that holds them all."""
    assert band.lowest is not None
    held, in_other = ({n for n in NUMBERS if each.matches(n)} for each in (band, other))
    assert held == {n for n in NUMBERS if band.lowest <= n and (band.below is None or n < band.below)}
    assert band.lies_within(other) == (held <= in_other)
    texts = Category(label="x", values=("x",))
    assert not band.lies_within(texts)
    assert not texts.lies_within(band)
    assert not texts.matches(1)
    assert not band.matches("1")


@pytest.mark.parametrize("value", ["yes", " YES ", "Maybe", "may", "y"])
def test_a_text_matches_whole_or_by_its_beginning(value: str) -> None:
    """Whatever its case and the white space around it."""
    category = Category(label="x", values=("Yes",), starts=("mAy",))
    assert category.matches(value) == (value != "y")


@pytest.mark.parametrize(
    "kind", ['label = "x"', 'label = "x", values = ["a"], lowest = 1', 'label = "x", starts = ["a"], lowest = 1']
)
def test_a_category_is_of_one_kind(kind: str) -> None:
    text = VARIABLE.replace('label = "young", lowest = 0, below = 18', kind)
    with pytest.raises(ProtocolInvalid):
        CohortDefinition.from_toml(HEAD + text)


def test_other_is_of_texts_only() -> None:
    """A number that no band holds is not recorded; a text that no category has is another."""
    numbers = CohortDefinition.from_toml(HEAD + VARIABLE).variable("age")
    assert (numbers.labels, numbers.label_of(-1)) == (("young", "old", MISSING), MISSING)
    words = VARIABLE.replace('label = "young", lowest = 0, below = 18', 'label = "young", values = ["a"]')
    words = words.replace(', { label = "old", lowest = 18 }', "")
    texts = CohortDefinition.from_toml(HEAD + words).variable("age")
    assert (texts.labels, texts.label_of("b"), texts.label_of(None)) == (("young", OTHER, MISSING), OTHER, MISSING)


def of_unit(name: str, unit: str, only: str = "") -> str:
    text = named(name).replace('unit = "patients"', f'unit = "{unit}"').replace('field = "age"', f'field = "{name}"')
    return text + (f'only = "{only}"\n' if only else "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (named("patients"), "a total's"),
        (named("images"), "a total's"),
        (named("a") + table("aa"), "does not name two variables"),
        (of_unit("a", "patients") + of_unit("b", "studies") + table("ab"), "different things"),
        (of_unit("a", "patients") + of_unit("b", "patients", "a/old") + table("ab"), "different things"),
        (VARIABLE.replace('"old"', '"young"'), "stands twice"),
        (VARIABLE.replace("below = 18", "below = 19"), "overlap"),
        (VARIABLE.replace(", below = 18", ""), "gap"),
        (of_unit("a", "patients") + of_unit("b", "patients") + table("ab") * 2, "cell stands twice"),
        (of_unit("a", "patients") + of_unit("b", "patients") + table("ab") + table("ba"), "closes a ring"),
        ('same = [["age/old", "age/older"]]\n' + VARIABLE, "no cell age/older"),
    ],
)
def test_what_would_be_counted_wrongly_is_refused(text: str, problem: str) -> None:
    """A name that a total has, a table of one variable or of two units, a doubled label, band or table."""
    with pytest.raises(ProtocolInvalid) as refused:
        CohortDefinition.from_toml(HEAD + text)
    assert problem in refused.value.public


def test_tables_in_a_chain_or_star_are_no_ring() -> None:
    """Nor are two ways to sort one fact by another, where they have their rows or their columns in common."""
    units = "".join(of_unit(name, "patients") for name in "abcd")
    for pairs in (("ab", "bc", "cd"), ("ab", "ac", "ad"), ("ab", "cd")):
        definition = CohortDefinition.from_toml(HEAD + units + "".join(map(table, pairs)))
        assert len(definition.crossed) == len(pairs)
    again = of_unit("c", "patients").replace('field = "c"', 'field = "b"')
    two = of_unit("a", "patients") + of_unit("b", "patients") + again
    definition = CohortDefinition.from_toml(HEAD + two + table("ab") + table("ac"))
    assert [len(tables) for tables in definition.crossed.values()] == [2]
    fourth = of_unit("d", "patients").replace('field = "d"', 'field = "a"')
    with pytest.raises(ProtocolInvalid, match="closes a ring"):
        CohortDefinition.from_toml(HEAD + two + fourth + table("ab") + table("dc"))


@given(chosen=st.sets(st.sampled_from([each.name for each in DEFINITION.variables])), whole=st.booleans())
def test_a_part_of_a_definition_states_what_the_whole_does(chosen: set[str], whole: bool) -> None:
    """Of the cells that it has, and nothing else; a variable that counts within another brings that one along."""
    variables = [each for each in DEFINITION.variables if each.name in chosen]
    part = DEFINITION.having(variables, (), DEFINITION.filled if whole else None)
    needed = {each.only.partition("/")[0] for each in variables if each.only}
    assert {each.name for each in part.variables} == chosen | needed
    cells = set(part.cells)
    assert set(part.zero) == {cell for cell in DEFINITION.zero if cell in cells}
    assert set(DEFINITION.same) & {(a, b) for a in cells for b in cells} <= set(part.same)
    assert set(part.implies) == {pair for pair in DEFINITION.implies if {*pair} <= cells}
    fields = {each.field for each in part.variables if each.source == "clinical"}
    assert part.filled == tuple(field for field in DEFINITION.filled if whole or field in fields)
    for lacks, missing in set(part.same) - set(DEFINITION.same):
        field, name = lacks.removeprefix("filled*").partition("/")[0], missing.partition("/")[0]
        assert (lacks, missing) == (filled_cells(field)[1], f"{name}/{MISSING}")
        assert part.variable(name).field == field
        assert (part.variable(name).source, part.variable(name).total) == ("clinical", "studies")


def test_other_bands_of_a_fact_are_empty_where_the_whole_is() -> None:
    """A band that lies in an empty one is empty, and so is `not recorded` where that is."""
    age = DEFINITION.variable("age")
    split = age.model_copy(
        update={
            "name": "decade",
            "categories": tuple(Category(label=f"{low}", lowest=low, below=low + 9) for low in range(0, 90, 9)),
        }
    )
    assert set(DEFINITION.having([split], ()).zero) == {"decade/0", "decade/9", "decade/not recorded"}
    other = split.model_copy(update={"field": "another"})
    assert DEFINITION.having([other], ()).zero == ()


def test_what_counts_within_another_is_of_another_fact() -> None:
    """The same field of all patients, and of those in one cell, are two."""
    within = of_unit("b", "patients", "a/old").replace('field = "b"', 'field = "a"')
    two = CohortDefinition.from_toml(HEAD + of_unit("a", "patients") + within)
    assert len(two.facts) == len(sorted(two.facts)) == 2
    assert [each.total for each in two.variables] == ["patients", "a/old"]
    again = of_unit("b", "patients").replace('field = "b"', 'field = "a"')
    assert len(CohortDefinition.from_toml(HEAD + of_unit("a", "patients") + again).facts) == 1


def test_a_label_stands_once_in_a_variable() -> None:
    """Also of one that is in no definition yet."""
    age = DEFINITION.variable("age").model_dump()
    twice = [{"label": "x", "values": ["a"]}, {"label": "x", "values": ["b"]}]
    with pytest.raises(ValueError, match="a label stands twice"):
        Variable.model_validate({**age, "categories": twice})


def test_a_band_is_empty_that_lies_in_any_empty_one() -> None:
    """Where several are."""
    definition = CohortDefinition.from_toml(HEAD + 'zero = ["age/young", "age/old"]\n' + VARIABLE)
    age = definition.variable("age")
    bands = (Category(label="a", lowest=1, below=2), Category(label="b", lowest=2, below=30))
    other = age.model_copy(update={"name": "other", "categories": bands})
    assert definition.having([other], ()).zero == ("other/a",)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_the_bounds_of_a_mean_ascend(low: float, high: float) -> None:
    """Between equal ones every number would be the same."""
    with pytest.raises(ValueError, match="do not ascend"):
        Mean(variable="age", low=low, high=high)


@pytest.mark.parametrize(
    ("unit", "source", "same"),
    [("studies", "clinical", True), ("patients", "clinical", False), ("studies", "series", False)],
)
def test_what_a_study_lacks_is_not_recorded_of_it(unit: str, source: str, *, same: bool) -> None:
    """A study's clinical field; a patient's is that of the first study that has one, a series' stands in no row."""
    definition = CohortDefinition.from_toml(HEAD + 'filled = ["age"]\n' + VARIABLE)
    age = definition.variable("age").model_copy(update={"unit": unit, "source": source})
    part = definition.having([age], (), ["age"])
    assert part.same == (((filled_cells("age")[1], f"age/{MISSING}"),) if same else ())


def test_a_stay_without_one_of_its_days_is_not_recorded() -> None:
    """Whichever of the two the row lacks; nothing is stated of a day that is not counted."""
    stay = DEFINITION.variable("age").model_copy(update={"name": "stay", "source": "derived", "field": "stay"})
    for fields in (STAY, STAY[:1], ()):
        definition = CohortDefinition.from_toml(HEAD + f"filled = {list(fields)}\n")
        assert definition.having([stay], (), STAY).implies == tuple(
            (filled_cells(field)[1], f"stay/{MISSING}") for field in fields
        )


def test_texts_beside_bands_have_no_other() -> None:
    """A text that none of them is counts as not recorded, like a number in no band: `other` is of texts alone."""
    both = VARIABLE.replace('label = "young", lowest = 0, below = 18', 'label = "unknown", values = ["?"]')
    mixed = CohortDefinition.from_toml(HEAD + both).variable("age")
    assert mixed.labels == ("unknown", "old", MISSING)
    assert [mixed.label_of(value) for value in ("?", 18, 17, "b")] == ["unknown", "old", MISSING, MISSING]


@pytest.mark.parametrize(
    "bounds", [(float("-inf"), 1.0), (0.0, float("inf")), (float("nan"), 1.0), (0.0, float("nan"))]
)
def test_the_bounds_of_a_mean_are_numbers(bounds: tuple[float, float]) -> None:
    """A sum of whole numbers has no room for any other."""
    with pytest.raises(ValueError, match="finite"):
        Mean(variable="age", low=bounds[0], high=bounds[1])


def test_names_of_a_plans_variables_are_short() -> None:
    """Of a table and a mean: they come from a stranger's request."""
    most = "a" * 100
    assert Mean(variable=most, low=0, high=1).variable == Table(rows=most, columns=most).rows
    for wrong in ({"rows": most + "a", "columns": "a"}, {"rows": "a", "columns": most + "a"}):
        with pytest.raises(ValueError, match="100"):
            Table.model_validate(wrong)
    with pytest.raises(ValueError, match="100"):
        Mean(variable=most + "a", low=0, high=1)
