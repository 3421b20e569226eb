"""Strategies against averages made by hand: of single updates, and of a round whose norm layers stay at the sites."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from coordinator.federation.checkpoints import load_checkpoint
from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import make_strategy, run_training
from shared.crypto.signing import SigningKey
from shared.federation.models.registry import build_model, get_state, norm_places
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.records import Vector
from shared.federation.task import StrategyName, TrainingTask
from site_node.federate.local_layers import LocalLayers
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy, signer_for

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, minimum_cases=1, test_share=0.2, norm="batch")
UPDATES: npt.NDArray[np.float32] = np.array([[0, 0], [1, 4], [2, 0], [3, 1], [100, -50]], np.float32)
Sites = dict[int, FederateSettings]


def aggregated(strategy: StrategyName) -> npt.NDArray[np.float32]:
    """What a strategy makes of five sites' updates, of which the last is far off."""
    made = make_strategy(TrainingTask(strategy=strategy, masked=False), 3)
    replies = []
    for node, update in enumerate(UPDATES):
        asked = Message(RecordDict({"config": ConfigRecord({"x": 1})}), dst_node_id=node + 1, message_type="train")
        metrics = MetricRecord({"num-examples": 10, "loss": 0.1, "reported": 1})
        content = {"arrays": ArrayRecord({"state": Array(update)}), "metrics": metrics}
        replies.append(Message(RecordDict(content), reply_to=asked))
    arrays, _ = made.aggregate_train(1, replies)
    assert arrays is not None
    state: npt.NDArray[np.float32] = arrays["state"].numpy()
    return state


def test_the_median_is_of_each_number() -> None:
    """An update that is far off moves it by one place at most."""
    assert aggregated("fedmedian").tolist() == np.median(UPDATES, axis=0).tolist()


def test_the_trimmed_mean_leaves_out_a_fifth_at_each_end() -> None:
    """Of five updates the least and the greatest of each number."""
    assert aggregated("fedtrimmedavg") == pytest.approx(np.sort(UPDATES, axis=0)[1:-1].mean(axis=0))


def test_krum_chooses_an_update_that_has_near_ones() -> None:
    """The one whose two nearest others (five sites, one liar) are nearest together (Blanchard et al., 2017)."""
    distances = ((UPDATES[:, None] - UPDATES) ** 2).sum(axis=2)
    scores = np.sort(distances, axis=1)[:, 1:3].sum(axis=1)
    assert aggregated("krum").tolist() == UPDATES[scores.argmin()].tolist()


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    by_node = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=24) for n in range(3)}
    for site in by_node.values():
        set_policy(site, minimum_cases=1, unmasked=True)
    return by_node


def trained(sites: Sites, folder: Path, **changes: object) -> tuple[RosterGrid, Vector, Vector]:
    """A run, and its model after each of the two rounds."""
    task = TASK.model_copy(update=changes)
    members = tuple(member_of(site) for site in sites.values())
    plan = complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in sites.items()}
    grid = RosterGrid(LocalGrid(sites), plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, sites.values()))
    run_training(grid, folder)
    return grid, load_checkpoint(folder, 1, task), load_checkpoint(folder, 2, task)


@pytest.mark.slow
@pytest.mark.parametrize("masked", [True, False])
def test_under_fedbn_norm_layers_stay_at_their_site(sites: Sites, tmp_path: Path, *, masked: bool) -> None:
    """What the centre has of them is what it sent first, all else is what FedAvg makes of the same first round.

    Each site goes on with its own, from round to round, and they differ between sites.
    """
    _, average, _ = trained(sites, tmp_path / "average", masked=masked)
    grid, first, second = trained(sites, tmp_path / "own", masked=masked, strategy="fedbn")
    start, places = get_state(build_model(TASK)), norm_places(build_model(TASK))
    for state in (first, second):
        assert np.abs(state - start)[places].max() < 1e-7
        assert np.abs(state - start)[~places].max() > 1e-4
    assert np.abs(average - first)[~places].max() < 1e-6
    assert np.abs(average - first)[places].max() > 1e-3
    task = TASK.model_copy(update={"strategy": "fedbn"})
    own = [
        [
            get_state(LocalLayers(site.folder, grid.plan, task).model_of(second, after=after))[places]
            for after in (0, 1, 2)
        ]
        for site in sites.values()
    ]
    for before, once, twice in own:
        assert np.abs(before - start[places]).max() < 1e-7
        assert (once != twice).any()
    assert (own[0][2] != own[1][2]).any()


@pytest.mark.slow
def test_batch_norms_train_on_no_single_image(sites: Sites, tmp_path: Path) -> None:
    """Where the last batch would have one, there is one batch less."""
    _, first, _ = trained(sites, tmp_path / "run", batch_size=2)
    assert np.isfinite(first).all()
