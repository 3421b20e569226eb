"""A table of noisy counts. Nothing exact is known of it here, so none is kept, and no other table is hidden for it.

A figure up to what the policy hides is hidden, 0 and negative ones with it: noise leaves open which it was. No further
cell is hidden to protect it, since a difference of figures has the noise of all of them.
"""

import numpy as np

from coordinator.cohort.released import ReleasedNoise
from coordinator.cohort.suppression import Shown
from shared.federation.cell_policy import CellPolicy
from shared.federation.noise import scale_of
from shared.federation.secure_sum.server import Sum
from shared.federation.task import CountPrivacy
from shared.protocol.cohort import TOTALS, CohortDefinition

_SURE = 0.95


def noisy_counts(
    definition: CohortDefinition, policy: CellPolicy, privacy: CountPrivacy, pooled: Sum
) -> tuple[Shown, ReleasedNoise]:
    """What is shown of the pooled counts, and their noise; rounding is part of it."""
    figures = dict(zip(definition.cells, pooled.total.astype(np.uint64).view(np.int64).tolist(), strict=True))
    shown = {
        cell: None if cell in TOTALS[1:] or figure <= policy.highest else policy.shown(figure)
        for cell, figure in figures.items()
    }
    within = within_of(scale_of(definition, privacy), len(pooled.survivors)) + policy.base // 2
    return shown, ReleasedNoise(epsilon=privacy.epsilon, within=within)


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
