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
