"""Intervals: as others compute them, within 0 and 1, and over the truth about 95 times in 100."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from shared.federation.averaging import auc_of, histogram
from shared.federation.intervals import Z, delong, newcombe, wilson

COUNT = st.integers(1, 500)


@given(COUNT, st.data())
def test_of_a_proportion_as_scipy_has_it(trials: int, data: st.DataObject) -> None:
    """Wilson's interval without correction for continuity."""
    successes = data.draw(st.integers(0, trials))
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_without_a_trial_anything_may_be() -> None:
    """Of a proportion and of an area."""
    assert wilson(0, 0) == newcombe(0.5, 0, 7) == (0, 1)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 999)), min_size=2, max_size=60))
def test_the_variance_of_an_area_is_that_of_all_pairs(cases: list[tuple[int, int]]) -> None:
    """DeLong's components, counted pair by pair; the interval is symmetric on the logit."""
    labels = np.array([label for label, _ in cases])
    places = np.array([place for _, place in cases])
    counts = histogram(labels, (places + 0.5) / 1000)
    area = auc_of(counts)
    if area is None:
        return
    low, high = delong(counts, area)
    assert 0 <= low <= area <= high <= 1
    positive, negative = places[labels == 1], places[labels == 0]
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    if min(wins.shape) < 2 or not 0 < area < 1:
        return
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    if variance > 1e-12:
        expected = Z * np.sqrt(variance) / (area * (1 - area))
        assert np.log(high / (1 - high) * (1 - area) / area) == pytest.approx(expected)


@given(st.floats(0, 1), COUNT, COUNT)
def test_the_ends_by_numbers_alone_are_the_furthest_areas_that_fit(area: float, positives: int, negatives: int) -> None:
    """At each end the observed area is Z standard errors away; that of 1 has a lower end below 1."""
    low, high = newcombe(area, positives, negatives)
    assert 0 <= low <= area <= high <= 1
    if area == 1:
        assert low < 1
    middle = (positives + negatives) / 2 - 1
    for end in (low, high):
        if 1e-6 < end < 1 - 1e-6 and abs(end - area) > 1e-6:
            spread = 1 + middle * ((1 - end) / (2 - end) + end / (1 + end))
            error = np.sqrt(end * (1 - end) * spread / (positives * negatives))
            assert abs(end - area) == pytest.approx(Z * error, rel=1e-4)


@pytest.mark.parametrize(("truth", "positives", "negatives"), [(0.75, 40, 80), (0.9, 25, 60), (0.97, 30, 30)])
def test_an_interval_of_an_area_covers_it(truth: float, positives: int, negatives: int) -> None:
    """Over 800 binormal samples between 92 and 99 in 100 times, near 1 too."""
    random, distance = np.random.default_rng(1), np.sqrt(2) * norm.ppf(truth)
    covered = 0
    for _ in range(800):
        scores = np.concatenate([random.normal(0, 1, negatives), random.normal(distance, 1, positives)])
        counts = histogram(np.array([0] * negatives + [1] * positives), norm.cdf(scores, distance / 2, 1.5))
        low, high = delong(counts, auc_of(counts) or 0)
        covered += low <= truth <= high
    assert 0.92 <= covered / 800 <= 0.99


def test_ties_count_half_in_the_variance_of_an_area() -> None:
    """Of scores of which most lie in one bin, as of all pairs one by one."""
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    places = np.array([3, 5, 5, 5, 5, 8, 1])
    counts = histogram(labels, (places + 0.5) / 1000)
    area = auc_of(counts)
    assert area is not None
    positive, negative = places[labels == 1], places[labels == 0]
    wins = (positive[:, None] > negative) + (positive[:, None] == negative) / 2
    variance = wins.mean(axis=1).var(ddof=1) / 4 + wins.mean(axis=0).var(ddof=1) / 3
    low, high = delong(counts, area)
    for end in (high / (1 - high) * (1 - area) / area, area / (1 - area) * (1 - low) / low):
        assert np.log(end) == pytest.approx(Z * np.sqrt(variance) / (area * (1 - area)))


@pytest.mark.parametrize("cases", [([0, 1, 1], [1, 5, 9]), ([0, 0, 1], [1, 9, 5]), ([0, 0, 1, 1], [1, 2, 8, 9])])
def test_without_a_variance_the_numbers_decide(cases: tuple[list[int], list[int]]) -> None:
    """Of a class with a single case, and of classes that do not overlap."""
    labels, places = map(np.array, cases)
    counts = histogram(labels, (places + 0.5) / 1000)
    area = auc_of(counts)
    assert area is not None
    assert delong(counts, area) == newcombe(area, int(labels.sum()), int((1 - labels).sum()))


def test_where_nobody_can_be_told_apart_the_numbers_decide() -> None:
    """All in one bin: the variance is nought though the area is not."""
    counts = histogram(np.array([0, 0, 1, 1, 1]), np.full(5, 0.5))
    assert delong(counts, 0.5) == newcombe(0.5, 3, 2)
    low, high = newcombe(0.5, 3, 2)
    assert 0 < low < 0.2
    assert 0.8 < high < 1


def test_z_is_of_95_in_100() -> None:
    """Two-sided, of the normal distribution; a proportion stays within 0 and 1 to the last digit."""
    assert pytest.approx(norm.ppf(0.975), abs=1e-6) == Z
    assert wilson(0, 7).low == 0
    assert wilson(7, 7).high == 1
