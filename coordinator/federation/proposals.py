"""What researchers propose: a signed request waits until an operator approves or declines it, then it is a run."""

from coordinator.federation import registry
from coordinator.federation.interface import RUNS, Members
from coordinator.federation.planning import plan_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Reading, Store, Work
from coordinator.store.records import Run
from coordinator.store.references import resolve
from coordinator.trust.certificates import check_certificate_row
from shared.crypto import pki
from shared.crypto.pki import Role
from shared.errors.federation import PlanInvalid, RunNotProposed
from shared.errors.inputs import InvalidArgument
from shared.errors.trust import SignatureInvalid
from shared.federation.plan import Plan, PlanRequest, Proposal, sign_plan
from shared.federation.proposal import verify_proposal
from shared.ids import RunId

_LONGEST_REASON = 300


def asker_named(researcher: str) -> str:
    """A researcher as runs and the audit log name them."""
    return f"{Role.RESEARCHER}/{researcher}"


class ProposalService:
    """Proposals; each method is one transaction with its audit event."""

    def __init__(self, store: Store, identity: Identity, nodes: Members, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._nodes = nodes
        self._now = clock

    def propose(self, proposal: Proposal, *, researcher: str) -> Run:
        """Keep what a researcher asks for; the same proposal again is the same run.

        Raises what `verify_proposal` and `plan_of` raise, `SignatureInvalid` for another researcher's or under a key
        that they did not register, and `PlanInvalid` for the name of another run.
        """
        now = self._now()
        request = verify_proposal(proposal, self._identity.root, now)
        plan = self._plan_of(request, proposal)
        with self._store.begin() as work:
            member = work.member(Role.RESEARCHER, researcher)
            if member is None or (request.researcher, proposal.verify_key) != (researcher, member.verify_key):
                raise SignatureInvalid("another researcher's, or another key", what="the researcher's request")
            _check_certificate(work, proposal, researcher, self._now)
            known = work.run(plan.run)
            if known is not None and (known.plan.proposal is None or known.plan.proposal.signed != proposal.signed):
                raise PlanInvalid(problem="there is a run of that name")
            if known is not None:
                return known
            run = Run(
                id=plan.run, state="proposed", plan=plan, signed="", actor=asker_named(researcher), created_at=now
            )
            work.append_event(at=now, actor=run.actor, action=f"run {plan.purpose} proposed", about=run.id)
            work.put_run(run)
        return run

    def approve(self, name: str, *, actor: str) -> Run:
        """Sign the plan of a proposal, over the sites that may take part now, and queue it.

        Raises as `FederationService.run` does and as `plan_of`; `RunNotProposed`; `CertificateForeign` or
        `CertificateExpired` for a certificate of the researcher's that is not good any more.
        """
        with self._store.read() as reading:
            _, proposal = _proposed(reading, name)
        request = verify_proposal(proposal, self._identity.root, self._now())
        plan = self._plan_of(request, proposal)
        with self._store.begin() as work:
            run, _ = _proposed(work, plan.run)
            _check_certificate(work, proposal, request.researcher, self._now)
            approved = run.model_copy(
                update={"state": "pending", "plan": plan, "signed": sign_plan(plan, self._identity.signing_key)}
            )
            work.append_event(at=self._now(), actor=actor, action="run approved", about=run.id)
            work.put_run(approved)
        self._store.signals.send(RUNS)
        return approved

    def _plan_of(self, request: PlanRequest, proposal: Proposal) -> Plan:
        def run_of(run: RunId) -> Run:  # a researcher evaluates models of runs that they asked for
            with self._store.read() as reading:
                return registry.run_of(reading, resolve(reading, "run", run, asker=asker_named(request.researcher)))

        return plan_of(request, self._nodes, self._identity.protocol_digest, run_of=run_of, proposal=proposal)

    def decline(self, name: str, reason: str, *, actor: str) -> Run:
        """End a proposal for a reason that its researcher reads.

        Raises as `FederationService.run` does, `RunNotProposed`, `InvalidArgument` for a reason that is none.
        """
        reason = " ".join(reason.split())
        if not reason or len(reason) > _LONGEST_REASON or not reason.isprintable():
            raise InvalidArgument(name="The reason", problem=f"it needs 1 to {_LONGEST_REASON} printable characters")
        with self._store.begin() as work:
            run, _ = _proposed(work, name)
            return _decline(work, run, reason, actor, self._now)


def end_runs_of(work: Work, researcher: str, clock: Clock) -> None:
    """End what a researcher whose certificates were revoked had asked for: decline, or stop by that name."""
    problem = f"the certificate of researcher {researcher} was revoked"
    for run in work.runs("proposed", "pending", "running", actor=asker_named(researcher)):
        if run.state == "proposed":
            _decline(work, run, problem, "coordinator", clock)
            continue
        ended = {"state": "failed", "ended_at": clock()} if run.state == "pending" else {"state": "stopping"}
        work.append_event(at=clock(), actor="coordinator", action="run stopped", about=run.id, result=problem)
        work.put_run(run.model_copy(update={**ended, "problem": problem}))


def _decline(work: Work, run: Run, reason: str, actor: str, clock: Clock) -> Run:
    declined = run.model_copy(update={"state": "declined", "ended_at": clock(), "problem": reason})
    work.append_event(at=clock(), actor=actor, action="run declined", about=run.id, result=reason)
    work.put_run(declined)
    return declined


def _proposed(reading: Reading, name: str | RunId) -> tuple[Run, Proposal]:
    run = registry.run_of(reading, resolve(reading, "run", name))
    if run.state != "proposed" or run.plan.proposal is None:
        raise RunNotProposed(run=run.id, state=run.state)
    return run, run.plan.proposal


def _check_certificate(reading: Reading, proposal: Proposal, researcher: str, clock: Clock) -> None:
    serial = pki.serial_of(proposal.certificate.encode())
    check_certificate_row(reading, serial, role=Role.RESEARCHER, name=researcher, now=clock())
