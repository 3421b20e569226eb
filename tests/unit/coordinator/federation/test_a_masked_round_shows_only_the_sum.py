"""Masked rounds over real client apps, without sockets: what sites send, and what becomes of liars and dropouts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from coordinator.federation.grid import RosterGrid
from coordinator.federation.masked import nested
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import PlanInvalid, RunFailed, TooFewSites
from shared.federation.plan import TESTS, PlanRequest, complete_plan, sign_plan
from shared.federation.secure_sum.messages import STAGES
from shared.federation.task import TrainingTask
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, signer_for
from tests.factories.summing import sites as names

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(image_size=32, rounds=2, local_epochs=1, minimum_cases=1, update_norm=50)
LIAR = 13


@pytest.fixture
def sites(tmp_path: Path) -> dict[int, FederateSettings]:
    return {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=20) for n in range(4)}


class Watched(LocalGrid):
    """A grid that keeps every answer, and changes those of one node."""

    def __init__(self, sites: dict[int, FederateSettings]) -> None:
        super().__init__(sites)
        self.answered: list[Message] = []

    def _answer(self, message: Message, name: str) -> str:
        super()._answer(message, name)
        if message.metadata.dst_node_id == LIAR:
            self._replies[name] = Message(RecordDict(self.changed(message, self._replies[name])), reply_to=message)
        self.answered.append(self._replies[name])
        return name

    def changed(self, message: Message, reply: Message) -> dict[str, Any]:
        """What the node really sends."""
        return dict(reply.content)


def started(local: LocalGrid, task: TrainingTask = TASK) -> RosterGrid:
    members = tuple(member_of(site) for site in local.sites.values())
    plan = complete_plan(PlanRequest(purpose="training", training=task), members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in local.sites.items()}
    return RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes, signer_for(KEY, local.sites.values()))


def test_sites_send_words_and_nothing_else(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """Five stages each: of a round of training no number beside the payload, of an evaluation at most the own AUC.

    Of a test at most that with its interval.
    """
    local = Watched(sites)
    result = run_training(started(local), tmp_path)
    assert [finished.round for finished in result.rounds] == [1, 2]
    asked = [message.content["config"]["stage"] for message in local.seen]
    assert asked == [stage for _ in range(4 + len(result.tests)) for stage in STAGES for _ in sites]
    for message, reply in zip(local.seen, local.answered, strict=True):
        kind = message.metadata.message_type
        own = set() if kind == "train" else {"metrics"}
        mask = message.content["config"]["stage"] == "mask"
        assert set(reply.content) == ({"arrays"} | own if mask else {"config"})
        assert set(message.content) == ({"config", "arrays"} if mask else {"config"})
        ends = {"auc-low", "auc-high"} if kind in TESTS else set()
        assert set(reply.content.get("metrics", {})) <= {"auc", "reported", *ends}


class AddsALot(Watched):
    def changed(self, message: Message, reply: Message) -> dict[str, Any]:
        """Words that make every weight huge, as of a site that does not clip."""
        if message.content["config"]["stage"] != "mask" or message.metadata.message_type != "train":
            return dict(reply.content)
        words = np.frombuffer(reply.content["arrays"]["state"].data, dtype=np.uint64).copy()
        words[4:] += np.uint64(2**40)  # after the session, the accused and the number of images
        return {"arrays": ArrayRecord({"state": Array("uint8", (words.nbytes,), "bytes", words.tobytes())})}


def test_a_sum_that_cannot_be_one_fails_its_round(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """The reason says that a site lied and that masks hide which one; no checkpoint is written."""
    with pytest.raises(RunFailed) as caught:
        run_training(started(AddsALot(sites)), tmp_path)
    assert "masks hide which one" in caught.value.public
    assert not list(tmp_path.glob("*.safetensors"))


class SendsAWord(Watched):
    def changed(self, message: Message, reply: Message) -> dict[str, Any]:
        """A number that is none of a masked answer's."""
        return {**reply.content, "metrics": MetricRecord({"num-examples": 5})}


def test_a_masked_answer_in_another_form_costs_its_site_only(
    sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """It is that site's refusal, and the sums go on over the other three."""
    result = run_training(started(SendsAWord(sites)), tmp_path)
    assert len(result.rounds) == 2
    assert {refusal.site_id for refusal in result.refusals} == {sites[LIAR].site_id}
    assert "does not count" in result.refusals[0].reason


class GivesAWrongShare(Watched):
    def changed(self, message: Message, reply: Message) -> dict[str, Any]:
        """Seeds that hold one share too many."""
        config = reply.content.get("config")
        if config is not None and message.content["config"]["stage"] == "unmask":
            config["payload"] = config["payload"].replace(b'"seeds":{"', b'"seeds":{"100009":"00","')
        return dict(reply.content)


def test_a_liar_about_shares_is_named_in_the_result(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """The round goes on without its shares, and the result says so."""
    result = run_training(started(GivesAWrongShare(sites)), tmp_path)
    assert len(result.rounds) == 2
    assert {refusal.site_id for refusal in result.refusals} == {sites[LIAR].site_id}


def test_a_site_lost_after_a_round_ends_a_small_run(
    sites: dict[int, FederateSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over three sites of four the next average would show the fourth; the first round's model stays."""
    local = LocalGrid(sites)
    grid = started(local)
    grid.round_kept = lambda: local.away.add(LIAR)
    monkeypatch.setattr("coordinator.federation.grid._GRACE_SECONDS", 0.0)
    with pytest.raises(TooFewSites):
        run_training(grid, tmp_path)
    assert [file.name for file in tmp_path.glob("*.safetensors")] == ["round-1.safetensors"]


def test_a_large_run_goes_on_over_three_sites_fewer_also_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight sites one is lost after a round: five go on, and the same five when all are back after a restart."""
    sites = {10 + n: make_site(tmp_path / str(n), f"{200000 + n}", KEY, images=20) for n in range(8)}
    local = LocalGrid(sites)
    grid = started(local, TASK.model_copy(update={"rounds": 3, "test_share": 0.0}))
    grid.round_kept = lambda: local.away.add(LIAR)
    grid.stop_when(lambda: len(local.seen) >= 2 * 5 * (8 + 7) - 4 * 2)  # two of seven sign nothing in two sums
    monkeypatch.setattr("coordinator.federation.grid._GRACE_SECONDS", 0.0)
    with pytest.raises(RunFailed):
        run_training(grid, tmp_path / "run")
    again = RosterGrid(LocalGrid(sites), grid.plan, grid.signed, grid._nodes, grid.signer)
    result = run_training(again, tmp_path / "run")
    five = [site.site_id for site in sites.values() if site != sites[LIAR]][:5]
    assert [len(finished.summed) for finished in result.rounds] == [8, 5, 5]
    assert all(list(finished.summed) == five for finished in result.rounds[1:])


@pytest.mark.parametrize(
    ("previous", "lost", "stay"), [(0, 0, 8), (8, 0, 8), (8, 1, 5), (8, 2, 5), (8, 3, 5), (8, 4, 4), (5, 0, 5)]
)
def test_the_next_sum_is_over_the_same_sites_or_three_fewer(previous: int, lost: int, stay: int) -> None:
    """Never over one or two fewer, nor over sites that were not in the last one."""
    present = tuple(names(8)[: 8 - lost])
    assert nested(names(previous), present) == present[:stay]


def test_without_a_key_that_signs_sums_nothing_starts(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """Masks need one; the run says so."""
    grid = started(LocalGrid(sites))
    grid.signer = None
    with pytest.raises(PlanInvalid):
        run_training(grid, tmp_path)
