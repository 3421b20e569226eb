"""Pooled figures of a test with their intervals (95 %), from histograms of all sites' patients together.

Nothing here knows a site or a patient. What is shown of the histograms are groups of neighbouring scores with at least
as many patients as the plan asks for of a class.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import numpy as np
import numpy.typing as npt

from coordinator.federation.results import Interval, Point, PooledFigures
from shared.federation.averaging import BINS, Counts, auc_of
from shared.federation.intervals import Z, delong, wilson

_GROUPS = 20  # points of a curve at most
_STEPS = 50  # of Newton's method
_MIDDLES = (np.arange(BINS) + 0.5) / BINS  # the probability that a bin stands for
_LOGITS = np.log(_MIDDLES / (1 - _MIDDLES))


def threshold_of(validation: Counts, specificity: float, *, minimum: int) -> float | None:
    """The least probability with that share of the negative patients below it; `None` where these are too few."""
    negatives = np.cumsum(validation[0])
    if negatives[-1] < minimum:
        return None
    return float(np.searchsorted(negatives, specificity * negatives[-1]) + 1) / BINS


def pooled_figures(test: Counts, threshold: float | None, *, minimum: int) -> PooledFigures:
    """The figures of a model with these histograms; each class needs at least `minimum` patients."""
    negatives, positives = test.sum(axis=1).tolist()
    area = auc_of(test)
    if area is None or min(negatives, positives) < minimum:
        return PooledFigures(patients=negatives + positives)
    slope, intercept = _calibration(test)
    figures: dict[str, Interval] = {}
    if threshold is not None:
        place = round(threshold * BINS)
        figures = {
            "sensitivity": _share(float(test[1, place:].sum()), positives),
            "specificity": _share(float(test[0, :place].sum()), negatives),
        }
    low, high = delong(test, area)
    return PooledFigures(
        patients=negatives + positives,
        auc=Interval(value=area, low=low, high=high),
        threshold=threshold,
        **figures,
        brier=_brier(test),
        calibration_slope=slope,
        calibration_intercept=intercept,
        points=_points(test, least=minimum),
    )


def _share(cases: float, total: float) -> Interval:
    low, high = wilson(cases, total)
    return Interval(value=cases / total, low=low, high=high)


def _brier(test: Counts) -> Interval:
    """The mean squared error of the probabilities (Brier 1950), with the interval of a mean."""
    errors, patients = np.stack([_MIDDLES**2, (1 - _MIDDLES) ** 2]), int(test.sum())
    mean = float((test * errors).sum() / patients)
    half = Z * sqrt(float((test * (errors - mean) ** 2).sum()) / max(patients - 1, 1) / patients)
    return Interval(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def _calibration(test: Counts) -> tuple[Interval | None, Interval | None]:
    """Slope and intercept of a logistic regression of the label on the score (Cox, Biometrika 1958).

    1 and 0 are best; the intervals are Wald's. Classes that do not overlap, and equal scores, have no such line.
    """
    design, totals = np.stack([_LOGITS, np.ones(BINS)]), test.sum(axis=0)
    line = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        expected = 1 / (1 + np.exp(-np.clip(line @ design, -500, 500)))
        information = (design * (totals * expected * (1 - expected))) @ design.T
        if np.linalg.cond(information) > 1e12:
            return None, None
        step = np.linalg.solve(information, design @ (test[1] - totals * expected))
        line = line + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            half = Z * np.sqrt(np.diag(np.linalg.inv(information)))
            slope, intercept = (
                Interval(value=value, low=value - part, high=value + part)
                for value, part in zip(line.tolist(), half.tolist(), strict=True)
            )
            return slope, intercept
    return None, None


def _points(test: Counts, *, least: int) -> tuple[Point, ...]:
    negatives, positives = test.sum(axis=1).tolist()
    return tuple(
        Point(
            predicted=float((part.sum(axis=0) * _MIDDLES[start:end]).sum() / part.sum()),
            observed=_share(float(part[1].sum()), float(part.sum())),
            sensitivity=float(test[1, start:].sum() / positives),
            specificity=float(test[0, :start].sum() / negatives),
        )
        for start, end in groups(test.sum(axis=0), least)
        for part in [test[:, start:end]]
    )


def groups(totals: npt.NDArray[np.int64], least: int) -> Sequence[tuple[int, int]]:
    """Neighbouring bins as `(start, end)`, at least `least` patients in each, and at most `_GROUPS` of them."""
    size = max(least, -(-int(totals.sum()) // _GROUPS))
    ends, last = [0], 0
    for place, reached in enumerate(np.cumsum(totals).tolist(), 1):
        if reached - last >= size:
            ends.append(place)
            last = reached
    ends[-1:] = [len(totals)] if len(ends) > 1 else [0, len(totals)]
    return list(pairwise(ends))
