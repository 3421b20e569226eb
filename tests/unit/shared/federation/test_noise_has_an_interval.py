"""The interval of noisy counts holds what it says, and is no wider than it needs to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.federation import PlanInvalid
from shared.federation.asked import definition_asked, inputs_asked
from shared.federation.histogram import Histogram
from shared.federation.noise import within_of
from shared.federation.plan import PlanRequest, check_request
from shared.federation.task import CountPrivacy, StatisticsTask
from shared.protocol.cohort import Mean
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol()
TASK = StatisticsTask(cohort=PROTOCOL.cohort.name, histograms=(Histogram(variable="age", edges=(50, 70)),))


def chances_of(scale: float, sites: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How likely each sum of noise is, by folding one site's after another's: from -n to n."""
    reach = int(40 * scale) + 2
    alone = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    together = np.ones(1)
    for _ in range(sites):
        together = np.convolve(together, alone / alone.sum())
    return together


@given(st.floats(0.1, 20), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_95_in_100_lie_within_and_not_within_less(scale: float, sites: int) -> None:
    """By adding up the probabilities one by one."""
    within, chances = within_of(scale, sites), chances_of(scale, sites)
    middle = len(chances) // 2
    assert chances[middle - within : middle + within + 1].sum() >= 0.95 - 1e-9
    if within:
        assert chances[middle - within + 1 : middle + within].sum() < 0.95 + 1e-9


def test_many_sites_with_much_noise_have_an_interval_too() -> None:
    """Near that of a normal distribution, whose deviation is that of the noise."""
    assert within_of(3100.0, 1024) == pytest.approx(1.96 * 3100 * np.sqrt(2 * 1024), rel=0.01)


def test_noise_is_part_of_what_every_site_must_have_been_asked() -> None:
    """A plan that says nothing of it keeps its bytes; nothing is stated of the cells of one that does."""
    noisy = TASK.model_copy(update={"privacy": CountPrivacy(epsilon=1)})
    exact, definition = (definition_asked(task, PROTOCOL.digest) for task in (TASK, noisy))
    assert "privacy" not in TASK.model_dump()
    assert inputs_asked(TASK, exact) == exact.digest
    assert inputs_asked(noisy, definition) == f"{definition.digest} with an epsilon of 1"
    assert definition.variables == exact.variables
    assert (definition.filled, definition.zero, definition.same, definition.implies) == ((), (), (), ())
    type(definition).model_validate(definition.model_dump())


def test_a_mean_has_no_noise_and_is_refused_beside_it() -> None:
    """Before any site is asked."""
    task = TASK.model_copy(
        update={"privacy": CountPrivacy(epsilon=1), "means": (Mean(variable="age", low=18, high=90),)}
    )
    with pytest.raises(PlanInvalid, match="`privacy` stands without `means`"):
        check_request(PlanRequest(purpose="statistics", statistics=task))
