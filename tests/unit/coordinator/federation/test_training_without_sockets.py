"""Federated training over real client apps and real strategies, without sockets."""

from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from safetensors.torch import load_file

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.kept_runs import KeptRuns
from coordinator.federation.results import TrainingResult
from coordinator.federation.server_app import FOLDER, app
from coordinator.federation.training import make_strategy, pooled, run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunFailed, TooFewSites
from shared.errors.transport import StoreUnreachable
from shared.federation.plan import Plan, PlanRequest, complete_plan, sign_plan
from shared.federation.task import COMPARING, StrategyName, TrainingTask
from site_node.federate.dataset import load_split
from site_node.federate.site import FederateSettings
from site_node.home.library import load_library
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(
    image_size=32, rounds=3, local_epochs=2, learning_rate=0.003, minimum_cases=1, validation_share=0.3, test_share=0.0
)

ROUND = 2 * 5 * 3  # messages of a masked round: two sums of five stages over three sites

Sites = dict[int, FederateSettings]


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    by_node = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(3)}
    for site in by_node.values():
        set_policy(site, minimum_cases=1)
    return by_node


def plan_for(sites: Sites, task: TrainingTask = TASK) -> Plan:
    members = tuple(member_of(site) for site in sites.values())
    return complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)


def roster_grid(sites: Sites, plan: Plan, local: LocalGrid | None = None) -> RosterGrid:
    nodes = {site.site_id: node for node, site in sites.items()}
    signer = signer_for(KEY, sites.values())
    return RosterGrid(local or LocalGrid(sites), plan, sign_plan(plan, KEY), lambda: nodes, signer)


def test_three_sites_learn_in_three_rounds(sites: Sites, tmp_path: Path) -> None:
    """Figures of every round and site, a checkpoint per round, and a model that has learned."""
    app(roster_grid(sites, plan_for(sites)), Context(1, 1, {}, RecordDict(), {FOLDER: str(tmp_path)}))
    result = TrainingResult.model_validate_json((tmp_path / "metrics.json").read_bytes())
    assert [finished.round for finished in result.rounds] == [1, 2, 3]
    assert all(len(finished.sites) == 3 and (finished.seconds or 0) > 0 for finished in result.rounds)
    assert all(site.auc is not None for finished in result.rounds for site in finished.sites)
    assert all(
        finished.training_images == sum(training_images(site) for site in sites.values()) for finished in result.rounds
    )
    assert (result.rounds[-1].training_loss or 9) < (result.rounds[0].training_loss or 0)
    assert (result.rounds[-1].auc or 0) > 0.7
    assert sorted(file.name for file in tmp_path.glob("*.safetensors")) == [f"round-{n}.safetensors" for n in (1, 2, 3)]
    assert not result.refusals


def training_images(site: FederateSettings) -> int:
    return len(load_split(site.library, load_library(site.library), TASK).training.labels)


@pytest.mark.parametrize("name", ["fedavg", "fedadam"])
def test_masks_change_the_model_by_less_than_its_rounding(sites: Sites, tmp_path: Path, name: StrategyName) -> None:
    """After a round the weights are those of an unmasked run, to the fixed point's precision and that of float32."""
    states = []
    for masked in (True, False):
        for site in sites.values():
            set_policy(site, unmasked=not masked)
        task = TASK.model_copy(update={"rounds": 1, "masked": masked, "strategy": name})
        run_training(roster_grid(sites, plan_for(sites, task)), tmp_path / str(masked))
        states.append(load_checkpoint(tmp_path / str(masked), 1, task))
    change = np.abs(states[0] - states[1])
    assert np.quantile(change, 0.99) < 1e-6  # FedAdam divides by small numbers, so few weights may differ by more
    assert change.max() < 0.01


def test_a_site_trains_without_masks_only_where_its_policy_says_so(sites: Sites, tmp_path: Path) -> None:
    """A first policy does not: the refusal names it."""
    grid = roster_grid(sites, plan_for(sites, TASK.model_copy(update={"masked": False})))
    with pytest.raises(TooFewSites):
        run_training(grid, tmp_path)
    assert {answer.refusal for answer in grid.answers} == {"SITE_POLICY: training without masks is not allowed"}


@pytest.mark.parametrize("masked", [True, False])
def test_a_site_with_few_patients_trains_nothing(sites: Sites, tmp_path: Path, *, masked: bool) -> None:
    """Masked or not, it refuses and says why, before its model is asked for."""
    for site in sites.values():
        set_policy(site, unmasked=True, minimum_patients=25)
    grid = roster_grid(sites, plan_for(sites, TASK.model_copy(update={"masked": masked})))
    with pytest.raises(TooFewSites):
        run_training(grid, tmp_path)
    reasons = {answer.refusal for answer in grid.answers}
    assert reasons == {"SITE_POLICY: fewer than 25 patients here have that label and such images"}
    assert len(grid.answers) == 3


def test_the_same_plan_gives_the_same_model(sites: Sites, tmp_path: Path) -> None:
    """A run is deterministic: same data, plan and seed, same bytes."""
    task = TASK.model_copy(update={"rounds": 1})
    digests = set()
    for name in ("a", "b"):
        result = run_training(roster_grid(sites, plan_for(sites, task)), tmp_path / name)
        digests.add(result.model_sha256)
    assert len(digests) == 1


