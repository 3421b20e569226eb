"""The end of a training over real client apps: pooled figures of the test patients, each site's own, once."""

from pathlib import Path

import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from coordinator.federation.checkpoints import finished_rounds, load_checkpoint
from coordinator.federation.ending import final_test
from coordinator.federation.grid import RosterGrid
from coordinator.federation.results import ModelTest
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import TooFewSites
from shared.federation.averaging import state_digest
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.secure_sum.messages import STAGES
from shared.federation.task import TrainingTask
from site_node.federate.dataset import load_split
from site_node.federate.site import FederateSettings
from site_node.home.library import load_library
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(
    image_size=32,
    rounds=2,
    local_epochs=1,
    learning_rate=0.003,
    minimum_cases=2,
    validation_share=0.3,
    test_share=0.4,
    seed=2,
)
Sites = dict[int, FederateSettings]


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    by_node = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(3)}
    for site in by_node.values():
        set_policy(site, minimum_cases=2, unmasked=True)
    return by_node


def started(local: LocalGrid, task: TrainingTask = TASK) -> RosterGrid:
    members = tuple(member_of(site) for site in local.sites.values())
    plan = complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in local.sites.items()}
    return RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, local.sites.values()))


def test_the_best_and_the_last_model_meet_every_test_patient(sites: Sites, tmp_path: Path) -> None:
    """Their figures have intervals, and each site's are rounded; the files of both models stay, and are named."""
    local = LocalGrid(sites)
    result = run_training(started(local), tmp_path / "run")
    assert result == finished_rounds(tmp_path / "run")
    assert result.best in (1, 2)
    assert [test.model.round for test in result.tests] == ([1, 2] if result.best == 1 else [2])
    patients = sum(
        len(load_split(site.library, load_library(site.library), TASK).test.labels) for site in sites.values()
    )
    for test in result.tests:
        judge(test, patients)
        assert test.model.file in result.files
        assert test.model.state_sha256 == state_digest(load_checkpoint(tmp_path / "run", test.model.round, TASK))
        assert set(test.summed) == {site.site_id for site in sites.values()}
    kinds = [message.metadata.message_type for message in local.seen if message.metadata.message_type != "query"]
    end = len(result.tests) * len(STAGES) * len(sites)
    assert all(kind in ("train", "evaluate") for kind in kinds[:-end])
    assert all(kind in ("evaluate.best", "evaluate.last") for kind in kinds[-end:])


def judge(test: ModelTest, patients: int) -> None:
    pooled = test.pooled
    assert pooled.patients == patients
    for figure in (pooled.auc, pooled.sensitivity, pooled.specificity, pooled.brier):
        assert figure is not None
        assert 0 <= figure.low <= figure.value <= figure.high <= 1
    assert pooled.points
    assert len(test.sites) == 3
    for site in test.sites:
        assert site.auc is not None
        assert all(value == round(value, 2) for value in (site.auc.value, site.auc.low, site.auc.high))


def test_the_figures_are_the_same_without_masks(sites: Sites, tmp_path: Path) -> None:
    """A run without masks sums its test all the same: no site's histogram is seen."""
    local = LocalGrid(sites)
    plain = run_training(started(local, TASK.model_copy(update={"masked": False})), tmp_path / "plain")
    masked = run_training(started(LocalGrid(sites)), tmp_path / "masked")
    tests = [message for message in local.seen if message.metadata.message_type.startswith("evaluate.")]
    assert {message.content["config"]["stage"] for message in tests} == set(STAGES)
    first, second = plain.tests[-1].pooled.auc, masked.tests[-1].pooled.auc
    assert first is not None
    assert second is not None
    assert first.value == pytest.approx(second.value, abs=1e-3)


def test_a_run_that_was_tested_is_neither_trained_nor_tested_again(sites: Sites, tmp_path: Path) -> None:
    """A site answers one retry; the third question about the test patients, and any training after, is refused."""
    grid = started(LocalGrid(sites))
    result = run_training(grid, tmp_path / "run")
    assert final_test(grid, TASK, tmp_path / "run", result) == result  # nothing is asked again
    forgotten = result.model_copy(update={"tests": ()})
    assert final_test(grid, TASK, tmp_path / "run", forgotten).tests == result.tests
    with pytest.raises(TooFewSites):
        final_test(grid, TASK, tmp_path / "run", forgotten)
    assert {answer.refusal for answer in grid.answers if answer.refusal} == {"SITE_POLICY: it was asked before"}
    state = ArrayRecord({"state": Array(load_checkpoint(tmp_path / "run", 1, TASK))})
    config = ConfigRecord({"plan": grid.signed, "server-round": 1, "stage": "advertise", "payload": b""})
    [reply] = grid.exchange(
        [Message(RecordDict({"arrays": state, "config": config}), dst_node_id=10, message_type="train")]
    ) or [None]
    assert reply is None
    assert grid.answers[-1].refusal == "SITE_POLICY: the test patients of this run were used: it trains no further"


def test_figures_of_few_cases_stay_at_the_site(sites: Sites, tmp_path: Path) -> None:
    """The site is in the pooled figures all the same; with too few cases in all there are none of these either."""
    set_policy(sites[10], minimum_cases=500)
    result = run_training(started(LocalGrid(sites)), tmp_path / "run")
    reported = {site.site_id: site.auc is not None for site in result.tests[-1].sites}
    assert reported == {"200000": False, "200001": True, "200002": True}
    assert len(result.tests[-1].summed) == 3
    few = run_training(started(LocalGrid(sites), TASK.model_copy(update={"minimum_cases": 400})), tmp_path / "few")
    assert few.best is not None  # by the loss
    assert few.tests[-1].pooled.auc is None
    assert not few.tests[-1].pooled.points


def test_each_site_alone_is_compared_where_the_plan_asks(sites: Sites, tmp_path: Path) -> None:
    """Its AUC of the test patients with an interval, and nothing else; where the plan does not ask, a site refuses."""
    local = LocalGrid(sites)
    grid = started(local, TASK.model_copy(update={"baseline": True}))
    result = run_training(grid, tmp_path / "run")
    assert [site.site_id for site in result.alone] == ["200000", "200001", "200002"]
    assert all(site.auc is not None and site.auc.low <= site.auc.value <= site.auc.high for site in result.alone)
    asked = [message for message in local.seen if message.metadata.message_type == "evaluate.alone"]
    assert len(asked) == 3
    assert all(set(message.content) == {"config"} for message in asked)
    other = started(LocalGrid(sites))
    task = TASK.model_copy(update={"baseline": True})
    result = run_training(other, tmp_path / "other")
    assert final_test(other, task, tmp_path / "other", result).alone == ()
    assert other.answers[-1].refusal == "SITE_POLICY: the plan asks for no model of this site alone"
