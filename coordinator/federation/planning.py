"""From a request to a plan: which sites it goes to, and whether the protocol offers what it names."""

from coordinator.federation.interface import Members
from shared.agreement import Mode
from shared.errors.agreements import AgreementModeNotAllowed
from shared.federation.offer import offer_of
from shared.federation.plan import Member, Plan, PlanRequest, Proposal, Purpose, complete_plan
from shared.ids import Sha256

MODES: dict[Purpose, tuple[Mode, ...]] = {
    "training": (Mode.TRAINING,),
    "statistics": (Mode.COHORT, Mode.STATISTICS),
}


def plan_of(request: PlanRequest, nodes: Members, protocol_digest: Sha256, *, proposal: Proposal | None = None) -> Plan:
    """The plan of a request, over the sites that it names or all whose agreement covers its purpose.

    Raises `PlanInvalid`, `InvalidArgument`, or `AgreementModeNotAllowed` for a named site's agreement.
    """
    eligible = nodes.members(MODES[request.purpose])
    if not set(request.sites) <= set(eligible):
        raise AgreementModeNotAllowed(mode=request.purpose)
    members = tuple(Member(site_id=site, fingerprint=eligible[site]) for site in sorted(request.sites or eligible))
    offer_of(protocol_digest).check(request)
    return complete_plan(request, members=members, protocol_digest=protocol_digest, proposal=proposal)