def test_a_run_goes_on_from_its_last_checkpoint(sites: Sites, tmp_path: Path) -> None:
    """Cut off after a round, the second start runs only the remaining rounds, and the figures cover all."""
    plan = plan_for(sites)
    local = LocalGrid(sites)
    first = roster_grid(sites, plan, local)
    first.stop_when(lambda: len(local.seen) >= ROUND)
    with pytest.raises(RunFailed):
        run_training(first, tmp_path)
    again = LocalGrid(sites)
    result = run_training(roster_grid(sites, plan, again), tmp_path)
    assert [finished.round for finished in result.rounds] == [1, 2, 3]
    assert [message.content["config"]["server-round"] for message in again.seen] == [2] * ROUND + [3] * ROUND


class FilesInMemory:
    """`SharedFiles` that fail once `limit` files were kept."""

    def __init__(self, limit: int = 99) -> None:
        self.files = dict[str, bytes]()
        self._limit = limit

    def keep(self, name: str, file: Path) -> None:
        """A copy."""
        if len(self.files) >= self._limit:
            raise StoreUnreachable(kind="bucket", setting="store.sealed")
        self.files[name] = file.read_bytes()

    def fetch(self, name: str, file: Path) -> bool:
        """The copy."""
        if name in self.files:
            file.write_bytes(self.files[name])
        return name in self.files


@pytest.mark.parametrize(("limit", "goes_on_after"), [(99, 1), (1, 0)])
def test_another_process_goes_on_with_a_run(sites: Sites, tmp_path: Path, limit: int, goes_on_after: int) -> None:
    """It has no file of the first one but those that were kept; what was kept in part only is done again."""
    plan, kept = plan_for(sites), KeptRuns(FilesInMemory(limit))
    local = LocalGrid(sites)
    first, ours, theirs = roster_grid(sites, plan, local), tmp_path / "ours", tmp_path / "theirs"
    first.round_kept = lambda: kept.keep(plan.run, ours)
    first.stop_when(lambda: len(local.seen) >= ROUND)
    with pytest.raises(RunFailed):
        run_training(first, ours)
    theirs.mkdir()
    kept.fetch(plan.run, theirs)
    again = LocalGrid(sites)
    result = run_training(roster_grid(sites, plan, again), theirs)
    assert [finished.round for finished in result.rounds] == [1, 2, 3]
    assert len(again.seen) == ROUND * (3 - goes_on_after)


def test_a_checkpoint_without_its_figures_is_no_finished_round(sites: Sites, tmp_path: Path) -> None:
    """A kill between the two: the round is trained again, and its figures are in the result."""
    plan, local = plan_for(sites), LocalGrid(sites)
    first = roster_grid(sites, plan, local)
    first.stop_when(lambda: len(local.seen) >= ROUND)
    with pytest.raises(RunFailed):
        run_training(first, tmp_path)
    (tmp_path / "metrics.json").unlink()
    result = run_training(roster_grid(sites, plan), tmp_path)
    assert [finished.round for finished in result.rounds] == [1, 2, 3]


def test_a_refusal_is_visible_and_ends_a_run_below_its_minimum(sites: Sites, tmp_path: Path) -> None:
    """Two of three willing sites are too few; the third site's reason is recorded."""
    set_policy(sites[11], models=[])
    grid = roster_grid(sites, plan_for(sites))
    with pytest.raises(TooFewSites):
        run_training(grid, tmp_path)
    assert [answer.refusal for answer in grid.answers if answer.refusal] == ["SITE_POLICY: the model is not allowed"]
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_site_that_is_away_ends_a_run_of_three(sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run waits for the roster, then fails instead of waiting for ever as Flower's strategies do."""
    monkeypatch.setattr("coordinator.federation.grid._GATHER_SECONDS", 0.3)
    local = LocalGrid(sites)
    local.away.add(11)
    with pytest.raises(TooFewSites):
        run_training(roster_grid(sites, plan_for(sites), local), tmp_path)
    assert not local.seen


def test_figures_of_a_site_with_few_cases_stay_there(sites: Sites, tmp_path: Path) -> None:
    """Below the minimum of cases in a class a site reports nothing of its evaluation; others their AUC only."""
    set_policy(sites[10], minimum_cases=500)
    result = run_training(roster_grid(sites, plan_for(sites, TASK.model_copy(update={"rounds": 1}))), tmp_path)
    figures = {site.site_id: site for site in result.rounds[0].sites}
    silent = figures[sites[10].site_id]
    assert (silent.auc, silent.images, silent.loss) == (None, None, None)
    reported = [figures[sites[node].site_id] for node in (11, 12)]
    assert all(site.auc == round(site.auc or 0, 2) and site.images is None and site.loss is None for site in reported)


@pytest.mark.parametrize("name", ["fedprox", "fedadam", "fedavgm", "fedyogi", "fedadagrad", *COMPARING])
def test_every_strategy_runs(sites: Sites, tmp_path: Path, name: StrategyName) -> None:
    """One round of each of Flower's strategies changes the model and leaves a checkpoint."""
    for site in sites.values():
        set_policy(site, unmasked=name in COMPARING)
    changes = {"strategy": name, "masked": name not in COMPARING, "proximal_mu": 0.1 if name == "fedprox" else 0.0}
    task = TASK.model_copy(update={"rounds": 1, "local_epochs": 1, **changes})
    run_training(roster_grid(sites, plan_for(sites, task)), tmp_path)
    assert load_file(tmp_path / "round-1.safetensors")


def test_a_server_app_without_a_roster_does_nothing() -> None:
    """Flower's own grid knows no plan, so the app refuses it."""
    with pytest.raises(PlanInvalid):
        app(LocalGrid({}), Context(1, 1, {}, RecordDict(), {}))


def test_pooling_figures_of_no_site_is_no_figure() -> None:
    """When every site withholds its figures, the mean says that no site reported."""
    assert pooled([], "num-examples")["reported"] == 0
    assert type(make_strategy(TASK, 3)).__name__ == "FedAvg"
