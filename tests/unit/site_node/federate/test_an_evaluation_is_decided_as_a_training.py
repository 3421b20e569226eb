"""Who decides on trainings decides on plans about a finished model, and reads what it is and what leaves."""

from shared.federation.plan import EvaluationRequest, EvaluationTask, Member, Plan, PlanRequest, complete_plan
from shared.federation.task import TrainingTask
from shared.ids import RunId, Sha256, SiteId
from site_node.federate.decisions import needs_person
from site_node.federate.plan_words import summary, words_of
from site_node.federate.policy import SitePolicy

RUN, DIGEST = RunId("R-0123456789ab"), Sha256("0" * 64)
MEMBERS = tuple(Member(site_id=SiteId(f"{200000 + n}"), fingerprint=f"SHA256:{n:043d}") for n in range(3))


def plan_of(request: PlanRequest, evaluated: EvaluationTask | None = None) -> Plan:
    return complete_plan(request, members=MEMBERS, protocol_digest=DIGEST, evaluated=evaluated)


def evaluation() -> Plan:
    task = EvaluationTask(run=RUN, round=4, sha256=DIGEST, state_sha256=DIGEST, training=TrainingTask())
    return plan_of(PlanRequest(purpose="evaluation", evaluation=EvaluationRequest(run=RUN)), task)


def test_who_is_asked_about_trainings_is_asked_about_evaluations() -> None:
    """Of a site that leaves neither to a person nothing waits."""
    assert needs_person(SitePolicy(ask="training"), evaluation())
    assert not needs_person(SitePolicy(ask="never"), evaluation())


def test_the_model_and_what_leaves_are_said() -> None:
    """Its run and round, the label, the masks; of a training also what leaves at its end."""
    words = dict(words_of(evaluation()))
    assert RUN in words["Model"]
    assert "round 4" in words["Model"]
    assert "pneumonia" in words["Label"]
    assert "under masks" in words["Leaves"]
    assert RUN in summary(evaluation())
    training = dict(words_of(plan_of(PlanRequest(purpose="training", training=TrainingTask(baseline=True)))))
    assert training["Leaves at the end"] == words["Leaves"]
    assert "alone" in training["Trains besides"]
    without = dict(words_of(plan_of(PlanRequest(purpose="training", training=TrainingTask(test_share=0)))))
    assert not {"Leaves at the end", "Trains besides", "Package"} & set(without)
