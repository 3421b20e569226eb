"""What a site computes of a model by itself: a probability for each patient, and its own AUC with an interval.

Images of one patient are no independent cases, so each patient counts once in a class: with the mean probability of the
images with that label.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from shared.federation import records
from shared.federation.averaging import histogram
from shared.federation.intervals import Bounds, newcombe
from shared.federation.plan import Plan
from shared.federation.task import TrainingTask
from site_node.federate.policy import SitePolicy, least_cases, may_report_figures
from site_node.federate.training import Labels, Samples, auc, evaluate

RESAMPLES = 1000


class Scores(NamedTuple):
    """One entry for each patient and label: the label, the probability of being positive, and whose it is."""

    labels: Labels
    probabilities: npt.NDArray[np.float64]
    patients: Labels

    @property
    def loss(self) -> float:
        """The mean cross-entropy; 0 without an entry."""
        right = np.where(self.labels == 1, self.probabilities, 1 - self.probabilities)
        return float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()) if len(right) else 0.0

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many entries of each label have which probability, shape (2, BINS)."""
        return histogram(self.labels, self.probabilities)


def scores_of(model: nn.Module, samples: Samples, task: TrainingTask) -> Scores:
    """The model's scores by patient, of as many as count in an average."""
    keys = 2 * samples.patients + samples.labels
    kept, place, images = np.unique(keys, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=evaluate(model, samples).probabilities, minlength=len(kept)) / images
    most = task.maximum_images
    return Scores(kept[:most] % 2, means[:most], kept[:most] // 2)


def own_figures(scores: Scores, plan: Plan, task: TrainingTask, policy: SitePolicy) -> dict[str, float]:
    """The site's AUC and its interval, to two decimals; withheld where plan or policy ask for more cases of a class."""
    area = auc(scores.labels, scores.probabilities)
    positive = int(scores.labels.sum())
    if area is None or not may_report_figures(policy, plan, (len(scores.labels) - positive, positive)):
        return {records.AUC: 0.0, records.LOW: 0.0, records.HIGH: 0.0, records.FIGURES: 0}
    low, high = bootstrap(scores, area, seed=task.seed, least=least_cases(policy, task))
    values = {records.AUC: area, records.LOW: min(low, area), records.HIGH: max(high, area)}
    return {name: round(value, 2) for name, value in values.items()} | {records.FIGURES: 1}


def bootstrap(scores: Scores, area: float, *, seed: int, least: int) -> Bounds:
    """A 95 % interval of the AUC over samples of patients, drawn with replacement (Efron, Annals of Statistics 1979).

    Of classes that do not overlap every sample has the same area. There the interval is Newcombe's for `least` cases of
    each class, as few as there may be: it is wide enough, and tells no number.
    """
    if area in (0, 1):
        return newcombe(area, least, least)
    random = np.random.default_rng(seed)
    patients, whose = np.unique(scores.patients, return_inverse=True)
    _, place = np.unique(scores.probabilities, return_inverse=True)
    areas = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(0, len(patients), len(patients)), minlength=len(patients))[whose]
        wins, losses = (
            np.bincount(place, weights=times * (scores.labels == label), minlength=place.max() + 1) for label in (1, 0)
        )
        pairs = wins.sum() * losses.sum()
        areas += [float((wins * (np.cumsum(losses) - losses / 2)).sum() / pairs)] if pairs else []
    return Bounds(*np.quantile(areas, (0.025, 0.975)).tolist())
