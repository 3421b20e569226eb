"""From a request to a plan: which sites it goes to, and whether the protocol offers what it names."""

from collections.abc import Callable

from coordinator.federation.interface import Members
from coordinator.federation.results import TrainingResult, evaluation_of
from coordinator.store.records import Run
from shared.agreement import Mode
from shared.errors.agreements import AgreementModeNotAllowed
from shared.errors.federation import PlanInvalid
from shared.federation.offer import offer_of
from shared.federation.plan import EvaluationTask, Member, Plan, PlanRequest, Proposal, Purpose, complete_plan
from shared.ids import RunId, Sha256, SiteId

MODES: dict[Purpose, tuple[Mode, ...]] = {
    "training": (Mode.TRAINING,),
    "statistics": (Mode.COHORT, Mode.STATISTICS),
    "evaluation": (Mode.TRAINING,),
}


def plan_of(
    request: PlanRequest,
    nodes: Members,
    protocol_digest: Sha256,
    *,
    run_of: Callable[[RunId], Run],
    proposal: Proposal | None = None,
) -> Plan:
    """The plan of a request, over the sites that it names or all whose agreement covers its purpose.

    A model that it is about is that of `run_of` its run, and goes to no site that had a part in it. Raises
    `PlanInvalid`, `InvalidArgument`, what `run_of` raises, or `AgreementModeNotAllowed` for a named site's agreement.
    """
    evaluated, trained = _evaluated(request, run_of)
    if set(request.sites) & set(trained):
        raise PlanInvalid(problem="a site that it names had a part in the model's training")
    members_now = nodes.members(MODES[request.purpose]).items()
    eligible = {site: fingerprint for site, fingerprint in members_now if site not in trained}
    if not set(request.sites) <= set(eligible):
        raise AgreementModeNotAllowed(mode=request.purpose)
    members = tuple(Member(site_id=site, fingerprint=eligible[site]) for site in sorted(request.sites or eligible))
    offer_of(protocol_digest).check(request)
    return complete_plan(
        request, members=members, protocol_digest=protocol_digest, proposal=proposal, evaluated=evaluated
    )


def _evaluated(
    request: PlanRequest, run_of: Callable[[RunId], Run]
) -> tuple[EvaluationTask | None, tuple[SiteId, ...]]:
    """The model that a request asks about, and the sites that its training was of."""
    if request.evaluation is None:
        return None, ()
    run = run_of(request.evaluation.run)
    if run.plan.training is None or run.state != "done":
        raise PlanInvalid(problem="the model's run is not a finished training")
    result = TrainingResult.model_validate_json(run.result)
    return evaluation_of(request.evaluation, run.plan.training, result), run.plan.roster
