"""Evaluations over real client apps: a finished model at sites that had no part in it, by the rules of a test."""

from pathlib import Path

import pytest

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.ending import examine
from coordinator.federation.evaluation import run_evaluation
from coordinator.federation.grid import RosterGrid
from coordinator.federation.results import TrainingResult, evaluation_of
from coordinator.federation.training import run_training
from shared.agreement import Mode
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunFailed, TooFewSites
from shared.federation.plan import (
    EvaluationRequest,
    EvaluationTask,
    Plan,
    PlanRequest,
    check_plan,
    complete_plan,
    sign_plan,
)
from shared.federation.secure_sum.messages import STAGES
from shared.federation.task import TrainingTask
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, learning_rate=0.003, minimum_cases=2, seed=2)
Sites = dict[int, FederateSettings]


def made(folder: Path, first: int) -> Sites:
    by_node = {first + n: make_site(folder / str(first + n), f"{200000 + first + n}", KEY, images=20) for n in range(3)}
    for site in by_node.values():
        set_policy(site, minimum_cases=2, purposes=["training", "evaluation"])
    return by_node


def grid_of(sites: Sites, plan: Plan) -> RosterGrid:
    nodes = {site.site_id: node for node, site in sites.items()}
    return RosterGrid(LocalGrid(sites), plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, sites.values()))


def plan_of(sites: Sites, request: PlanRequest, evaluation: EvaluationTask | None = None) -> Plan:
    members = tuple(member_of(site) for site in sites.values())
    return complete_plan(request, members=members, protocol_digest=PROTOCOL, evaluated=evaluation)


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Sites, Plan, TrainingResult]:
    """Three sites and what they trained in `<tmp_path>/run`."""
    sites = made(tmp_path, 10)
    plan = plan_of(sites, PlanRequest(purpose="training", training=TASK))
    return sites, plan, run_training(grid_of(sites, plan), tmp_path / "run")


Trained = tuple[Sites, Plan, TrainingResult]


def asked(sites: Sites, trained: Trained, **changes: object) -> RosterGrid:
    request = EvaluationRequest(run=trained[1].run, model="last")
    task = evaluation_of(request, TASK, trained[2]).model_copy(update=changes)
    return grid_of(sites, plan_of(sites, PlanRequest(purpose="evaluation", evaluation=request), task))


def test_every_patient_of_other_sites_meets_the_model(trained: Trained, tmp_path: Path) -> None:
    """Sums of histograms, and each site's AUC with its interval; the threshold is the training's."""
    others = made(tmp_path, 20)
    grid = asked(others, trained)
    result = run_evaluation(grid, tmp_path / "run")
    assert result.run == trained[1].run
    assert result.test.model == trained[2].tests[-1].model
    assert result.test.pooled.patients == 60
    assert result.test.pooled.threshold == trained[2].tests[-1].pooled.threshold
    assert [site.site_id for site in result.test.sites] == [site.site_id for site in others.values()]
    assert all(site.auc is not None for site in result.test.sites)
    local = grid._grid
    assert isinstance(local, LocalGrid)
    asked_stages = [message.content["config"]["stage"] for message in local.seen]
    assert [stage for stage in asked_stages if stage != "ready"] == [stage for stage in STAGES for _ in others]


def test_a_site_that_had_a_part_refuses(trained: Trained, tmp_path: Path) -> None:
    """Whatever the coordinator's plan says; so does one whose policy does not list the purpose, or without the mode."""
    grid = asked(trained[0], trained)
    with pytest.raises(TooFewSites):
        run_evaluation(grid, tmp_path / "run")
    reasons = {answer.refusal for answer in grid.answers}
    assert reasons == {"SITE_POLICY: this site had a part in that model's training"}
    others = made(tmp_path, 20)
    set_policy(others[20], purposes=["training"])
    others[21] = others[21].model_copy(update={"modes": (Mode.COHORT,)})
    grid = asked(others, trained)
    with pytest.raises(TooFewSites):
        run_evaluation(grid, tmp_path / "run")
    assert {answer.refusal for answer in grid.answers if answer.refusal} == {
        "SITE_POLICY: the purpose evaluation is not allowed",
        "SITE_POLICY: the agreement does not cover the purpose evaluation",
    }


def test_another_model_than_the_plan_names_is_evaluated_nowhere(trained: Trained, tmp_path: Path) -> None:
    """Not by the centre, whose file changed or is gone, nor by a site, which compares the state that it was sent."""
    others = made(tmp_path, 20)
    for changes in ({"sha256": "0" * 64}, {"state_sha256": "0" * 64}, {"round": 9}):
        with pytest.raises(RunFailed):
            run_evaluation(asked(others, trained, **changes), tmp_path / "run")
    lying = asked(others, trained, state_sha256="0" * 64)
    state = load_checkpoint(tmp_path / "run", 2, TASK)
    with pytest.raises(TooFewSites):
        examine(lying, TASK, "evaluate", trained[2].tests[-1].model, state)
    reasons = {answer.refusal for answer in lying.answers if answer.refusal}
    assert "SITE_POLICY: the model is not the one that the plan names" in reasons


def test_what_was_not_tested_or_is_not_whole_is_not_evaluated(trained: Trained) -> None:
    """A run without that model's test, and a model whose norm layers stayed at their sites."""
    request = EvaluationRequest(run=trained[1].run)
    with pytest.raises(PlanInvalid):
        evaluation_of(request, TASK, trained[2].model_copy(update={"tests": ()}))
    task = evaluation_of(EvaluationRequest(run=trained[1].run, model="last"), TASK, trained[2])
    good = plan_of(trained[0], PlanRequest(purpose="evaluation", evaluation=request), task)
    local = task.model_copy(update={"training": TASK.model_copy(update={"strategy": "fedbn"})})
    for changes in ({"evaluated": None}, {"evaluated": local}, {"purpose": "training"}):
        with pytest.raises(PlanInvalid):
            check_plan(good.model_copy(update=changes))
