"""A quantile is the bin that holds it, and only where no hidden count leaves another bin possible."""

from itertools import accumulate, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.cohort.quantiles import numbers_of, quantiles_of
from coordinator.cohort.released import ReleasedTable
from shared.federation.asked import definition_asked
from shared.federation.histogram import Histogram
from shared.federation.task import StatisticsTask
from shared.protocol.loader import load_protocol
from tests.factories.cohorts import table_showing

PROTOCOL = load_protocol()
TASK = StatisticsTask(cohort="ricord", histograms=(Histogram(variable="crp", edges=(10, 20, 40)),))
DEFINITION = definition_asked(TASK, PROTOCOL.digest)
[CRP] = DEFINITION.variables
SHARES = (0.05, 0.25, 0.5, 0.95)


def table_of(counts: list[int | None], total: int | None, missing: int | None = 0) -> ReleasedTable:
    shown = dict(zip(CRP.cells, (*counts, missing), strict=True)) | {"studies": total}
    return table_showing(DEFINITION, {cell: shown.get(cell) for cell in DEFINITION.cells}, policy="min-3")


def holder(counts: list[int], rank: float) -> str:
    """The bin of the value at a rank, by counting."""
    ends = list(accumulate(counts))
    return CRP.labels[next(place for place, end in enumerate(ends) if end >= rank)]


@given(st.lists(st.integers(0, 6), min_size=4, max_size=4), st.sets(st.integers(0, 3)), st.booleans())
def test_it_holds_for_every_table_that_is_possible(counts: list[int], hidden: set[int], total_is_shown: bool) -> None:
    """A bin is named only where each count that a reader cannot rule out leads to it; with none hidden, always."""
    check_every_possible_table(counts, hidden, total_is_shown)


@pytest.mark.parametrize("hidden", [set(), {0}, {1}, {3}, {0, 1}, {1, 2}, {2, 3}])
def test_it_holds_at_every_edge(hidden: set[int]) -> None:
    """Of all small tables, in which many ranks fall upon the end of a bin."""
    for counts in product((0, 1, 3), repeat=4):
        check_every_possible_table([*counts], hidden, total_is_shown=True)


def check_every_possible_table(counts: list[int], hidden: set[int], total_is_shown: bool) -> None:
    shown = [None if place in hidden else count for place, count in enumerate(counts)]
    named_bins = {
        each.statistic: each.bin
        for each in quantiles_of(table_of(shown, sum(counts) if total_is_shown else None), SHARES)
    }
    rest = sum(counts[place] for place in hidden)
    for guess in product(range(rest + 1), repeat=len(hidden)):
        if sum(guess) != rest:
            continue
        possible = list(counts)
        for place, count in zip(sorted(hidden), guess, strict=True):
            possible[place] = count
        for share in SHARES:
            if (named := named_bins[f"{100 * share:g} %"]) is not None:
                assert named == holder(possible, share * sum(possible))
        for statistic, order in (("3rd smallest", 1), ("3rd largest", -1)):
            if (named := named_bins[statistic]) is not None:
                labels, ends = CRP.labels[:4][::order], list(accumulate(possible[::order]))
                assert named == labels[next(place for place, end in enumerate(ends) if end >= 3)]
    if not hidden and sum(counts) >= 3:
        assert None not in named_bins.values()


def test_extremes_are_of_a_rank_that_no_policy_hides() -> None:
    """Not the smallest value but the k-th, k the least count that is shown; of fewer values none."""
    named_bins = {each.statistic: each.bin for each in quantiles_of(table_of([2, 5, 7, 2], 16))}
    assert (named_bins["3rd smallest"], named_bins["3rd largest"]) == ("10 to under 20", "20 to under 40")
    few = {each.statistic: each.bin for each in quantiles_of(table_of([2, 0, 0, 0], 2))}
    assert (few["3rd smallest"], few["50 %"]) == (None, "under 10")


def test_without_a_total_hidden_counts_leave_all_open() -> None:
    """How many are hidden is not known then."""
    assert {each.bin for each in quantiles_of(table_of([50, None, 50, None], None))} == {None}


@pytest.mark.parametrize(
    ("rank", "ordinal"),
    [(2, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th"), (11, "11th"), (12, "12th"), (13, "13th"), (20, "20th"),
     (21, "21st"), (22, "22nd"), (101, "101st"), (111, "111th"), (112, "112th"), (211, "211th"), (1013, "1013th")],
)  # fmt: skip
def test_a_rank_is_said_as_people_say_it(rank: int, ordinal: str) -> None:
    """It is the least count that the policy shows."""
    table = table_showing(DEFINITION, dict.fromkeys(DEFINITION.cells, 0), policy=f"min-{rank}")
    assert [each.statistic for each in quantiles_of(table)][-2:] == [f"{ordinal} smallest", f"{ordinal} largest"]


def test_missing_values_are_in_no_bin() -> None:
    """Where they are shown they leave no room for hidden counts; a share is of what is recorded."""
    named_bins = {each.statistic: each.bin for each in quantiles_of(table_of([4, None, 4, 0], 20, missing=12))}
    assert named_bins["25 %"] == "under 10"
    assert named_bins["50 %"] is not None
    open_bins = {each.statistic: each.bin for each in quantiles_of(table_of([4, None, 4, 0], 20, missing=None))}
    assert open_bins["50 %"] is None


def test_only_what_is_all_numbers_has_quantiles() -> None:
    """A variable that sorts some values by texts has no order, nor has one of texts alone."""
    whole = table_showing(PROTOCOL.cohort, dict.fromkeys(PROTOCOL.cohort.cells, 0), policy="min-3")
    mixed = [
        each.name for each in PROTOCOL.cohort.variables if len({band.lowest is None for band in each.categories}) == 2
    ]
    names = {each.name for each in numbers_of(whole)}
    assert mixed
    assert "age" in names
    assert not names & {"sex", *mixed}


def test_rounded_counts_are_as_many_as_are_shown() -> None:
    """With none hidden a bin is named, though the total was rounded apart and is another."""
    table = table_of([10, 10, 10, 10], 45).model_copy(update={"policy": "nhs-7-round-5"})
    named_bins = {each.statistic: each.bin for each in quantiles_of(table)}
    assert list(named_bins) == ["5 %", "25 %", "50 %", "75 %", "95 %", "8th smallest", "8th largest"]
    assert [named_bins[share] for share in ("25 %", "50 %", "75 %")] == [*CRP.labels[:3]]
