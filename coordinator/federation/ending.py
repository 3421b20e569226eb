"""The end of a training: the best and the last model meet the test patients, whom no round has seen.

The histograms of all sites go through a secure sum, also in runs without masks; each site's own AUC with its interval
comes beside it where plan and policy allow that. Sites answer this once in a run, and train no more.
"""

from collections.abc import Collection
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from coordinator.federation.checkpoints import kept_model, load_checkpoint, save_result
from coordinator.federation.figures import pooled_figures, threshold_of
from coordinator.federation.grid import RosterGrid
from coordinator.federation.masked import MaskedRounds
from coordinator.federation.reported import site_tests
from coordinator.federation.results import KeptModel, ModelTest, Refusal, TrainingResult, worst_site
from shared.federation import records
from shared.federation.plan import ALONE, BEST, LAST, TESTS
from shared.federation.records import Vector
from shared.federation.task import TrainingTask
from shared.ids import SiteId


def final_test(grid: RosterGrid, task: TrainingTask, folder: Path, result: TrainingResult) -> TrainingResult:
    """The result with what the test says of its models, and of each site's own; what it says already stays.

    Raises `TooFewSites` or `RunFailed`; what was reached before is kept.
    """
    last = result.rounds[-1].round
    models = {BEST: last if result.best is None else result.best, LAST: last}
    if models[BEST] == last:
        del models[BEST]
    if not task.test_share:
        models = {}
    grid.start_after(0)
    known = {test.model.round for test in result.tests}
    for kind, server_round in models.items():
        if server_round not in known:
            state = load_checkpoint(folder, server_round, task)
            model, summed = kept_model(folder, server_round, state), (result.tests or result.rounds)[-1].summed
            test = examine(grid, task, kind, model, state, summed=summed)
            result = _kept(grid, folder, result, {"tests": (*result.tests, test)})
    if task.baseline and task.test_share and not result.alone:
        asked = [_message(grid, ALONE, last, {}, node) for node in grid.get_node_ids()]
        grid.exchange(asked)
        result = _kept(grid, folder, result, {"alone": site_tests(grid.answers, ALONE)})
    return result


def examine(
    grid: RosterGrid,
    task: TrainingTask,
    kind: str,
    model: KeptModel,
    state: Vector,
    *,
    summed: tuple[SiteId, ...] = (),
) -> ModelTest:
    """What the sites' patients say of a model; `summed` names the sites of the run's last sum, if there was one.

    Raises `TooFewSites` or `RunFailed`.
    """
    arrays = {records.ARRAYS: ArrayRecord({records.STATE: Array(state)})}
    evaluation = grid.plan.evaluated
    server_round = model.round if evaluation is None else 1
    pooled = MaskedRounds(grid, task, summed).tested(_message(grid, kind, server_round, arrays))
    threshold = threshold_of(pooled.validation, task.specificity, minimum=task.minimum_cases)
    threshold = threshold if evaluation is None else evaluation.threshold
    figures, sites = pooled_figures(pooled.test, threshold, minimum=task.minimum_cases), site_tests(grid.answers, kind)
    return ModelTest(
        model=model, pooled=figures, sites=sites, worst=worst_site(sites, figures.auc), summed=pooled.summed
    )


def refusals_of(grid: RosterGrid, kinds: Collection[str]) -> tuple[Refusal, ...]:
    """Which sites refused a message of these kinds, and why, each reason once."""
    refused = {
        Refusal(round=answer.server_round, site_id=answer.site, reason=answer.refusal): None
        for answer in grid.answers
        if answer.refusal and answer.site and answer.kind in kinds
    }
    return tuple(refused)


def _message(grid: RosterGrid, kind: str, server_round: int, arrays: dict[str, ArrayRecord], node: int = 0) -> Message:
    config = ConfigRecord({records.PLAN: grid.signed, records.ROUND: server_round})
    return Message(RecordDict({**arrays, records.CONFIG: config}), dst_node_id=node, message_type=kind)


def _kept(grid: RosterGrid, folder: Path, result: TrainingResult, change: dict[str, object]) -> TrainingResult:
    added = [refusal for refusal in refusals_of(grid, (*TESTS, ALONE)) if refusal not in result.refusals]
    result = result.model_copy(update={**change, "refusals": (*result.refusals, *added)})
    save_result(folder, result)
    grid.round_kept()
    return result
