"""A table of noisy counts. Nothing exact is known of it here, so none is kept, and no other table is hidden for it.

A figure up to what the policy hides is hidden, 0 and negative ones with it: noise leaves open which it was. No further
cell is hidden to protect it, since a difference of figures has the noise of all of them.
"""

import numpy as np

from coordinator.cohort.released import ReleasedNoise
from coordinator.cohort.suppression import Shown
from shared.federation.cell_policy import CellPolicy
from shared.federation.noise import scale_of, within_of
from shared.federation.secure_sum.server import Sum
from shared.federation.task import CountPrivacy
from shared.protocol.cohort import TOTALS, CohortDefinition


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
