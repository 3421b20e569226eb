"""The secure sum of a statistics plan is over what the plan counts, under its policy, and no two are one session."""

import pytest

from coordinator.cohort.pooling import sum_plan_of
from shared.crypto.signing import SigningKey
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.federation.plan import Member, PlanRequest, complete_plan
from shared.federation.secure_sum.messages import Peer
from shared.federation.task import CountPrivacy, StatisticsTask
from shared.ids import SiteId
from shared.protocol.cohort import Mean
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol()
KEYS = {SiteId(str(100_001 + number)): SigningKey.generate() for number in range(5)}
MEMBERS = tuple(Member(site_id=site, fingerprint=key.fingerprint) for site, key in KEYS.items())
PEERS = tuple(Peer(site_id=site, verify_key=key.public.text) for site, key in KEYS.items())
AGE, MEAN = Histogram(variable="age", edges=(50,)), Mean(variable="age", low=0, high=90)


@pytest.mark.parametrize(
    ("parts", "inputs", "more"),
    [
        ({}, "", 0),
        ({"histograms": (AGE,)}, "{digest}", 0),
        ({"histograms": (AGE,), "means": (MEAN,)}, "{digest}", 2),
        ({"histograms": (AGE,), "privacy": CountPrivacy(epsilon=1)}, "{digest} with an epsilon of 1", 0),
    ],
)
def test_of_a_plan(parts: dict[str, object], inputs: str, more: int) -> None:
    """A word for each cell and two for a mean; sites that were asked for another definition find another name."""
    task = StatisticsTask.model_validate({"cohort": "ricord", **parts})
    request = PlanRequest(purpose="statistics", statistics=task)
    plan = complete_plan(request, members=MEMBERS, protocol_digest=PROTOCOL.digest)
    definition, policy = definition_asked(task, PROTOCOL.digest), CellPolicy.named("min-7")
    first, second = (sum_plan_of(plan, definition, policy, PEERS) for _ in range(2))
    assert first.inputs == inputs.format(digest=definition.digest)
    assert (first.length, first.cells, first.subject) == (len(definition.cells) + more, "min-7", "cohort:ricord")
    assert (first.protocol_digest, first.roster) == (PROTOCOL.digest, PEERS)
    assert len(PEERS) + 1 < 2 * first.threshold
    assert len(first.session) == 32
    assert first.session != second.session
