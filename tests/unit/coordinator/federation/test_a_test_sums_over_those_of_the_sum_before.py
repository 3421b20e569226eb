"""The end of a training asks each model once, over the sites of the sum before, and keeps each step."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.federation import ending
from coordinator.federation.ending import final_test, refusals_of
from coordinator.federation.grid import Answer
from coordinator.federation.results import (
    KeptModel,
    ModelTest,
    PooledFigures,
    Refusal,
    RoundResult,
    SiteTest,
    TrainingResult,
    best_round,
    evaluation_of,
)
from coordinator.federation.training import run_training
from shared.errors.federation import PlanInvalid, TooFewSites
from shared.federation.plan import ALONE, BEST, LAST, EvaluationRequest
from shared.federation.task import TrainingTask
from shared.ids import RunId, Sha256, SiteId

SITES = tuple(map(SiteId, ("100000", "123456", "419639", "654321")))
TASK = TrainingTask(rounds=2, test_share=0.2, baseline=True)
DIGEST = Sha256("0" * 64)


def round_(number: int, *, auc: float | None = None, loss: float | None = None) -> RoundResult:
    return RoundResult(
        round=number, training_images=1, training_loss=None, auc=auc, validation_loss=loss, sites=(), summed=SITES
    )


def outcome(number: int, summed: Sequence[SiteId]) -> ModelTest:
    model = KeptModel(round=number, file=f"round-{number}", sha256=DIGEST, state_sha256=DIGEST)
    return ModelTest(model=model, pooled=PooledFigures(patients=1), sites=(), worst=None, summed=tuple(summed))


def result_of(*rounds: RoundResult, **more: Any) -> TrainingResult:
    best = best_round(rounds)
    return TrainingResult(rounds=rounds, refusals=(), model="m", model_sha256=None, best=best, **more)


class Grid:
    """Whom it asked, and what it keeps; site 654321 refuses every test."""

    signed = "a signed plan"

    def __init__(self) -> None:
        self.answers = [Answer(SITES[0], "train", 1, {}, "ill")]
        self.started: list[int] = []
        self.kept = 0
        self.asked: list[Any] = []

    def start_after(self, done: int) -> None:
        self.started.append(done)

    def get_node_ids(self) -> list[int]:
        return [1, 2]

    def exchange(self, messages: list[Any]) -> None:
        self.asked += messages

    def round_kept(self) -> None:
        self.kept += 1


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, tuple[SiteId, ...]]]:
    """Each examination: its kind, round, and the sites of the sum before; one site is lost in each."""
    seen = list[tuple[str, int, tuple[SiteId, ...]]]()

    def examine(grid: Grid, _: object, kind: str, model: int, __: object, *, summed: tuple[SiteId, ...]) -> ModelTest:
        seen.append((kind, model, summed))
        grid.answers.append(Answer(SITES[3], kind, model, {}, "policy"))
        return outcome(model, summed[:-1])

    monkeypatch.setattr(ending, "load_checkpoint", lambda *_: None)
    monkeypatch.setattr(ending, "kept_model", lambda _folder, number, _state: number)
    monkeypatch.setattr(ending, "examine", examine)
    monkeypatch.setattr(ending, "_message", lambda *_: SimpleNamespace(kind=_[1], round=_[2], node=_[4]))
    monkeypatch.setattr(ending, "save_result", lambda *_: None)
    return seen


def end(grid: Any, result: TrainingResult, task: TrainingTask = TASK) -> TrainingResult:
    return final_test(grid, task, Path("run"), result)


def test_the_second_model_is_tested_over_those_of_the_first(examined: list[Any]) -> None:
    """A sum over others, once a site is lost, would show that site by the difference."""
    grid = Grid()
    result = end(grid, result_of(round_(1, auc=0.9), round_(2, auc=0.8)))
    assert examined == [(BEST, 1, SITES), (LAST, 2, SITES[:-1])]
    assert [test.model.round for test in result.tests] == [1, 2]
    assert (grid.started, grid.kept) == ([0], 3)
    assert [(each.kind, each.round, each.node) for each in grid.asked] == [(ALONE, 2, 1), (ALONE, 2, 2)]


def test_what_was_tested_is_not_asked_again(examined: list[Any]) -> None:
    """After a restart between the two, the second goes on from the first; a model that is both is asked for once."""
    rounds = round_(1, auc=0.9), round_(2, auc=0.8)
    first = outcome(1, SITES[:2])
    result = end(Grid(), result_of(*rounds, tests=(first,)))
    assert examined == [(LAST, 2, SITES[:2])]
    assert result.tests[0] == first
    examined.clear()
    end(Grid(), result_of(round_(1, auc=0.8), round_(2, auc=0.9)))
    end(Grid(), result_of(round_(1), round_(2)))
    assert [each[:2] for each in examined] == [(LAST, 2), (LAST, 2)]


@pytest.mark.parametrize("test_share", [0.0, 0.2])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("alone", [(), (SiteTest(site_id=SITES[0]),)])
def test_sites_models_of_their_own_are_asked_for_once(
    examined: list[Any], test_share: float, baseline: bool, alone: tuple[SiteTest, ...]
) -> None:
    """Where the plan asks for them and keeps patients for a test; without these no model is tested."""
    grid, task = Grid(), TASK.model_copy(update={"test_share": test_share, "baseline": baseline})
    end(grid, result_of(round_(1, auc=0.9), alone=alone), task)
    assert len(examined) == bool(test_share)
    assert bool(grid.asked) == (bool(test_share) and baseline and not alone)


def test_each_refusal_of_a_test_is_kept_once(examined: list[Any]) -> None:
    """Beside those of rounds, which the result has already."""
    grid = Grid()
    result = end(grid, result_of(round_(1, auc=0.9), round_(2, auc=0.8)))
    assert result.refusals == tuple(Refusal(round=n, site_id=SITES[3], reason="policy") for n in (1, 2))
    assert examined
    again: Any = grid
    grid.answers += [*grid.answers, Answer(None, BEST, 1, {}, "nobody"), Answer(SITES[1], BEST, 1, {}, None)]
    assert refusals_of(again, (BEST,)) == result.refusals[:1]
    assert refusals_of(again, ("train",)) == (Refusal(round=1, site_id=SITES[0], reason="ill"),)


def test_an_evaluation_is_of_a_model_that_was_tested() -> None:
    """The best or the last, by its digests and its threshold."""
    result = result_of(round_(1, auc=0.9), round_(2, auc=0.8), tests=(outcome(1, SITES),))
    request = EvaluationRequest(run=RunId("R-0123456789ab"))
    task = evaluation_of(request, TASK, result)
    assert (task.run, task.round, task.training) == (request.run, 1, TASK)
    with pytest.raises(PlanInvalid):
        evaluation_of(request.model_copy(update={"model": "last"}), TASK, result)


def test_a_run_begins_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Which it makes, with those above; a first run finds none of them."""

    def no_sites(_: int) -> None:
        raise TooFewSites(present="0", minimum="3")

    grid: Any = SimpleNamespace(plan=SimpleNamespace(training=TASK), start_after=no_sites)
    for _ in range(2):
        with pytest.raises(TooFewSites):
            run_training(grid, tmp_path / "runs" / "R-0123456789ab")
    assert (tmp_path / "runs" / "R-0123456789ab").is_dir()
