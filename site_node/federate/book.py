"""The site's book of federated runs: each plan that came, and each answer before it leaves, with its audit event."""

from contextlib import closing, suppress
from datetime import datetime

from shared.errors.base import RicordError
from shared.errors.federation import RunRefused, RunWaits
from shared.federation import records
from shared.federation.plan import Plan, verify_plan
from shared.federation.privacy import cost_of
from site_node.federate.decisions import check_decided, gives, needs_person
from site_node.federate.plan_words import summary
from site_node.federate.policy import SitePolicy
from site_node.federate.site import FederateSettings
from site_node.federate.tasks import Asked, Result
from site_node.home.ledger import Ledger
from site_node.home.plans import Decisions, PlanState, Spent


def enter(
    site: FederateSettings, policy: SitePolicy | None, kind: str, result: Result, seen: Decisions | None = None
) -> None:
    """Enter an answer that is about to leave, or why none does, and the plan that it is for.

    Without a `policy`, which could not be read, nothing is answered. Raises `DiskFull`, `HomeFailed`, and `RunRefused`
    for an answer to no plan, or where a person declined or stopped it meanwhile. The budget of a private run is
    charged here; it was judged by the decisions `seen`, which must hold still.
    """
    plan = _plan(site, result.asked)
    with closing(Ledger(site.ledger)) as ledger, ledger.changing():
        if plan is None and result.refused is None:
            raise RunRefused(problem="the answer belongs to no plan of the coordinator")
        waits = result.refused is not None and result.refused.startswith(records.WAITS)
        if plan is not None and policy is not None and (waits or result.refused is None):
            with suppress(RunWaits):
                check_decided(policy, plan, ledger.plans.decisions(), datetime.now().astimezone())
            ledger.plans.enter(
                plan.run,
                result.asked.plan,
                PlanState.PENDING if needs_person(policy, plan) else PlanState.BY_POLICY,
                label=plan.training.label if plan.training is not None else "",
                expires_at=plan.expires_at,
                about=summary(plan),
            )
        if result.refused is not None:
            ledger.plans.enter_refusal(plan.run if plan is not None else None, result.refused)
        elif plan is not None and result.asked.stage != records.READY:
            charge = _charge(kind, plan, result.asked.stage)
            if charge is not None and (seen is None or ledger.plans.decisions().spent != seen.spent):
                raise RunRefused(problem="another private run was answered meanwhile; this can be asked again")
            ledger.plans.enter_answer(plan.run, _kind(kind, plan), result.answer.size, charge)


def _plan(site: FederateSettings, asked: Asked) -> Plan | None:
    """The plan of a message, if the coordinator signed it; the worker, which read it, is not believed."""
    try:
        return verify_plan(asked.plan, site.verify_key)
    except RicordError:
        return None


def _charge(kind: str, plan: Plan, stage: str) -> Spent | None:
    """What an answer costs of the budget: the update of a private training, or noisy counts."""
    cost = cost_of(plan)
    if cost is None or not gives(plan, kind, stage):
        return None
    return Spent(run=plan.run, label=cost.label, charge=cost.answer)


def _kind(kind: str, plan: Plan) -> str:
    """What leaves: of which message, and whether masks hide it."""
    return f"{kind} {'under' if kind == 'query' or plan.sums(kind) else 'without'} masks"
