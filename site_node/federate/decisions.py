"""Whether a plan that policy and agreement allow is answered now, waits for a person, or was declined by one."""

from datetime import datetime, time

from shared.errors.federation import RunRefused, RunWaits
from shared.federation.plan import Plan
from shared.federation.privacy import charge_of, epsilon_of
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


def check_budget(policy: SitePolicy, plan: Plan, decisions: Decisions, *, trains: bool) -> None:
    """Raise `RunRefused` where a private training would cost more than is left of the label's budget.

    It is judged whole before its first round, and, where it `trains` now, with each answer that was given again.
    """
    task = plan.training
    if task is None or task.privacy is None:
        return
    others = [each.charge for each in decisions.spent if each.label == task.label and each.run != plan.run]
    own = sum(each.charge.steps for each in decisions.spent if each.run == plan.run)
    steps = max(
        charge_of(task, task.privacy, rounds=task.rounds).steps, own + trains * charge_of(task, task.privacy).steps
    )
    epsilon = epsilon_of([*others, charge_of(task, task.privacy).model_copy(update={"steps": steps})])
    if epsilon > policy.epsilon:
        problem = (
            f"with it the epsilon of {task.label} would be {epsilon:.2f}, and this site's budget is {policy.epsilon:g}"
        )
        raise RunRefused(problem=problem)


def needs_person(policy: SitePolicy, plan: Plan) -> bool:
    """Whether the policy leaves the plan to a person."""
    return policy.ask == "always" or (policy.ask == "training" and plan.learning is not None)


def in_hours(hours: str, now: time) -> bool:
    """Whether `now` lies within hours as `18:00-06:00`, which may go past midnight; the end is not among them."""
    begin, end = (time.fromisoformat(part) for part in hours.split("-"))
    return begin <= now < end if begin < end else now >= begin or now < end
