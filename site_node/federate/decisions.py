"""Whether a plan that policy and agreement allow is answered now, waits for a person, or was declined by one."""

from datetime import datetime, time

from shared.errors.federation import RunRefused, RunWaits
from shared.federation.plan import Plan
from shared.federation.privacy import cost_of, epsilon_of, library
from site_node.federate.policy import SitePolicy
from site_node.home.plans import Decisions


def check_decided(policy: SitePolicy, plan: Plan, decisions: Decisions, now: datetime) -> None:
    """Raise `RunWaits` while a person or the hour has to come, `RunRefused` where a person or the month says no.

    `now` is the time of this machine, with its zone.
    """
    label = plan.training.label if plan.training is not None else ""
    begun = decisions.begun.get(label, ())
    if decisions.stopped:
        raise RunRefused(problem="a person of this site stopped all federated work")
    if plan.run in decisions.declined:
        raise RunRefused(problem=f"a person of this site declined it: {decisions.declined[plan.run]}")
    if label and policy.plans_per_month and plan.run not in begun and len(begun) >= policy.plans_per_month:
        raise RunRefused(problem="this month's number of plans on that label is used up")
    if needs_person(policy, plan) and plan.run not in decisions.approved:
        raise RunWaits(problem="a person of this site decides on it")
    if policy.hours and not in_hours(policy.hours, now.time()):
        raise RunWaits(problem=f"this site answers between {policy.hours.replace('-', ' and ')} of its local time")


def gives(plan: Plan, kind: str, stage: str) -> bool:
    """Whether an answer to a message holds what a private plan costs for: an update of weights, or counts."""
    return kind in ("train", "query") and (stage == "mask" or (kind == "train" and not plan.sums(kind)))


def check_budget(policy: SitePolicy, plan: Plan, decisions: Decisions, *, answers: bool) -> None:
    """Raise `RunRefused` where a private plan would cost more than is left of its label's budget.

    It is judged whole before its first answer, and, where it `answers` now, with each one that was given again. Raises
    `PlanInvalid` where the library for it is not installed.
    """
    cost = cost_of(plan)
    if cost is None:
        return
    if plan.statistics is not None:
        library("opendp.prelude")
    others = [each.charge for each in decisions.spent if each.label == cost.label and each.run != plan.run]
    own = sum(each.charge.steps for each in decisions.spent if each.run == plan.run)
    steps = max(cost.whole.steps, own + answers * cost.answer.steps)
    epsilon = epsilon_of([*others, cost.answer.model_copy(update={"steps": steps})])
    if epsilon > policy.epsilon:
        problem = (
            f"with it the epsilon of {cost.label} would be {epsilon:.2f}, and this site's budget is {policy.epsilon:g}"
        )
        raise RunRefused(problem=problem)


def needs_person(policy: SitePolicy, plan: Plan) -> bool:
    """Whether the policy leaves the plan to a person."""
    return policy.ask == "always" or (policy.ask == "training" and plan.learning is not None)


def in_hours(hours: str, now: time) -> bool:
    """Whether `now` lies within hours as `18:00-06:00`, which may go past midnight; the end is not among them."""
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    return begin <= now < end if begin < end else now >= begin or now < end
