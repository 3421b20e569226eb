"""Differentially private counts: each site adds whole-number noise to its own, and an interval follows for their sum.

The noise is discrete Laplace (Ghosh, Roughgarden and Sundararajan 2009), so its delta is 0. The unit is a patient, who
may be there or not, and who counts once: in each variable, and in each table. That a site has too few patients, or
none with a value, is said without noise.
"""

import numpy as np

from shared.federation.task import CountPrivacy
from shared.protocol.cohort import CohortDefinition

_SURE = 0.95


def sensitivity_of(definition: CohortDefinition) -> int:
    """How many counts a patient who counts once is in: the patients, a cell of each variable, one of each table."""
    return 1 + len(definition.variables) + len(definition.tables)


def scale_of(definition: CohortDefinition, privacy: CountPrivacy) -> float:
    """The scale of a site's noise on each count."""
    return sensitivity_of(definition) / privacy.epsilon


def within_of(scale: float, sites: int) -> int:
    """The least number that noise of so many sites together exceeds in size with a probability of 5 % at most.

    By the inverse Fourier transform of the noise's characteristic function.
    """
    ratio = np.exp(-1 / scale)
    size = 1 << int(np.ceil(np.log2(40 * scale * (1 + np.sqrt(sites)) + 64)))
    turns = 2 * np.pi * np.arange(size // 2 + 1) / size
    chances = np.fft.irfft(((1 - ratio) ** 2 / (1 - 2 * ratio * np.cos(turns) + ratio**2)) ** sites, size)
    inside = chances[0] + 2 * np.cumsum(chances[1 : size // 2])  # no more than 1, 2, ... either way
    return 0 if chances[0] >= _SURE else 1 + int(np.argmax(inside >= _SURE))
