"""A plan is answered where nobody stopped or declined it, its month has room, who must has agreed, and the hour is."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors.federation import RunRefused, RunWaits
from shared.federation.plan import (
    ALONE,
    TESTS,
    EvaluationTask,
    Member,
    Plan,
    PlanRequest,
    complete_plan,
)
from shared.federation.privacy import Charge, epsilon_of
from shared.federation.task import CountPrivacy, Privacy, StatisticsTask, TrainingTask
from shared.ids import RunId, Sha256, SiteId
from site_node.federate import decisions as decisions_module
from site_node.federate.decisions import check_budget, check_decided, gives, needs_person
from site_node.federate.policy import SitePolicy
from site_node.home.plans import Decisions, Spent

DIGEST = Sha256("0" * 64)
MEMBERS = tuple(Member(site_id=SiteId(str(100_001 + n)), fingerprint=f"SHA256:{n:043}") for n in range(3))
OTHERS = [RunId(f"R-00000000000{number}") for number in range(4)]
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
COUNTED = StatisticsTask(cohort="ricord", privacy=CountPrivacy(epsilon=2))
EVALUATED = EvaluationTask(run=OTHERS[0], round=1, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask())


def plan_of(training: TrainingTask | None = None, statistics: StatisticsTask | None = None) -> Plan:
    purpose = "training" if training is not None else "statistics"
    request = PlanRequest.model_validate({"purpose": purpose, "training": training, "statistics": statistics})
    return complete_plan(request, members=MEMBERS, protocol_digest=DIGEST)


PLAN, COUNTS = plan_of(TrainingTask()), plan_of(statistics=StatisticsTask(cohort="ricord"))
EVALUATION = PLAN.model_copy(update={"purpose": "evaluation", "training": None, "evaluated": EVALUATED})


def decided(**changes: Any) -> Decisions:
    return Decisions.model_validate(changes)


@pytest.mark.parametrize(
    ("policy", "decisions", "error", "said"),
    [
        ({}, {"stopped": True}, RunRefused, "stopped all federated work"),
        ({}, {"declined": {PLAN.run: "not now"}}, RunRefused, "declined it: not now"),
        ({}, {"declined": {OTHERS[0]: "not now"}}, None, ""),
        ({"plans_per_month": 2}, {"begun": {"pneumonia": OTHERS[:2]}}, RunRefused, "number of plans on that label"),
        ({"plans_per_month": 2}, {"begun": {"pneumonia": OTHERS[:1]}}, None, ""),
        ({"plans_per_month": 2}, {"begun": {"pneumonia": [*OTHERS[:2], PLAN.run]}}, None, ""),
        ({"plans_per_month": 2}, {"begun": {"icu": OTHERS[:2]}}, None, ""),
        ({"plans_per_month": 0}, {"begun": {"pneumonia": OTHERS[:2]}}, None, ""),
        ({"ask": "training"}, {}, RunWaits, "a person of this site decides"),
        ({"ask": "always"}, {"approved": (OTHERS[0],)}, RunWaits, "a person of this site decides"),
        ({"ask": "always"}, {"approved": (PLAN.run,)}, None, ""),
        ({"hours": "12:00-13:00"}, {}, None, ""),
        ({"hours": "11:00-12:00"}, {}, RunWaits, "between 11:00 and 12:00 of its local time"),
        ({"ask": "always", "hours": "11:00-12:00"}, {"approved": (PLAN.run,)}, RunWaits, "between 11:00"),
    ],
)
def test_of_a_training(
    policy: dict[str, Any], decisions: dict[str, Any], error: type[Exception] | None, said: str
) -> None:
    """The first of them that says no is named; a plan that has begun goes on in its month."""
    limits, held = SitePolicy.model_validate(policy), decided(**decisions)
    if error is None:
        check_decided(limits, PLAN, held, NOON)
        return
    with pytest.raises(error, match=said):
        check_decided(limits, PLAN, held, NOON)


def test_counting_and_evaluations_have_no_month() -> None:
    """They train nothing; a person is asked of an evaluation as of a training."""
    limits, full = SitePolicy(plans_per_month=1), decided(begun={"pneumonia": OTHERS, "": OTHERS})
    for plan in (COUNTS, EVALUATION):
        check_decided(limits, plan, full, NOON)
    asked = [[needs_person(SitePolicy(ask=ask), plan) for plan in (COUNTS, PLAN, EVALUATION)]
             for ask in ("never", "training", "always")]  # fmt: skip
    assert asked == [[False, False, False], [False, True, True], [True, True, True]]


def test_what_is_paid_for_is_an_update_or_counts() -> None:
    """Under masks the stage in which they leave, without masks each answer of a training; no test and no question."""
    bare = plan_of(TrainingTask(masked=False))
    kinds = ("train", "evaluate", *TESTS, ALONE, "query")
    for plan, stages in ((PLAN, {("train", "mask")}), (bare, {("train", "mask"), ("train", ""), ("train", "ready")})):
        given = {(kind, stage) for kind in kinds for stage in ("", "ready", "mask") if gives(plan, kind, stage)}
        assert given == stages | {("query", "mask")}


def spent(run: RunId, steps: int, *, label: str = "cohort ricord", epsilon: float = 2) -> Spent:
    return Spent(run=run, label=label, charge=Charge(steps=steps, epsilon=epsilon))


@pytest.mark.parametrize(
    ("before", "answers", "is_refused"),
    [
        ([], True, False),
        ([spent(OTHERS[0], 3)], True, False),
        ([spent(OTHERS[0], 4)], True, True),
        ([spent(OTHERS[0], 4)], False, True),
        ([spent(OTHERS[0], 2), spent(OTHERS[1], 2)], True, True),
        ([spent(OTHERS[0], 4, label="cohort other")], True, False),
    ],
)
def test_counts_are_held_to_what_is_left(
    monkeypatch: pytest.MonkeyPatch, before: list[Spent], answers: bool, is_refused: bool
) -> None:
    """An epsilon of 8 is four answers of 2 each, whoever asked; another label has its own."""
    monkeypatch.setattr(decisions_module, "library", lambda _: None)
    plan, policy = plan_of(statistics=COUNTED), SitePolicy(epsilon=8)
    if not is_refused:
        check_budget(policy, plan, decided(spent=tuple(before)), answers=answers)
        return
    with pytest.raises(RunRefused, match=r"the epsilon of cohort ricord would be 10\.00, and this site's budget is 8"):
        check_budget(policy, plan, decided(spent=tuple(before)), answers=answers)


def test_an_answer_that_is_given_again_is_paid_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same plan what it costs in all is counted once, and each answer beyond it."""
    monkeypatch.setattr(decisions_module, "library", lambda _: None)
    plan, policy = plan_of(statistics=COUNTED), SitePolicy(epsilon=4)
    own = decided(spent=(spent(plan.run, 1), spent(OTHERS[0], 1)))
    check_budget(policy, plan, own, answers=False)
    with pytest.raises(RunRefused):
        check_budget(policy, plan, own, answers=True)
    check_budget(policy, PLAN, decided(spent=(spent(PLAN.run, 99),)), answers=True)  # it costs nothing


