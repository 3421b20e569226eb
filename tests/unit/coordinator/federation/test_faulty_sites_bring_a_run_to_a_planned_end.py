"""Sites that decline, die, lie or hang bring no run to a stop without a word: it ends, and names them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import pytest
from flwr.app import Message

from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import TooFewSites
from shared.federation import records
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from shared.ids import SiteId
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
Fault = Literal["declines", "dies", "lies", "hangs"]
Sites = Mapping[int, FederateSettings]
SECONDS = 2  # the plan's time-out
MOST_SECONDS = 60.0  # of a run that waits for each fault once
FIRST = {True: 13, False: 3}  # which message to a faulty site meets its fault, masked or not: of the second round


class FaultyGrid(LocalGrid):
    """Sites of which some show a fault in the midst of a round."""

    def __init__(self, sites: Sites, faults: Mapping[int, Fault], first: int) -> None:
        super().__init__(sites)
        self._first = first
        self._faults = faults
        self._answered = dict.fromkeys(sites, 0)

    def _answer(self, message: Message, name: str) -> str:
        node = message.metadata.dst_node_id
        self._answered[node] += 1
        fault = self._faults.get(node)
        if fault is None or fault == "declines" or self._answered[node] < self._first:
            return super()._answer(message, name)
        if fault == "lies":
            name = super()._answer(message, name)
            reply = self._replies[name]
            for record in (records.CONFIG, records.ARRAYS, records.METRICS):
                if not reply.has_error() and record in reply.content:
                    reply.content[record].clear()
            return name
        if fault == "dies":
            self.away.add(node)
        self.seen.append(message)
        return name


@pytest.fixture
def homes(tmp_path: Path) -> Sites:
    return {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(8)}


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("faults", [*((fault,) for fault in get_args(Fault)), get_args(Fault)], ids="-".join)
def test_a_run_ends_and_names_the_faulty(
    homes: Sites, faults: tuple[Fault, ...], tmp_path: Path, *, masked: bool
) -> None:
    """Six sites with a fault, or eight with all four: a result without them or a named failure; then a run."""
    sites = dict(list(homes.items())[: 5 + len(faults) if len(faults) == 1 else 8])
    at = dict(zip(list(sites)[1:], faults, strict=False))
    for node, site in sites.items():
        set_policy(site, minimum_cases=1, unmasked=True, **({"models": []} if at.get(node) == "declines" else {}))
    first = FaultyGrid(sites, at, FIRST[masked])
    start = time.monotonic()
    rounds, refusals = run(first, sites, masked=masked, folder=tmp_path / "first")
    assert time.monotonic() - start < MOST_SECONDS
    assert set(refusals) == {sites[node].site_id for node in at}
    assert all(refusals.values())
    declined = faults.count("declines")
    if not masked:
        assert rounds == [len(sites) - declined, len(sites) - len(faults)]
    else:  # the sum of a round that a site did not end would show it, beside the sum of the round before
        assert rounds == ([5, 5] if faults == ("declines",) else [])
    again, _ = run(FaultyGrid(sites, {}, 0), sites, masked=masked, folder=tmp_path / "again")
    assert again == [len(sites) - declined] * 2


def run(grid: FaultyGrid, sites: Sites, *, masked: bool, folder: Path) -> tuple[list[int], dict[SiteId | None, str]]:
    """How many sites each round has, none where the run failed by name; why each site was left out."""
    task = TrainingTask(
        image_size=32, rounds=2, local_epochs=1, minimum_cases=1, validation_share=0.3, test_share=0, masked=masked
    )
    request = PlanRequest(purpose="training", training=task, timeout_seconds=SECONDS)
    members = tuple(member_of(site) for site in sites.values())
    plan = complete_plan(request, members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in sites.items()}
    roster = RosterGrid(grid, plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, sites.values()))
    try:
        rounds = [len(finished.sites) for finished in run_training(roster, folder).rounds]
    except TooFewSites:
        rounds = []
    return rounds, {answer.site: answer.refusal for answer in roster.answers if answer.refusal}
