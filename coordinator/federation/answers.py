"""Each site's answer, judged alone before a strategy sees it: one bad answer is that site's refusal only.

A strategy averages whatever it is given: a number that is none, or a weight of 1e15, would be everybody's model. Of a
masked answer only the form can be judged; the sum is, in `masked.py`.
"""

import math
from itertools import pairwise

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from shared.errors.inputs import InvalidArgument
from shared.federation import records
from shared.federation.asked import definition_asked
from shared.federation.models.registry import state_length
from shared.federation.plan import ALONE, Plan
from shared.federation.records import Vector
from shared.federation.task import TrainingTask

_TOLERANCE = 1.001  # of norms, which the site took in float32
_RECORDS = {
    "train": {records.ARRAYS: ArrayRecord, records.METRICS: MetricRecord},
    "evaluate": {records.METRICS: MetricRecord},
}
_NUMBERS = {
    "train": {records.EXAMPLES, records.LOSS, records.FIGURES},
    "evaluate": {records.EXAMPLES, records.LOSS, records.AUC, records.FIGURES},
}

_BESIDES = 4 << 20  # bytes: heads, signatures, whom a site answered before
_FOR_EACH_SITE = 4 << 10  # bytes that a step of a secure sum says of each other site


def largest_answer(plan: Plan) -> int:
    """Bytes that no honest answer in a run exceeds: 8 for each number, and what a step of a sum says of each site.

    Raises `PlanInvalid` or `ProtocolMismatch` for a model or a protocol that this release does not have.
    """
    numbers = state_length(plan.learning) if plan.learning else 0
    if plan.statistics is not None:
        numbers = definition_asked(plan.statistics, plan.protocol_digest).length
    return 8 * numbers + len(plan.roster) * _FOR_EACH_SITE + _BESIDES


def problem_of(reply: Message, asked: Message, plan: Plan, task: TrainingTask) -> str | None:
    """Why a site's answer to `asked` must not count; `None` when it may."""
    kind = asked.metadata.message_type
    content = reply.content
    if plan.sums(kind):
        return _problem_of_masked(content, kind, ends=kind != "evaluate" or plan.evaluated is not None)
    if kind == ALONE:
        return _problem_of_own(content.get(records.METRICS), ends=True)
    if {name: type(record) for name, record in content.items()} != _RECORDS[kind]:
        return "it holds other records than it should"
    problem = _problem_of_numbers(content[records.METRICS], kind, task)
    if problem is None and kind == "train":
        start = asked.content[records.ARRAYS][records.STATE].numpy()
        problem = _problem_of_state(content[records.ARRAYS], start, task)
    return problem


def _problem_of_masked(content: RecordDict, kind: str, *, ends: bool) -> str | None:
    metrics = content.get(records.METRICS)
    if records.payload_of(content) is None or (metrics is not None and kind == "train"):
        return "it holds other records than it should"
    return None if metrics is None else _problem_of_own(metrics, ends=ends)


def _problem_of_own(metrics: object, *, ends: bool) -> str | None:
    """Why a site's figures that leave beside masks must not count; `ends`: with those of an interval."""
    if not isinstance(metrics, MetricRecord):
        return "it holds other records than it should"
    names = {records.AUC, records.FIGURES, *((records.LOW, records.HIGH) if ends else ())}
    if set(metrics) != names or not _in_range(metrics):
        return "it holds other numbers than it should"
    return None


def too_far(state: Vector, start: Vector, task: TrainingTask) -> bool:
    """Whether a model is further from the one it began as than a change may be (`update_norm`)."""
    with np.errstate(over="ignore"):  # a liar's values may be so large that their distance is infinite
        return float(np.linalg.norm(state - start)) > task.update_norm * _TOLERANCE


def _problem_of_numbers(metrics: MetricRecord, kind: str, task: TrainingTask) -> str | None:
    if set(metrics) != _NUMBERS[kind] or any(isinstance(value, list) for value in metrics.values()):
        return "it holds other numbers than it should"
    if not all(math.isfinite(value) for value in metrics.values()):
        return "one of its numbers is not finite"
    images = metrics[records.EXAMPLES]
    if not isinstance(images, int) or not (kind == "train") <= images <= task.maximum_images:
        return "its number of images is outside the plan"
    return None if metrics[records.LOSS] >= 0 and _in_range(metrics) else "one of its figures is out of range"


def _in_range(metrics: MetricRecord) -> bool:
    auc = metrics.get(records.AUC, 0)
    ordered = (0, metrics.get(records.LOW, auc), auc, metrics.get(records.HIGH, auc), 1)
    return (
        metrics[records.FIGURES] in (0, 1)
        and all(isinstance(value, int | float) for value in ordered)
        and all(below <= above for below, above in pairwise(ordered))
    )


def _problem_of_state(arrays: ArrayRecord, start: Vector, task: TrainingTask) -> str | None:
    if set(arrays) != {records.STATE}:
        return "it holds other arrays than it should"
    array: Array = arrays[records.STATE]
    try:
        state = records.npy_vector(array.data, start.size)
    except InvalidArgument as error:
        return f"its model does not fit: {error.fields['problem']}"
    if array.stype != "numpy.ndarray":
        return "its model is in another form"
    return "its model changed more than the plan allows" if too_far(state, start, task) else None
