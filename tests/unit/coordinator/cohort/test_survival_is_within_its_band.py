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
