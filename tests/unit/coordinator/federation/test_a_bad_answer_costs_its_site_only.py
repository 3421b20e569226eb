"""Whatever a site answers, the run goes on without that answer, and the site's refusal says what was wrong with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.crypto.signing import SigningKey
from shared.errors.federation import TooFewSites
from shared.federation.plan import PlanRequest, complete_plan, sign_plan
from shared.federation.task import TrainingTask
from site_node.federate.site import FederateSettings
from tests.factories.local_grid import LocalGrid
from tests.factories.site_homes import PROTOCOL, make_site, member_of, set_policy

pytestmark = pytest.mark.slow

KEY = SigningKey.generate()
TASK = TrainingTask(
    image_size=32,
    rounds=1,
    local_epochs=1,
    minimum_cases=1,
    validation_share=0.3,
    update_norm=50,
    masked=False,
    test_share=0,
)
LIAR = 12

Change = Callable[[RecordDict], dict[str, Any]]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[int, FederateSettings]:
    folder = tmp_path_factory.mktemp("sites")
    by_node = {10 + n: make_site(folder / str(n), f"{200000 + n}", KEY, images=24) for n in range(4)}
    for site in by_node.values():
        set_policy(site, minimum_cases=1, unmasked=True)
    return by_node


class LyingGrid(LocalGrid):
    """A grid in which one node's answers of `kind` are changed."""

    def __init__(self, sites: dict[int, FederateSettings], kind: str, change: Change) -> None:
        super().__init__(sites)
        self.kind, self.change = kind, change

    def _answer(self, message: Message, name: str) -> str:
        super()._answer(message, name)
        reply = self._replies[name]
        if message.metadata.dst_node_id == LIAR and message.metadata.message_type == self.kind:
            changed = {**reply.content, **self.change(reply.content)}
            content = RecordDict({name: record for name, record in changed.items() if record is not None})
            self._replies[name] = Message(content, reply_to=message)
        return name


def state(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"arrays": ArrayRecord({"state": Array(values)})}


def number(content: RecordDict, **values: Any) -> dict[str, Any]:
    metrics = {**content["metrics"], **{name.replace("_", "-"): value for name, value in values.items()}}
    return {"metrics": MetricRecord({name: value for name, value in metrics.items() if value is not None})}


def old(content: RecordDict) -> np.ndarray[Any, Any]:
    kept: np.ndarray[Any, Any] = content["arrays"]["state"].numpy().copy()
    return kept


def nan(content: RecordDict) -> dict[str, Any]:
    values = old(content)
    values[-1] = np.nan
    return state(values)


def strings(content: RecordDict) -> dict[str, Any]:
    return {"metrics": ConfigRecord({name: str(value) for name, value in content["metrics"].items()})}


def bomb(content: RecordDict) -> dict[str, Any]:
    array = content["arrays"]["state"]
    data = array.data.replace(b"(%d,)" % array.shape[0], b"(%d,)" % 10**15)
    return {"arrays": ArrayRecord({"state": Array("float32", (10**15,), "numpy.ndarray", data)})}


TRAIN: dict[str, tuple[Change, str]] = {
    "not a number": (nan, "not numbers"),
    "wrong length": (lambda content: state(old(content)[1:]), "not an array of"),
    "another kind": (lambda content: state(old(content).astype(np.float64)), "not an array of"),
    "a header that asks for a petabyte": (bomb, "not an array of"),
    "other keys": (lambda content: {"arrays": ArrayRecord({"weights": Array(old(content))})}, "other arrays"),
    "strings": (strings, "other records"),
    "no record": (lambda _: {"metrics": None}, "other records"),
    "one more record": (lambda _: {"extra": MetricRecord({"x": 1})}, "other records"),
    "no weight": (lambda content: number(content, num_examples=None), "other numbers"),
    "a list as weight": (lambda content: number(content, num_examples=[1, 2]), "other numbers"),
    "a huge weight": (lambda content: number(content, num_examples=10**15), "number of images"),
    "a negative weight": (lambda content: number(content, num_examples=-5), "number of images"),
    "a broken weight": (lambda content: number(content, num_examples=17.5), "number of images"),
    "an infinite loss": (lambda content: number(content, loss=float("inf")), "is not finite"),
    "a model far away": (lambda content: state(old(content) + np.float32(9)), "changed more"),
    "a model of huge values": (lambda content: state(old(content) + np.float32(3e38)), "changed more"),
}
EVALUATE: dict[str, tuple[Change, str]] = {
    "an AUC above 1": (lambda content: number(content, auc=1.5), "out of range"),
    "a huge weight": (lambda content: number(content, num_examples=10**15), "number of images"),
    "no AUC": (lambda content: number(content, auc=None), "other numbers"),
}
CASES = [("train", *case) for case in TRAIN.values()] + [("evaluate", *case) for case in EVALUATE.values()]


def run(local: LocalGrid, folder: Path) -> tuple[RosterGrid, Any]:
    members = tuple(member_of(site) for site in local.sites.values())
    plan = complete_plan(PlanRequest(purpose="training", training=TASK), members=members, protocol_digest=PROTOCOL)
    nodes = {site.site_id: node for node, site in local.sites.items()}
    grid = RosterGrid(local, plan, sign_plan(plan, KEY), lambda: nodes)
    return grid, lambda: run_training(grid, folder)


@pytest.mark.parametrize(
    ("kind", "change", "reason"), CASES, ids=[*TRAIN, *(f"evaluation: {name}" for name in EVALUATE)]
)
def test_a_bad_answer_costs_its_site_only(
    sites: dict[int, FederateSettings], tmp_path: Path, kind: str, change: Change, reason: str
) -> None:
    """The other three go on, and the result names the fourth and the reason."""
    _, started = run(LyingGrid(sites, kind, change), tmp_path)
    result = started()
    assert [refusal.site_id for refusal in result.refusals] == [sites[LIAR].site_id]
    assert reason in result.refusals[0].reason
    assert len(result.rounds) == 1


def test_its_zeros_are_not_in_the_model(sites: dict[int, FederateSettings], tmp_path: Path) -> None:
    """The model of a round with a liar is the one of a round without it."""
    lying = LyingGrid(
        sites, "train", lambda content: {**state(old(content) * 0), **number(content, num_examples=10**15)}
    )
    honest = {node: site for node, site in sites.items() if node != LIAR}
    digests = {run(grid, tmp_path / name)[1]().model_sha256 for name, grid in (("a", lying), ("b", LocalGrid(honest)))}
    assert len(digests) == 1


def test_with_too_few_good_answers_the_run_ends_and_names_the_bad(
    sites: dict[int, FederateSettings], tmp_path: Path
) -> None:
    """A bad answer counts as none."""
    three = {node: sites[node] for node in (10, 11, LIAR)}
    grid, started = run(LyingGrid(three, "train", nan), tmp_path)
    with pytest.raises(TooFewSites):
        started()
    assert [answer.site for answer in grid.answers if answer.refusal] == [sites[LIAR].site_id]
