"""Figures from histograms are those of the patients, and what is shown of a histogram has many in each point."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from coordinator.federation.figures import groups, pooled_figures, threshold_of
from coordinator.federation.results import Interval as Ends
from coordinator.federation.results import RoundResult, SiteTest, best_round, worst_site
from shared.federation.averaging import BINS, Counts, histogram
from shared.federation.intervals import Z, delong, wilson
from shared.ids import SiteId

CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, BINS - 1)), min_size=1, max_size=200)


def drawn(seed: int, patients: int = 400) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Labels, and probabilities that are too bold by half."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, patients)
    labels = (random.random(patients) < 1 / (1 + np.exp(-(logits + 0.5)))).astype(np.int64)
    return labels, 1 / (1 + np.exp(-1.5 * logits))


def counts_of(cases: list[tuple[int, int]]) -> Counts:
    labels, places = (np.array(values) for values in zip(*cases, strict=True))
    return histogram(labels, (places + 0.5) / BINS)


def test_brier_and_calibration_are_those_of_the_patients() -> None:
    """To the width of a bin; the line is the maximum of the likelihood, as another optimiser finds it."""
    labels, probabilities = drawn(1)
    figures = pooled_figures(histogram(labels, probabilities), 0.5, minimum=11)
    assert figures.brier is not None
    assert figures.brier.value == pytest.approx(((probabilities - labels) ** 2).mean(), abs=1e-3)
    logits = np.log(probabilities / (1 - probabilities))

    def loss(line: npt.NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, (1 - 2 * labels) * (line[0] * logits + line[1])).sum())

    slope, intercept = minimize(loss, [1.0, 0.0]).x
    assert figures.calibration_slope is not None
    assert figures.calibration_intercept is not None
    assert figures.calibration_slope.value == pytest.approx(slope, abs=0.02)
    assert figures.calibration_intercept.value == pytest.approx(intercept, abs=0.02)
    assert figures.calibration_slope.low < 2 / 3 < figures.calibration_slope.high  # as they were drawn


@pytest.mark.parametrize("places", [(100, 700), (100, 300, 700), (5, 300, 700, 800)])
def test_the_interval_of_a_mean_is_of_its_sample(places: tuple[int, ...]) -> None:
    """Z standard errors each way, also of two patients; never below nought or above one."""
    cases = [(number % 2, place) for number, place in enumerate(places)]
    brier = pooled_figures(counts_of(cases), None, minimum=1).brier
    errors = [((place + 0.5) / BINS - label) ** 2 for label, place in cases]
    half = Z * np.std(errors, ddof=1) / np.sqrt(len(errors))
    assert brier is not None
    expected = np.mean(errors), max(0, np.mean(errors) - half), min(1, np.mean(errors) + half)
    assert np.allclose((brier.value, brier.low, brier.high), expected)


def test_a_line_that_is_reached_exactly_is_shown() -> None:
    """Where rounding leaves nothing of the last step."""
    places = {0: (451, 509, 509, 347, 999), 1: (20, 400, 448, 948)}
    figures = pooled_figures(counts_of([(label, at) for label in places for at in places[label]]), None, minimum=1)
    assert figures.calibration_slope is not None
    assert figures.calibration_intercept is not None


def test_classes_that_do_not_overlap_have_no_line_and_an_interval_all_the_same() -> None:
    """The AUC of 1 has a lower end below 1."""
    counts = counts_of([(0, 100)] * 20 + [(1, 900)] * 20)
    figures = pooled_figures(counts, 0.5, minimum=11)
    assert figures.calibration_slope is figures.calibration_intercept is None
    assert figures.auc is not None
    assert figures.auc.low < figures.auc.value == 1


@given(CASES, st.floats(0.01, 0.99))
def test_the_threshold_keeps_its_specificity_where_it_was_chosen(cases: list[tuple[int, int]], share: float) -> None:
    """At least that share of the negative patients lies below it, and below the next lower one lies less."""
    counts = counts_of(cases)
    threshold = threshold_of(counts, share, minimum=1)
    if threshold is None:
        assert not counts[0].sum()
        return
    place = round(threshold * BINS)
    assert counts[0, :place].sum() >= share * counts[0].sum() - 1e-9
    assert counts[0, : place - 1].sum() < share * counts[0].sum()


@given(CASES, st.integers(1, 30))
def test_every_point_that_is_shown_has_enough_patients(cases: list[tuple[int, int]], least: int) -> None:
    """Neighbouring scores in groups that cover all of them once, at most twenty."""
    totals = counts_of(cases).sum(axis=0)
    cut = groups(totals, least)
    assert [start for start, _ in cut] == [0, *(end for _, end in cut[:-1])]
    assert cut[-1][1] == BINS
    assert len(cut) <= 20
    assert all(totals[start:end].sum() >= least for start, end in cut) or len(cut) == 1


@given(CASES, st.integers(1, 30))
def test_below_the_minimum_of_a_class_no_figure_is_told(cases: list[tuple[int, int]], minimum: int) -> None:
    """Neither of the test, nor a threshold of the validation patients."""
    counts = counts_of(cases)
    figures = pooled_figures(counts, None, minimum=minimum)
    enough = counts.sum(axis=1).min() >= minimum
    assert (figures.auc is not None) == bool(figures.points) == bool(enough)
    assert (threshold_of(counts, 0.9, minimum=minimum) is not None) == (counts[0].sum() >= minimum)


def entry(number: int, auc: float | None, loss: float | None) -> RoundResult:
    return RoundResult(round=number, training_images=1, training_loss=None, auc=auc, validation_loss=loss, sites=())


def test_the_best_round_is_the_first_of_the_highest_auc() -> None:
    """By the loss only where no round has an AUC."""
    assert best_round([entry(1, 0.7, 0.2), entry(2, 0.8, 0.9), entry(3, 0.8, 0.1), entry(4, None, 0.0)]) == 2
    assert best_round([entry(1, None, 0.3), entry(2, None, 0.1), entry(3, None, 0.1)]) == 2
    assert best_round([entry(1, None, None)]) is None


def test_a_site_is_the_worst_only_where_its_interval_says_so() -> None:
    """A low point with a wide interval is no worst site; one that withholds its figure never is."""
    pooled = Ends(value=0.8, low=0.75, high=0.85)
    names = [SiteId(f"{100_000 + number}") for number in range(3)]
    wide = SiteTest(site_id=names[0], auc=Ends(value=0.5, low=0.2, high=0.9))
    narrow = SiteTest(site_id=names[1], auc=Ends(value=0.7, low=0.66, high=0.74))
    silent = SiteTest(site_id=names[2])
    assert worst_site([wide, silent], pooled) is None
    assert worst_site([wide, narrow, silent], pooled) == names[1]
    assert worst_site([wide, narrow], None) is worst_site([], pooled) is None


@given(CASES, st.integers(1, BINS - 1))
def test_figures_at_a_threshold_are_shares_of_each_class(cases: list[tuple[int, int]], place: int) -> None:
    """Positive patients at or above it, negative ones below, each with Wilson's interval; without one there is none."""
    counts = counts_of(cases)
    figures = pooled_figures(counts, place / BINS, minimum=1)
    assert figures.patients == len(cases)
    if figures.auc is None:
        assert figures.sensitivity is figures.specificity is figures.brier is None
        return
    scores = {label: [at for own, at in cases if own == label] for label in (0, 1)}
    rights = (sum(at >= place for at in scores[1]), sum(at < place for at in scores[0]))
    for shown, right, label in ((figures.sensitivity, rights[0], 1), (figures.specificity, rights[1], 0)):
        total = len(scores[label])
        assert shown == Ends(value=right / total, **wilson(right, total)._asdict())
    assert (figures.auc.low, figures.auc.high) == delong(counts, figures.auc.value)
    without = pooled_figures(counts, None, minimum=1)
    assert (without.sensitivity, without.specificity, without.threshold) == (None, None, None)
    assert without.brier == figures.brier


