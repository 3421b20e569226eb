"""Noise on counts is named in a plan, and what it cannot stand beside is refused."""

import pytest

from shared.errors.federation import PlanInvalid
from shared.federation.asked import definition_asked, inputs_asked
from shared.federation.histogram import Histogram
from shared.federation.plan import PlanRequest, check_request
from shared.federation.task import CountPrivacy, StatisticsTask
from shared.protocol.cohort import Mean
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol()
TASK = StatisticsTask(cohort=PROTOCOL.cohort.name, histograms=(Histogram(variable="age", edges=(50, 70)),))


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
