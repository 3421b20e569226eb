"""Differentially private counts: each site adds whole-number noise to its own.

The noise is discrete Laplace (Ghosh, Roughgarden and Sundararajan 2009), so its delta is 0. The unit is a patient, who
may be there or not, and who counts once: in each variable, and in each table. That a site has too few patients, or
none with a value, is said without noise.
"""

from shared.federation.task import CountPrivacy
from shared.protocol.cohort import CohortDefinition


def sensitivity_of(definition: CohortDefinition) -> int:
    """How many counts a patient who counts once is in: the patients, a cell of each variable, one of each table."""
    return 1 + len(definition.variables) + len(definition.tables)


def scale_of(definition: CohortDefinition, privacy: CountPrivacy) -> float:
    """The scale of a site's noise on each count."""
    return sensitivity_of(definition) / privacy.epsilon
