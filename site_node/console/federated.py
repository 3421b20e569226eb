"""Federated work: what each plan asks in words, what would leave, and what a person decides on it."""

from shared.errors.base import RicordError
from shared.errors.inputs import InvalidArgument, NotFound
from shared.web.console import Page
from shared.web.visit import Answer, Redirect, Shown, Visit
from site_node.federate.person import cost_in_words, one_line
from site_node.federate.plan_words import plan_in, summary, words_of
from site_node.federate.policy import POLICY_FILE, load_policy
from site_node.federate.questions import standing_of
from site_node.home.folder import SiteHome
from site_node.home.ledger import Ledger
from site_node.home.plans import KeptPlan, PlanState
from site_node.node.open import Node, open_node
from site_node.node.waits import federated_work

_MOST_SHOWN = 100


class FederatedPages:
    """The plans, one of them, and the decisions."""

    def __init__(self, home: SiteHome) -> None:
        self._home = home

    def pages(self) -> tuple[Page, ...]:
        """What is answered."""
        return (
            Page("GET", "/federated", self._plans),
            Page("GET", "/federated/{run}", self._plan),
            Page("POST", "/federated/{run}/approve", lambda visit: self._decide(visit, PlanState.APPROVED)),
            Page("POST", "/federated/{run}/decline", lambda visit: self._decide(visit, PlanState.DECLINED)),
            Page("POST", "/federated/stop", lambda visit: self._stop(visit, allow=False)),
            Page("POST", "/federated/allow", lambda visit: self._stop(visit, allow=True)),
        )

    def _plans(self, visit: Visit) -> Answer:
        del visit
        with open_node(self._home, writing=False) as node:
            plans = node.ledger.plans.all()
            policy = load_policy(node.home.folder / POLICY_FILE)
            values = {
                "work": federated_work(node, running=node.home.is_served()),
                "stopped": node.ledger.plans.is_stopped(),
                "snapshot": _snapshot(node, policy.minimum_patients),
                "waiting": [
                    (plan, summary(plan_in(plan.document)))
                    for plan in plans
                    if plan.state is PlanState.PENDING and plan.is_open
                ],
                "answered": node.ledger.plans.history()[:_MOST_SHOWN],
                "words": {plan.run: summary(plan_in(plan.document)) for plan in plans[:_MOST_SHOWN]},
            }
        return Shown("federated.html", values)

    def _plan(self, visit: Visit) -> Answer:
        with open_node(self._home, writing=False) as node:
            plan = _plan_of(node.ledger, visit)
            policy = load_policy(node.home.folder / POLICY_FILE)
            asked = plan_in(plan.document)
            words = [*words_of(asked), *cost_in_words(asked, policy, node.ledger.plans.spent())]
        return Shown("federated_plan.html", {"plan": plan, "words": words})

    def _decide(self, visit: Visit, state: PlanState) -> Answer:
        with open_node(self._home, writing=False) as node:
            plan, why = _plan_of(node.ledger, visit), one_line(visit.form.text("reason"))
            seen = _state_of(visit.form.text("seen"))
            node.ledger.plans.decide(plan.run, state, actor=visit.person.name, reason=why, seen=seen)
        return Redirect("/federated", state.value)

    def _stop(self, visit: Visit, *, allow: bool) -> Answer:
        why = one_line(visit.form.text("reason"))
        with open_node(self._home, writing=False) as node:
            if node.ledger.plans.is_stopped() == allow:  # else it is so already: a form that was sent twice
                act = node.ledger.plans.allow if allow else node.ledger.plans.stop
                act(visit.person.name, why)
        return Redirect("/federated", "allowed" if allow else "stopped")


def _snapshot(node: Node, minimum: int) -> str:
    """What is answered from, or why nothing can be; the plans are shown all the same."""
    try:
        return standing_of(node.ledger, node.home.library, minimum).words
    except RicordError as error:
        return error.public


def _plan_of(ledger: Ledger, visit: Visit) -> KeptPlan:
    """The plan of the path, whose run's name is whole; raises `NotFound`."""
    plan = next((plan for plan in ledger.plans.all() if plan.run == visit.values["run"]), None)
    if plan is None:
        raise NotFound(kind="plan", name="of that run")
    return plan


def _state_of(text: str) -> PlanState:
    """The state in which the plan was seen; raises `InvalidArgument`."""
    try:
        return PlanState(text)
    except ValueError:
        raise InvalidArgument(name="The form", problem="open the page anew") from None
