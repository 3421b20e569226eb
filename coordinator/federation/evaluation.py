"""Evaluations: a finished run's model meets the patients of sites that had no part in its training."""

from pathlib import Path

from coordinator.federation.checkpoints import kept_model, load_checkpoint
from coordinator.federation.ending import examine, refusals_of
from coordinator.federation.grid import RosterGrid
from coordinator.federation.results import ModelTest, Refusal
from shared.errors.federation import PlanInvalid, RunFailed
from shared.frozen import Frozen
from shared.ids import RunId


class EvaluationResult(Frozen):
    """Everything of an evaluation that may be shown."""

    run: RunId  # that trained the model
    test: ModelTest
    refusals: tuple[Refusal, ...]


def run_evaluation(grid: RosterGrid, folder: Path) -> EvaluationResult:
    """Evaluate the plan's model, whose checkpoint lies in `folder`, over the sites of `grid`.

    Raises `TooFewSites`, and `RunFailed`, also where the checkpoint is no longer the one of the plan.
    """
    task = grid.plan.evaluated
    if task is None:
        raise PlanInvalid(problem="it holds no evaluation")
    try:
        state = load_checkpoint(folder, task.round, task.training)
        model = kept_model(folder, task.round, state)
    except FileNotFoundError as error:
        raise RunFailed(problem="the model's file is no longer kept") from error
    if (model.sha256, model.state_sha256) != (task.sha256, task.state_sha256):
        raise RunFailed(problem="the model's file is not the one that the run kept")
    return EvaluationResult(
        run=task.run,
        test=examine(grid, task.training, "evaluate", model, state),
        refusals=refusals_of(grid, ["evaluate"]),
    )