def test_a_training_is_judged_whole_before_its_first_answer() -> None:
    """And so is what others spent on its label."""
    pytest.importorskip("opacus", reason="the accountant is of the extra `privacy`")
    task = TrainingTask(rounds=3, local_epochs=1, privacy=Privacy(noise_multiplier=1, batches=10))
    plan = plan_of(task)

    def judged(limit: float, *before: Spent, answers: bool = False) -> bool:
        try:
            check_budget(SitePolicy(epsilon=limit), plan, decided(spent=before), answers=answers)
        except RunRefused:
            return False
        return True

    whole = Charge(noise_multiplier=1, batches=10, steps=30)
    cost = epsilon_of([whole])
    assert (judged(cost + 1e-6), judged(cost - 1e-6)) == (True, False)
    other = Spent(run=OTHERS[0], label="pneumonia", charge=whole)
    both = epsilon_of([whole, whole])
    assert (judged(both + 1e-6, other), judged(both - 1e-6, other)) == (True, False)
    given = [Spent(run=plan.run, label="pneumonia", charge=whole.model_copy(update={"steps": 10})) for _ in range(3)]
    assert judged(cost + 1e-6, *given[:2], answers=True)
    assert judged(cost + 1e-6, *given)
    assert not judged(cost + 1e-6, *given, answers=True)
