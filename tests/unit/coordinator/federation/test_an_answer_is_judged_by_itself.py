"""An answer counts only where its records, numbers and model are what the plan lets one have, to the last value."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from coordinator.federation.answers import largest_answer, problem_of, too_far
from shared.federation.asked import definition_asked
from shared.federation.models.registry import state_length
from shared.federation.plan import ALONE, EvaluationTask, Member, Plan, PlanRequest, complete_plan
from shared.federation.task import StatisticsTask, TrainingTask
from shared.ids import RunId, Sha256, SiteId
from shared.protocol.loader import load_protocol

PROTOCOL = load_protocol()
DIGEST = Sha256("0" * 64)
MEMBERS = tuple(Member(site_id=SiteId(str(100_001 + n)), fingerprint=f"SHA256:{n:043}") for n in range(3))
BARE, MASKED = TrainingTask(masked=False, maximum_images=50, update_norm=2, baseline=True), TrainingTask()
START = np.zeros(4, np.float32)
TRAINED = {"num-examples": 50, "loss": 0.5, "reported": 1}
EVALUATED = {"num-examples": 50, "loss": 0.5, "auc": 0.75, "reported": 1}
OWN = {"auc": 0.75, "reported": 1}
ENDS = {**OWN, "auc-low": 0.5, "auc-high": 0.9}


@pytest.fixture(autouse=True)
def stamped() -> None:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, 0, 1  # with which messages are stamped


def plan_of(task: TrainingTask) -> Plan:
    return complete_plan(PlanRequest(purpose="training", training=task), members=MEMBERS, protocol_digest=DIGEST)


def evaluation() -> Plan:
    model = EvaluationTask(
        run=RunId("R-0123456789ab"), round=1, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask()
    )
    return plan_of(MASKED).model_copy(update={"purpose": "evaluation", "training": None, "evaluated": model})


def judged(kind: str, records: dict[str, Any], plan: Plan | None = None, task: TrainingTask = BARE) -> str | None:
    content = RecordDict({"arrays": ArrayRecord({"state": Array(START)})})
    asked = Message(content, dst_node_id=2, message_type=kind)
    return problem_of(Message(RecordDict(records), reply_to=asked), asked, plan or plan_of(task), task)


def state(*values: float) -> ArrayRecord:
    return ArrayRecord({"state": Array(np.array(values, np.float32))})


def trained(**changes: Any) -> dict[str, Any]:
    return {"arrays": state(2, 0, 0, 0), "metrics": MetricRecord({**TRAINED, **changes})}


def without(metrics: dict[str, Any], name: str) -> MetricRecord:
    return MetricRecord({each: value for each, value in metrics.items() if each != name})


@pytest.mark.parametrize("changes", [{}, {"num-examples": 1}, {"loss": 0.0}, {"reported": 0}])
def test_an_answer_within_the_plan_counts(changes: dict[str, Any]) -> None:
    """From one image to as many as the plan lets count, and a change of the model as long as it may be."""
    assert judged("train", trained(**changes)) is None
    assert judged("evaluate", {"metrics": MetricRecord({**EVALUATED, **changes})}) is None


@pytest.mark.parametrize("changes", [{"auc": 0.0}, {"auc": 1.0}, {"num-examples": 0}])
def test_an_evaluation_may_have_no_image(changes: dict[str, Any]) -> None:
    """And any AUC from 0 to 1."""
    assert judged("evaluate", {"metrics": MetricRecord({**EVALUATED, **changes})}) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num-examples": 0}, "number of images"),
        ({"num-examples": 51}, "number of images"),
        ({"num-examples": 3.0}, "number of images"),
        ({"loss": -0.1}, "out of range"),
        ({"loss": float("nan")}, "not finite"),
        ({"reported": 2}, "out of range"),
        ({"reported": 0.5}, "out of range"),
        ({"reported": [1]}, "other numbers"),
        ({"more": 1}, "other numbers"),
    ],
)
def test_a_number_that_no_site_has_is_refused(changes: dict[str, Any], problem: str) -> None:
    """Of a training, and of an evaluation but for the images, of which it needs none."""
    assert problem in str(judged("train", trained(**changes)))
    if changes != {"num-examples": 0}:
        assert problem in str(judged("evaluate", {"metrics": MetricRecord({**EVALUATED, **changes})}))
    for auc in (-0.01, 1.01):
        assert "out of range" in str(judged("evaluate", {"metrics": MetricRecord({**EVALUATED, "auc": auc})}))
    for name in EVALUATED:
        assert "other numbers" in str(judged("evaluate", {"metrics": without(EVALUATED, name)}))


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (state(2.01, 0, 0, 0), "changed more"),
        (state(1.5, 1.5, 0, 0), "changed more"),
        (state(0, 0, 0), "does not fit"),
        (state(0, 0, 0, np.inf), "not numbers"),
        (ArrayRecord({"other": Array(START)}), "other arrays"),
        (ArrayRecord({"state": Array(START), "other": Array(START)}), "other arrays"),
        (ArrayRecord({"state": Array("float32", (4,), "bytes", Array(START).data)}), "in another form"),
    ],
)
def test_a_model_that_cannot_be_is_refused(arrays: ArrayRecord, problem: str) -> None:
    """By its form, its length and how far it went."""
    assert problem in str(judged("train", trained() | {"arrays": arrays}))


def test_a_norm_is_taken_in_float32() -> None:
    """So a thousandth beyond is still as far as the plan lets it go."""
    assert not too_far(np.array([2.001], np.float32), np.zeros(1, np.float32), BARE)
    assert too_far(np.array([2.003], np.float32), np.zeros(1, np.float32), BARE)


def test_an_answer_holds_its_records_and_no_others() -> None:
    """Of a training a model and numbers, of an evaluation numbers."""
    for kind, records in (
        ("train", {"metrics": MetricRecord(TRAINED)}),
        ("train", {"arrays": state(0, 0, 0, 0)}),
        ("train", trained() | {"config": ConfigRecord({"payload": b""})}),
        ("evaluate", {"metrics": MetricRecord(EVALUATED), "arrays": state(0, 0, 0, 0)}),
        ("evaluate", {"metrics": ConfigRecord({"loss": 1.0})}),
    ):
        assert judged(kind, records) == "it holds other records than it should"


def test_a_masked_answer_is_judged_by_its_form() -> None:
    """A payload, and beside it at most the site's own figures: of training none, of a test with their interval."""
    payload = {"config": ConfigRecord({"payload": b"words"})}
    own, ends = {"metrics": MetricRecord(OWN)}, {"metrics": MetricRecord(ENDS)}
    plan = plan_of(MASKED)
    for kind, records in (
        ("train", payload), ("evaluate", payload), ("evaluate", payload | own), ("evaluate.best", payload | ends),
        ("evaluate.last", payload),
    ):  # fmt: skip
        assert judged(kind, records, plan, MASKED) is None
    assert judged("evaluate", payload | ends, evaluation(), MASKED) is None
    for kind, records, problem in (
        ("train", own, "other records"), ("train", payload | own, "other records"), ("evaluate", own, "other records"),
        ("evaluate", payload | ends, "other numbers"), ("evaluate.best", payload | own, "other numbers"),
        ("evaluate", payload | {"metrics": ConfigRecord({"auc": 1.0})}, "other records"),
        ("evaluate", payload | {"metrics": MetricRecord({**OWN, "auc": 1.5})}, "other numbers"),
    ):  # fmt: skip
        assert problem in str(judged(kind, records, plan, MASKED))
    assert "other numbers" in str(judged("evaluate", payload | own, evaluation(), MASKED))


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"auc-low": 0.75, "auc-high": 0.75}, True),
        ({"auc-low": 0.0, "auc-high": 1.0}, True),
        ({"auc-low": 0.76}, False),
        ({"auc-high": 0.74}, False),
        ({"auc-low": -0.1}, False),
        ({"auc-high": 1.1}, False),
        ({"auc-low": [0.1]}, False),
        ({"reported": 2}, False),
    ],
)
def test_a_sites_own_figure_lies_within_its_interval(changes: dict[str, Any], *, counts: bool) -> None:
    """And all of it between 0 and 1; of a model of the site alone as of a test."""
    figures = {"metrics": MetricRecord({**ENDS, **changes})}
    assert (judged(ALONE, figures) is None) == counts
    payload = {"config": ConfigRecord({"payload": b"words"})}
    assert (judged("evaluate.best", payload | figures, plan_of(MASKED), MASKED) is None) == counts
    assert judged(ALONE, {}) == "it holds other records than it should"


def test_an_answers_room_is_of_its_numbers_and_of_the_other_sites() -> None:
    """Eight bytes for each number of the model or the counts; four KiB for each site, and four MiB for the rest."""
    for task in (BARE, MASKED):
        assert largest_answer(plan_of(task)) == 8 * state_length(task) + 3 * 2**12 + 2**22
    assert largest_answer(evaluation()) == largest_answer(plan_of(MASKED))
    asked = StatisticsTask(cohort="ricord")
    request = PlanRequest(purpose="statistics", statistics=asked)
    counted = complete_plan(request, members=MEMBERS, protocol_digest=PROTOCOL.digest)
    assert largest_answer(counted) == 8 * definition_asked(asked, PROTOCOL.digest).length + 3 * 2**12 + 2**22
