"""What a plan's histograms and tables count follows from the plan and the protocol alone, or is refused by a reason."""

import pytest
from pydantic import ValidationError

from shared.errors.federation import PlanInvalid
from shared.federation.asked import MOST_CELLS, definition_asked, inputs_asked
from shared.federation.histogram import Histogram
from shared.federation.task import StatisticsTask
from shared.manifest import canonical_json
from shared.protocol.cohort import Mean, Table
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol()
AGE = Histogram(variable="age", edges=(30, 50))


def task(
    *histograms: Histogram,
    tables: tuple[tuple[str, str], ...] = (),
    means: tuple[tuple[str, float, float], ...] = (),
    cohort: str = "ricord",
) -> StatisticsTask:
    pairs = tuple(Table(rows=rows, columns=columns) for rows, columns in tables)
    bounded = tuple(Mean(variable=name, low=low, high=high) for name, low, high in means)
    return StatisticsTask(cohort=cohort, histograms=histograms, tables=pairs, means=bounded)


def test_without_parts_it_is_the_whole_cohort() -> None:
    """And a plan from before keeps its bytes."""
    whole = task()
    assert definition_asked(whole, PROTOCOL.digest) == PROTOCOL.cohort
    assert (whole.kinds, inputs_asked(whole, PROTOCOL.cohort)) == (("cohort",), "")
    assert b"histograms" not in canonical_json(whole)


def test_bins_cover_every_number() -> None:
    """The first is open below, the last above, and each edge belongs to the bin that it begins."""
    asked = definition_asked(task(AGE), PROTOCOL.digest)
    [variable] = asked.variables
    assert variable.labels == ("under 30", "30 to under 50", "50 and over", "not recorded")
    labels = [variable.label_of(value) for value in (0, 29.9, 30, 49, 50, 90, None)]
    assert labels == ["under 30", "under 30", "30 to under 50", "30 to under 50", *["50 and over"] * 2, "not recorded"]


def test_other_bins_are_another_variable() -> None:
    """Of the same name only where the bins are the same, so two releases never mean different bins by one cell."""
    names = {
        definition_asked(task(Histogram(variable="age", edges=edges)), PROTOCOL.digest).variables[0].name
        for edges in ((30, 50), (30, 60), (30.0, 50.0))
    }
    assert len(names) == 2


def test_a_table_takes_the_bins_of_its_histogram() -> None:
    """Else the variable's own categories; what the cohort counts of a variable's completeness is counted, too."""
    asked = definition_asked(task(AGE, tables=(("age", "sex"), ("icu", "outcome"))), PROTOCOL.digest)
    assert [table.rows for table in asked.tables] == ["sex", "icu"]
    assert asked.tables[0].columns == asked.variables[0].name != "age"
    assert set(asked.filled) == {"icu", "outcome"}


def test_a_table_lies_as_the_protocols_does() -> None:
    """Whichever way it is asked for, so that the same table never has cells of two names."""
    either, both = (
        definition_asked(task(AGE, tables=tables), PROTOCOL.digest)
        for tables in ((("sex", "age"),), (("age", "sex"), ("sex", "age")))
    )
    assert either == both


