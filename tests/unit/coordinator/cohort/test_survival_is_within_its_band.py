"""A curve of survival is Kaplan-Meier's where all is shown, and whatever hidden counts are, it lies within its band."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf

from coordinator.cohort.survival import survival_of
from tests.factories.cohorts import STAY, released_table, stay_cell, stays

NUMBERS = st.lists(st.integers(0, 9), min_size=5, max_size=5)


@given(NUMBERS, NUMBERS)
def test_it_is_kaplan_and_meiers(died: list[int], alive: list[int]) -> None:
    """As SciPy has it, with Greenwood's interval on the log-log scale, wherever that is defined."""
    curve = survival_of(stays(died, alive))
    times = np.arange(1.0, 6.0)
    if sum(died) == 0 or not curve:
        assert all(step.least == step.most == 1 for step in curve)
        return
    data = CensoredData(uncensored=np.repeat(times, died), right=np.repeat(times, alive))
    survival = ecdf(data).sf
    for place, step in enumerate(curve):
        assert step.least == step.most == pytest.approx(float(survival.evaluate(times[place])))
        assert (step.died, step.at_risk) == (died[place], sum(died[place:]) + sum(alive[place:]))
        assert step.low is not None
        assert step.high is not None
        assert step.low <= step.least <= step.high


def test_its_interval_is_greenwoods() -> None:
    """Of ten who die and ten who leave in each bin, as worked out by the formula."""
    [first, *_] = survival_of(stays([10] * 5, [10] * 5))
    assert (first.least, first.at_risk) == (0.9, 100)
    data = CensoredData(uncensored=np.repeat(np.arange(1.0, 6.0), 10), right=np.repeat(np.arange(1.0, 6.0), 10))
    low, high = (end for end in ecdf(data).sf.confidence_interval(method="log-log"))
    assert (first.low, first.high) == pytest.approx((float(low.evaluate(1.0)), float(high.evaluate(1.0))))


@given(NUMBERS, NUMBERS, st.sets(st.integers(0, 4)), st.sets(st.integers(0, 4)))
def test_the_truth_is_within_the_band(died: list[int], alive: list[int], bins: set[int], deaths: set[int]) -> None:
    """Whichever bins and deaths are hidden: a share lies between least and most, and no interval is made up."""
    hidden = {f"{STAY.name}/{STAY.labels[place]}" for place in bins}
    hidden |= {stay_cell(STAY.labels[place], "died") for place in deaths}
    truth = survival_of(stays(died, alive))
    for known, step in zip(truth, survival_of(stays(died, alive, hidden)), strict=False):
        assert step.least <= known.least + 1e-12
        assert known.most <= step.most + 1e-12
        assert step.low is None or (step.low, step.high) == (known.low, known.high)


def test_without_such_a_table_there_is_no_curve() -> None:
    """Nor where it is hidden how many there are."""
    assert survival_of(stays([5] * 5, [5] * 5, {"studies"})) == []
    assert survival_of(released_table()) == []


@given(NUMBERS, NUMBERS)
def test_it_goes_on_while_enough_are_at_risk(died: list[int], alive: list[int]) -> None:
    """As many as the policy shows; the last bin has no end, so it is no step."""
    at_risk = [sum(died[place:]) + sum(alive[place:]) for place in range(4)]
    steps = survival_of(stays(died, alive))
    assert [step.at_risk for step in steps] == [many for many in at_risk if many >= 2]
    assert [step.days for step in steps] == [*STAY.labels[: len(steps)]]


@pytest.mark.parametrize("place", range(4))
def test_hidden_deaths_are_at_most_what_the_bin_leaves(place: int) -> None:
    """Beside whoever left alive, and at least none: no further from the truth than what is shown allows."""
    died, alive = [4, 3, 5, 2, 1], [9, 8, 7, 6, 5]
    truth = survival_of(stays(died, alive))
    curve = survival_of(stays(died, alive, {stay_cell(STAY.labels[place], "died")}))
    without = survival_of(stays([0 if at == place else n for at, n in enumerate(died)],
                                [n + died[at] if at == place else n for at, n in enumerate(alive)]))  # fmt: skip
    assert [step.least for step in curve] == pytest.approx([step.least for step in truth])
    assert [step.most for step in curve] == pytest.approx([step.most for step in without])
    assert [step.at_risk for step in curve] == [step.at_risk for step in truth]
    assert [step.died is None for step in curve] == [at == place for at in range(4)]
    assert [step.low is None for step in curve] == [at >= place for at in range(4)]


@pytest.mark.parametrize("place", range(4))
def test_a_hidden_bin_may_hold_all_that_is_not_elsewhere(place: int) -> None:
    """What its outcomes leave, and no more than the others leave of all; after it, how many are at risk is open."""
    died, alive = [4, 3, 5, 2, 1], [9, 8, 7, 6, 5]
    hidden = {f"{STAY.name}/{STAY.labels[place]}", stay_cell(STAY.labels[place], "died")}
    curve, truth = survival_of(stays(died, alive, hidden)), survival_of(stays(died, alive))
    assert [step.at_risk for step in curve] == [each.at_risk if at <= place else None for at, each in enumerate(truth)]
    assert curve[place].least == pytest.approx(truth[place].least)
    assert all(step.least <= each.least + 1e-12 for step, each in zip(curve, truth, strict=True))


def test_where_all_die_nobody_lives() -> None:
    """With certainty, and no interval but the share itself; before the first death it is all."""
    first, *_, last = survival_of(stays([0, 0, 0, 9, 0], [5, 5, 5, 0, 0]))
    assert (first.low, first.least, first.high) == (1, 1, 1)
    assert (last.low, last.least, last.high) == (0, 0, 0)
