"""Intervals (95 %) of proportions and of the area under the ROC curve, from counts alone."""

from math import sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Z = 1.959964  # of the normal distribution, two-sided 95 %
_HALVINGS = 60


class Bounds(NamedTuple):
    """The ends of an interval."""

    low: float
    high: float


def wilson(successes: float, trials: float) -> Bounds:
    """Of a proportion (Wilson, JASA 1927); all of 0 to 1 without a trial."""
    if trials == 0:
        return Bounds(0.0, 1.0)
    share, shrunk = successes / trials, 1 + Z**2 / trials
    middle = (share + Z**2 / (2 * trials)) / shrunk
    half = Z * sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2)) / shrunk
    return Bounds(max(0.0, middle - half), min(1.0, middle + half))


def delong(counts: npt.NDArray[np.int64], area: float) -> Bounds:
    """Of the area that histograms of scores give, shape (2, bins), each case independent.

    The variance is that of DeLong et al. (Biometrics 1988), exact for scores in bins, equal ones counting half; the
    interval is symmetric on the scale of the logit, so it stays within 0 and 1. Where the variance is 0, as with
    classes that do not overlap, `newcombe`.
    """
    negative, positive = counts
    negatives, positives = int(negative.sum()), int(positive.sum())
    if min(negatives, positives) < 2:
        return newcombe(area, positives, negatives)
    of_positive = (np.cumsum(negative) - negative / 2) / negatives  # share of negatives that rank lower
    of_negative = (positives - np.cumsum(positive) + positive / 2) / positives
    variance = sum(
        float((cases * (parts - area) ** 2).sum()) / (total - 1) / total
        for cases, parts, total in ((positive, of_positive, positives), (negative, of_negative, negatives))
    )
    if variance == 0:
        return newcombe(area, positives, negatives)
    odds, factor = area / (1 - area), np.exp(Z * sqrt(variance) / (area * (1 - area)))
    return Bounds(float(odds / factor / (1 + odds / factor)), float(odds * factor / (1 + odds * factor)))


def newcombe(area: float, positives: int, negatives: int) -> Bounds:
    """Of an area by its value and the numbers of cases only, also where it is 0 or 1.

    The areas whose standard error by Hanley and McNeil (1982) reaches to the one observed: method 5 of Newcombe
    (Statistics in Medicine 2006).
    """
    if min(positives, negatives) == 0:
        return Bounds(0.0, 1.0)
    middle = (positives + negatives) / 2

    def reaches(true: float) -> bool:
        spread = 1 + (middle - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        return abs(true - area) <= Z * sqrt(true * (1 - true) * spread / (positives * negatives))

    def end(outside: float) -> float:
        inside = area + (outside - area) * 1e-9
        for _ in range(_HALVINGS):
            between = (inside + outside) / 2
            inside, outside = (between, outside) if reaches(between) else (inside, between)
        return inside

    return Bounds(end(0.0), end(1.0))