def test_what_the_protocol_says_is_empty_is_known_to_be() -> None:
    """A bin of minors in a cohort of adults, and what no code of the dictionary names; a bin of some adults is not."""
    asked = definition_asked(
        task(Histogram(variable="age", edges=(10, 20)), Histogram(variable="icu")), PROTOCOL.digest
    )
    age = asked.variables[0].name
    assert {f"{age}/under 10", f"{age}/not recorded", "icu/other"} == set(asked.zero)
    assert ("filled*icu/not recorded", "icu/not recorded") in asked.same


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (task(cohort="other"), "this protocol's cohort is `ricord`"),
        (task(Histogram(variable="weight")), "there is no variable `weight`"),
        (task(tables=(("sex", "weight"),)), "there is no variable `weight`"),
        (task(Histogram(variable="crp")), "name the `edges`"),
        (task(tables=(("crp", "icu"),)), "name the `edges`"),
        (task(Histogram(variable="sex", edges=(1,))), "is no number"),
        (task(Histogram(variable="age", edges=(0, 50))), "above 0 and up to 90"),
        (task(Histogram(variable="age", edges=(50, 91))), "above 0 and up to 90"),
        (task(means=(("age", 0, 90),)), "needs a histogram of it"),
        (task(Histogram(variable="sex"), means=(("sex", 0, 1),)), "so it has no mean"),
        (task(AGE, means=(("age", 0, 91),)), "lies between 0 and 90"),
        (task(AGE, means=(("age", -1, 90),)), "lies between 0 and 90"),
        (task(AGE, means=(("age", 0, 90), ("age", 0, 80))), "stands twice"),
        (task(tables=(("age", "icu"),)), "counts different things"),
        (task(tables=(("icu", "icu"),)), "does not name two variables"),
        (task(tables=(("icu", "outcome"), ("outcome", "symptoms"), ("icu", "symptoms"))), "ring"),
        (
            task(Histogram(variable="crp", edges=tuple(range(1, 51))), tables=(("crp", "finding"), ("crp", "outcome"))),
            f"over {MOST_CELLS}",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(wrong: StatisticsTask, reason: str) -> None:
    """One sentence, before any site is asked."""
    with pytest.raises(PlanInvalid) as caught:
        definition_asked(wrong, PROTOCOL.digest)
    assert reason in caught.value.public


@pytest.mark.parametrize("edges", [(50, 30), (30, 30), (float("nan"),), (float("inf"),), tuple(range(1, 52))])
def test_edges_ascend_and_are_few(edges: tuple[float, ...]) -> None:
    """Whatever else is no plan at all."""
    with pytest.raises(ValidationError):
        Histogram(variable="age", edges=edges)


@pytest.mark.parametrize("bounds", [(5, 5), (6, 5), (float("nan"), 5), (0, float("inf"))])
def test_bounds_of_a_mean_ascend(bounds: tuple[float, float]) -> None:
    """And are numbers."""
    with pytest.raises(ValidationError):
        Mean(variable="age", low=bounds[0], high=bounds[1])


def test_a_mean_is_of_the_variable_that_its_histogram_counts() -> None:
    """It takes two words after the cells, and a definition without one keeps its bytes."""
    asked, without = (definition_asked(task(AGE, means=means), PROTOCOL.digest) for means in ((("age", 20, 90),), ()))
    assert asked.means[0].variable == asked.variables[0].name
    assert (asked.cells, asked.length) == (without.cells, without.length + 2)
    assert b"means" not in canonical_json(without)
    assert task(AGE, means=(("age", 20, 90),)).kinds == ("histograms", "means")


@pytest.mark.parametrize("kind", ["histograms", "tables", "means"])
def test_a_plan_has_a_bounded_number_of_parts(kind: str) -> None:
    """Twenty histograms, ten tables and ten means."""
    mean, table = Mean(variable="a", low=0, high=1), Table(rows="a", columns="b")
    many = {"histograms": (AGE,) * 21, "tables": (table,) * 11, "means": (mean,) * 11}[kind]
    with pytest.raises(ValidationError):
        StatisticsTask(cohort="ricord", **{kind: many})
    assert StatisticsTask(cohort="ricord", **{kind: many[:-1]}).kinds == (kind,)


def test_a_stay_is_recorded_only_with_both_dates() -> None:
    """Beside a table that counts how often the dates are filled in, a reader knows it, and so does suppression."""
    stay = definition_asked(task(Histogram(variable="stay", edges=(7,))), PROTOCOL.digest).variables[0]
    both = PROTOCOL.cohort.having((*PROTOCOL.cohort.variables, stay), PROTOCOL.cohort.tables, PROTOCOL.cohort.filled)
    dates = {
        (f"filled*{field}/not recorded", f"{stay.name}/not recorded") for field in ("admission_date", "discharge_date")
    }
    assert dates <= set(both.implies)
    assert set(PROTOCOL.cohort.implies) <= set(both.implies)


@pytest.mark.parametrize("edges", [(float("nan"),), (float("inf"),), (0.0, float("nan")), (float("-inf"), 0.0)])
def test_an_edge_is_a_finite_number(edges: tuple[float, ...]) -> None:
    """No number is on either side of what is none."""
    with pytest.raises(ValidationError):
        Histogram(variable="age", edges=edges)