def test_intervals_of_brier_and_calibration_are_those_of_means_and_of_wald() -> None:
    """By the patients' own errors, and by the curvature of the likelihood, worked out apart."""
    labels, probabilities = drawn(2)
    counts = histogram(labels, probabilities)
    middles = (np.minimum((probabilities * BINS).astype(int), BINS - 1) + 0.5) / BINS
    figures = pooled_figures(counts, None, minimum=11)
    errors = (middles - labels) ** 2
    half = Z * errors.std(ddof=1) / np.sqrt(len(errors))
    assert figures.brier is not None
    shown = (figures.brier.value, figures.brier.low, figures.brier.high)
    assert shown == pytest.approx((errors.mean(), errors.mean() - half, errors.mean() + half))
    slope, intercept = figures.calibration_slope, figures.calibration_intercept
    assert slope is not None
    assert intercept is not None
    design = np.stack([np.log(middles / (1 - middles)), np.ones(len(middles))])
    expected = 1 / (1 + np.exp(-(slope.value * design[0] + intercept.value)))
    spread = Z * np.sqrt(np.diag(np.linalg.inv((design * expected * (1 - expected)) @ design.T)))
    for shown_line, width in ((slope, spread[0]), (intercept, spread[1])):
        assert shown_line.high - shown_line.value == pytest.approx(width, rel=1e-4)
        assert shown_line.value - shown_line.low == pytest.approx(width, rel=1e-4)


