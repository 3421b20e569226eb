"""The centre of federated training: Flower's own strategies over the roster, a checkpoint and figures after each round.

`<folder>/round-N.safetensors` holds the averaged model after round N, `metrics.json` everything that may be shown. An
interrupted run continues from its last checkpoint (the moments of a server optimiser are reset).
"""

import contextlib
import time
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedYogi,
    Krum,
)

from coordinator.federation.averaged import AveragedRounds
from coordinator.federation.checkpoints import finished_rounds, load_checkpoint, save_checkpoint, save_result
from coordinator.federation.early_stop import stop_reason
from coordinator.federation.ending import final_test
from coordinator.federation.grid import RosterGrid
from coordinator.federation.masked import MaskedRounds
from coordinator.federation.reported import training_result
from coordinator.federation.results import TrainingResult
from shared.errors.federation import PlanInvalid
from shared.federation import records
from shared.federation.models.registry import build_model, get_state
from shared.federation.task import COMPARING, StrategyName, TrainingTask


def run_training(grid: RosterGrid, folder: Path) -> TrainingResult:
    """Train the plan's model over the sites of `grid`.

    Raises `TooFewSites` or `RunFailed`; the checkpoints of finished rounds stay.
    """
    task = task_of(grid)
    folder.mkdir(parents=True, exist_ok=True)
    previous = finished_rounds(folder)
    done = previous.rounds[-1].round if previous and previous.rounds else 0
    grid.start_after(done)
    start = load_checkpoint(folder, done, task) if done else get_state(build_model(task))
    config = {records.PLAN: grid.signed}
    summed = previous.rounds[-1].summed if previous and previous.rounds else ()
    rounds: MaskedRounds | AveragedRounds | RosterGrid = grid
    if task.strategy not in COMPARING:
        rounds = MaskedRounds(grid, task, summed) if task.masked else AveragedRounds(grid)

    seconds, begun = dict[int, float](), time.monotonic()

    def so_far() -> TrainingResult:
        result = training_result(grid.answers, folder, previous=previous, seconds=seconds)
        return result.model_copy(update={"stopped": stop_reason(task, result.rounds)})

    def after_round(server_round: int, arrays: ArrayRecord) -> None:
        nonlocal begun
        now = time.monotonic()
        seconds[done + server_round], begun = round(now - begun, 3), now
        if server_round > 0:
            save_checkpoint(folder, done + server_round, arrays[records.STATE].numpy(), task)
            result = so_far()
            save_result(folder, result)
            grid.round_kept()
            if result.stopped:
                raise _StopsEarly

    with contextlib.suppress(_StopsEarly):
        make_strategy(task, grid.plan.minimum_sites).start(
            grid=rounds,
            initial_arrays=ArrayRecord({records.STATE: Array(start)}),
            num_rounds=0 if previous and previous.stopped else task.rounds - done,
            timeout=float(grid.plan.timeout_seconds),
            train_config=ConfigRecord(config),
            evaluate_config=ConfigRecord(config),
            evaluate_fn=after_round,
        )
    result = so_far()
    return final_test(grid, task, folder, result) if result.rounds else result


class _StopsEarly(Exception):
    """Ends the strategy's rounds: Flower's have no other way."""


def task_of(grid: RosterGrid) -> TrainingTask:
    """The training part of the grid's plan; raises `PlanInvalid` when it has none."""
    if grid.plan.training is None:
        raise PlanInvalid(problem="it holds no training")
    return grid.plan.training


def make_strategy(task: TrainingTask, minimum: int) -> FedAvg:
    """Flower's strategy of that name, over every site of the roster that is online."""
    common: dict[str, Any] = {
        "fraction_train": 1.0,
        "fraction_evaluate": 1.0,
        "min_train_nodes": minimum,
        "min_evaluate_nodes": minimum,
        "min_available_nodes": minimum,
        "weighted_by_key": records.EXAMPLES,
        "arrayrecord_key": records.ARRAYS,
        "configrecord_key": records.CONFIG,
        "evaluate_metrics_aggr_fn": pooled,
    }
    rate = {"eta": task.server_learning_rate}
    strategies: dict[StrategyName, tuple[type[FedAvg], dict[str, Any]]] = {
        "fedavg": (FedAvg, {}),
        "fedbn": (FedAvg, {}),  # the sites send their norm layers as they came
        "fedprox": (FedProx, {"proximal_mu": task.proximal_mu}),
        "fedavgm": (FedAvgM, {"server_learning_rate": task.server_learning_rate}),
        "fedadam": (FedAdam, rate),
        "fedyogi": (FedYogi, rate),
        "fedadagrad": (FedAdagrad, rate),
        "fedmedian": (FedMedian, {}),
        "fedtrimmedavg": (FedTrimmedAvg, {}),
        "krum": (Krum, {"num_malicious_nodes": 1}),
    }
    strategy, settings = strategies[task.strategy]
    return strategy(**common, **settings)


def pooled(contents: list[RecordDict], weight: str) -> MetricRecord:
    """Flower's aggregation of evaluations: the mean AUC of the sites that reported it, by their number of images."""
    metrics = [content[records.METRICS] for content in contents]
    reported = [(float(site[weight]), float(site[records.AUC])) for site in metrics if site[records.FIGURES]]
    total = sum(count for count, _ in reported)
    mean = sum(count * value for count, value in reported) / total if total else 0.0
    return MetricRecord({records.AUC: mean, records.FIGURES: len(reported)})
