"""Each site's answer, judged alone before a strategy sees it: one bad answer is that site's refusal only.

A strategy averages whatever it is given: a number that is none, or a weight of 1e15, would be everybody's model. Of a
masked answer only the form can be judged; the sum is, in `masked.py`.
"""

import math

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from shared.errors.inputs import InvalidArgument
from shared.federation import records
from shared.federation.plan import TrainingTask
from shared.federation.records import Vector

_TOLERANCE = 1.001  # of norms, which the site took in float32
_RECORDS = {
    "train": {records.ARRAYS: ArrayRecord, records.METRICS: MetricRecord},
    "evaluate": {records.METRICS: MetricRecord},
}
_NUMBERS = {
    "train": {records.EXAMPLES, records.LOSS, records.FIGURES},
    "evaluate": {records.EXAMPLES, records.LOSS, records.AUC, records.FIGURES},
}


def problem_of(reply: Message, asked: Message, task: TrainingTask) -> str | None:
    """Why a site's answer to `asked` must not count; `None` when it may."""
    kind = asked.metadata.message_type
    content = reply.content
    if task.masked:
        return _problem_of_masked(content, kind)
    if {name: type(record) for name, record in content.items()} != _RECORDS[kind]:
        return "it holds other records than it should"
    problem = _problem_of_numbers(content[records.METRICS], kind, task)
    if problem is None and kind == "train":
        start = asked.content[records.ARRAYS][records.STATE].numpy()
        problem = _problem_of_state(content[records.ARRAYS], start, task)
    return problem


def _problem_of_masked(content: RecordDict, kind: str) -> str | None:
    metrics = content.get(records.METRICS)
    own = metrics is not None
    if records.payload_of(content) is None or (own and (kind != "evaluate" or not isinstance(metrics, MetricRecord))):
        return "it holds other records than it should"
    if own and (set(metrics) != {records.AUC, records.FIGURES} or not _in_range(metrics)):
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
        return "one of its numbers is none"
    images = metrics[records.EXAMPLES]
    if not isinstance(images, int) or not (kind == "train") <= images <= task.maximum_images:
        return "its number of images is outside the plan"
    return None if metrics[records.LOSS] >= 0 and _in_range(metrics) else "one of its figures is out of range"


def _in_range(metrics: MetricRecord) -> bool:
    auc = metrics.get(records.AUC, 0)
    return metrics[records.FIGURES] in (0, 1) and isinstance(auc, int | float) and 0 <= auc <= 1


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
