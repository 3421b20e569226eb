"""Federated training over real client apps, real strategies and no sockets."""

import json
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from coordinator.federation.grid import RosterGrid
from coordinator.federation.results import TrainingResult
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors import TooFewSites
from shared.federation.plan import Plan, PlanRequest, TrainingTask, complete_plan, sign_plan
from site_node.federate.site import FederateSettings
from tests.unit.federation.local_grid import LocalGrid
from tests.unit.federation.site_homes import PROTOCOL, make_site, member_of

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=3, local_epochs=2, learning_rate=0.003, minimum_cases=1, validation_share=0.3)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[int, FederateSettings]:
    folder = tmp_path_factory.mktemp("sites")
    return {10 + n: make_site(folder / str(n), f"{200000 + n}", KEY) for n in range(3)}


def plan_for(sites: dict[int, FederateSettings], task: TrainingTask = TASK) -> Plan:
    members = tuple(member_of(site) for site in sites.values())
    return complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)


def roster_grid(sites: dict[int, FederateSettings], plan: Plan) -> tuple[RosterGrid, LocalGrid]:
    local = LocalGrid(sites)
    return RosterGrid(local, plan, sign_plan(plan, KEY), {site.site_id: n for n, site in sites.items()}), local


def allow_few_cases(sites: dict[int, FederateSettings], cases: int = 1) -> None:
    for site in sites.values():
        text = site.policy.read_text()
        site.policy.write_text(
            "\n".join(f"minimum_cases = {cases}" if "minimum_cases" in t else t for t in text.split("\n"))
        )


def test_three_sites_learn_in_three_rounds(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """Figures of every round and site, a checkpoint each, and a model that has learned."""
    allow_few_cases(sites)
    grid, _ = roster_grid(sites, plan_for(sites))
    app(grid, Context(1, 1, {}, RecordDict(), {FOLDER: str(tmp_path)}))
    result = TrainingResult.model_validate_json((tmp_path / "metrics.json").read_bytes())
    assert [r.round for r in result.rounds] == [1, 2, 3]
    assert all(len(r.sites) == 3 and all(site.auc is not None for site in r.sites) for r in result.rounds)
    assert result.rounds[-1].training_loss < result.rounds[0].training_loss
    print([r.auc for r in result.rounds])
    assert (result.rounds[-1].auc or 0) > 0.7
    assert sorted(f.name for f in tmp_path.glob("*.safetensors")) == [f"round-{n}.safetensors" for n in (1, 2, 3)]