def test_of_a_single_patient_a_brier_score_has_an_interval_within_0_and_1() -> None:
    """Nothing is divided by nought."""
    figures = pooled_figures(counts_of([(0, 999), (1, 0)]), None, minimum=1)
    assert figures.brier is not None
    assert figures.brier.value == pytest.approx(0.999, abs=1e-3)
    assert 0 <= figures.brier.low <= figures.brier.high <= 1
    best = pooled_figures(counts_of([(0, 0), (0, 300), (1, 999)]), None, minimum=1).brier
    assert best is not None
    assert best.low == 0


@given(CASES, st.integers(1, 30))
def test_each_point_is_of_its_patients(cases: list[tuple[int, int]], least: int) -> None:
    """Their mean probability and share of positive ones, and what a threshold at the lowest of them would do."""
    counts = counts_of(cases)
    points = pooled_figures(counts, None, minimum=least).points
    if not points:
        return
    cut = groups(counts.sum(axis=0), least)
    assert len(points) == len(cut)
    for point, (start, end) in zip(points, cut, strict=True):
        own = [(label, at) for label, at in cases if start <= at < end]
        positive = sum(label for label, _ in own)
        assert point.predicted == pytest.approx(sum((at + 0.5) / BINS for _, at in own) / len(own))
        assert point.observed == Ends(value=positive / len(own), **wilson(positive, len(own))._asdict())
        right = (sum(at >= start for label, at in cases if label), sum(at < start for label, at in cases if not label))
        totals = [sum(label == each for label, _ in cases) for each in (1, 0)]
        assert (point.sensitivity, point.specificity) == (right[0] / totals[0], right[1] / totals[1])


def test_groups_are_as_small_as_they_may_be() -> None:
    """Of the least patients, or of a twentieth of all; the last one takes what is left over."""
    ones = np.ones(BINS, dtype=np.int64)
    assert groups(ones, 11) == [(50 * place, 50 * (place + 1)) for place in range(20)]
    assert groups(ones, 300) == [(0, 300), (300, 600), (600, 1000)]
    assert groups(ones, 501) == [(0, 1000)]
    few = np.zeros(BINS, dtype=np.int64)
    few[[3, 7, 9]] = 2, 3, 1
    assert groups(few, 3) == [(0, 1000)]
    assert groups(few, 2) == [(0, 4), (4, 1000)]
    assert groups(few, 7) == [(0, 1000)]
