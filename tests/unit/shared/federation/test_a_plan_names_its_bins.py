"""What a plan's histograms and tables count follows from the plan and the protocol alone, or is refused by a reason."""

import pytest
from pydantic import ValidationError

from shared.errors.federation import PlanInvalid, TooFewSites
from shared.errors.inputs import InvalidArgument
from shared.federation import asked as asked_module
from shared.federation.asked import MOST_CELLS, askable, definition_asked, inputs_asked
from shared.federation.cohort import subject_of
from shared.federation.filter import Filter
from shared.federation.histogram import Histogram
from shared.federation.labels import check_label, class_of, learnable
from shared.federation.offer import Offered, offer_of
from shared.federation.plan import PlanRequest
from shared.federation.task import CountPrivacy, StatisticsTask, TrainingTask
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


def test_the_first_bin_of_what_is_measured_begins_where_it_can() -> None:
    """A stay at 0 days, a density at that of air in lungs, a thickness at 0 mm; each has an end, too."""
    for name, unit, low, high in (
        ("stay", "studies", 0, 365), ("lung_density", "patients", -950, -100), ("slice_thickness", "series", 0, 50),
    ):  # fmt: skip
        known = askable(PROTOCOL.digest)[name]
        assert (known.bounds, known.frame.unit) == ((low, high), unit)
        asked = definition_asked(task(Histogram(variable=name, edges=(high,))), PROTOCOL.digest)
        [variable] = (each for each in asked.variables if each.name.startswith(name))
        assert [(each.lowest, each.below) for each in variable.categories] == [(low, high), (high, None)]
        for edge in (low, high + 1):
            with pytest.raises(PlanInvalid, match="lie above"):
                definition_asked(task(Histogram(variable=name, edges=(edge,))), PROTOCOL.digest)


def test_a_number_without_an_end_has_no_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    """No edge lies between its bounds; with a minimum alone, none either."""
    for minimum in (None, 0, 5):
        fields = tuple(
            each.model_copy(update={"minimum": minimum, "maximum": None, "cap": None}) if each.name == "crp" else each
            for each in PROTOCOL.clinical.fields
        )
        clinical = PROTOCOL.clinical.model_copy(update={"fields": fields})
        open_ended = PROTOCOL.model_copy(update={"clinical": clinical})
        monkeypatch.setattr(asked_module, "protocol_with", lambda _, known=open_ended: known)
        low = float(minimum or 0)
        assert askable(PROTOCOL.digest)["crp"].bounds == (low, low)
        for edge in (low, low + 1):
            with pytest.raises(PlanInvalid, match="lie above"):
                definition_asked(task(Histogram(variable="crp", edges=(edge,))), PROTOCOL.digest)


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ([("weight", "high")], "has no variable `weight` to filter by"),
        ([("sex", "unheard")], "`sex` has no category `unheard`"),
        ([("sex", "female"), ("sex", "male")], "two filters are of one variable"),
        ([("slice_thickness", "under 1.5")], "is of series"),
    ],
)
def test_a_part_that_cannot_be_is_refused(filters: list[tuple[str, str]], problem: str) -> None:
    """By its name, before any site is asked."""
    part = tuple(Filter(variable=name, categories=(category,)) for name, category in filters)
    noisy = task().model_copy(update={"privacy": CountPrivacy(epsilon=1), "filter": part})
    with pytest.raises(PlanInvalid, match=problem):
        definition_asked(noisy, PROTOCOL.digest)
    good = (Filter(variable="sex", categories=("female", "male")),)
    asked = definition_asked(noisy.model_copy(update={"filter": good}), PROTOCOL.digest)
    inputs = inputs_asked(noisy.model_copy(update={"filter": good}), asked)
    assert inputs.endswith(f"of {canonical_json(good[0]).decode()}")
    assert good[0].words == "sex female or male"


def test_a_histogram_and_a_table_have_at_most_so_many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last cell: 400 of a plan, and any more is one too many."""
    asked = task(Histogram(variable="crp", edges=(5, 10)), tables=(("crp", "finding"),))
    cells = len(definition_asked(asked, PROTOCOL.digest).cells)
    assert MOST_CELLS == 400
    monkeypatch.setattr(asked_module, "MOST_CELLS", cells)
    assert len(definition_asked(asked, PROTOCOL.digest).cells) == cells
    monkeypatch.setattr(asked_module, "MOST_CELLS", cells - 1)
    with pytest.raises(PlanInvalid, match=f"have {cells} cells, over {cells - 1}"):
        definition_asked(asked, PROTOCOL.digest)


def test_a_label_can_be_learned_where_its_codes_are_of_both_classes() -> None:
    """Whatever else is refused with those that can be; a cohort's sums are named by it."""
    names = learnable(PROTOCOL.digest)
    assert names
    assert names == tuple(
        each.name
        for each in PROTOCOL.clinical.released_fields
        if {0, 1} <= {class_of(code.value) for code in each.codes}
    )
    for name in names:
        check_label(name, PROTOCOL.digest)
    with pytest.raises(PlanInvalid, match=f"the label `sex` is not a yes/no field of the dictionary \\({names[0]}"):
        check_label("sex", PROTOCOL.digest)
    assert subject_of(PROTOCOL.cohort) == "cohort:ricord"


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (PlanRequest(purpose="training", training=TrainingTask(label="sex")), "is not a yes/no field"),
        (PlanRequest(purpose="training", training=TrainingTask(
            filter=(Filter(variable="weight", categories=("high",)),))), "no variable `weight` to filter by"),
        (PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort="other")), "cohort is `ricord`"),
        (PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort="ricord", policy="none")), "none of cms"),
        (PlanRequest(purpose="training"), "stands with the purpose"),
    ],
)  # fmt: skip
def test_what_is_not_offered_is_refused_before_it_is_proposed(request_: PlanRequest, problem: str) -> None:
    """By a label, a filter, a cohort or a policy that there is not, and by what contradicts itself."""
    with pytest.raises((PlanInvalid, InvalidArgument), match=problem):
        offer_of(PROTOCOL.digest).check(request_)


def test_a_request_needs_as_many_sites_as_the_agreement_covers() -> None:
    """To the last one, for its purpose; what is offered are the dictionary's labels and our models."""
    offer = offer_of(PROTOCOL.digest)
    assert [label.name for label in offer.labels] == [*learnable(PROTOCOL.digest)]
    offered = Offered(offer=offer, sites={"statistics": 4, "training": 9, "evaluation": 0})
    asked = PlanRequest(purpose="statistics", statistics=StatisticsTask(cohort="ricord"), minimum_sites=4)
    offered.check(asked)
    with pytest.raises(TooFewSites):
        offered.check(asked.model_copy(update={"minimum_sites": 5}))
    with pytest.raises(PlanInvalid):
        offered.check(asked.model_copy(update={"statistics": None}))


def test_nothing_else_may_be_named() -> None:
    """What the cohort sorts, what the dictionary counts or codes, and what is measured: no date and no key."""
    fields = {each.name: each for each in PROTOCOL.clinical.fields}
    named = {
        *(each.name for each in PROTOCOL.cohort.variables),
        *(name for name, each in fields.items() if each.leaves and (each.codes or each.kind in ("integer", "number"))),
        "stay", "lung_density",
    }  # fmt: skip
    assert askable(PROTOCOL.digest).keys() == named
    assert fields["admission_date"].leaves
    assert "admission_date" not in named
