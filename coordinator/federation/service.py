"""What coordinators and sites may ask of the federation. Runs are rows, which the federation process executes."""

import time
from collections.abc import Callable, Iterator, Sequence

from coordinator.federation import registry
from coordinator.federation.interface import RUNS, Members
from coordinator.federation.planning import MODES, plan_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Store
from coordinator.store.paging import read_page
from coordinator.store.records import Node, Run
from coordinator.store.references import resolve
from coordinator.trust.certificates import is_member_now
from shared.crypto.pki import Role
from shared.errors.federation import RunFailed
from shared.errors.protocol import ProtocolMismatch
from shared.federation.bundle import bundle_digest
from shared.federation.offer import Offered, offer_of
from shared.federation.plan import parse_request, sign_plan
from shared.frozen import Frozen
from shared.ids import Sha256, SiteId

PAGE = 500  # runs
ENDED = frozenset({"done", "failed", "declined"})
_LOOK_SECONDS = 0.25


class FederationInfo(Frozen):
    """What a site needs to connect."""

    fleet_address: str  # host:port
    root: bytes  # PEM
    bundles: tuple[Sha256, ...]
    protocol_digest: Sha256


class FederationService:
    """Runs and nodes; each method is one transaction with its audit event."""

    def __init__(
        self, store: Store, identity: Identity, *, fleet_address: str, nodes: Members, clock: Clock = utc_now
    ) -> None:
        self._store = store
        self._identity = identity
        self._fleet_address = fleet_address
        self._nodes = nodes
        self._now = clock

    def start_run(self, request: bytes, *, actor: str, wanted: Callable[[], bool] = lambda: True) -> Run:
        """Complete and sign the requested plan and queue it for the federation process.

        Raises what `plan_of` raises, or `RunFailed` when it is no longer `wanted`: nobody would learn of the run.
        """
        requested = parse_request(request).model_copy(update={"run": None})  # its name is drawn
        plan = plan_of(requested, self._nodes, self._identity.protocol_digest, run_of=self.run)
        run = Run(
            id=plan.run,
            state="pending",
            plan=plan,
            signed=sign_plan(plan, self._identity.signing_key),
            actor=actor,
            created_at=self._now(),
        )
        with self._store.begin() as work:
            if not wanted():
                raise RunFailed(problem="its caller gave up")
            work.append_event(at=self._now(), actor=actor, action=f"run {plan.purpose} asked for", about=run.id)
            work.put_run(run)
        self._store.signals.send(RUNS)
        return run

    def run(self, name: str, *, asker: str | None = None) -> Run:
        """One run, by its id or a beginning, of those that `asker` asked for; raises `NotFound`, `AmbiguousReference`.

        For who is no operator there are no other runs.
        """
        with self._store.read() as reading:
            return registry.run_of(reading, resolve(reading, "run", name, asker=asker))

    def runs(self, *, after: str = "", limit: int = 0, asker: str | None = None) -> tuple[Sequence[Run], bool]:
        """Runs, the oldest first, after the run of that id, at most `limit` (0: a whole page); whether there are more.

        With an `asker`, those that they asked for. Raises `NotFound`.
        """
        with self._store.read() as reading:
            last = registry.run_of(reading, resolve(reading, "run", after, asker=asker)) if after else None
            return read_page(lambda limit: reading.runs(actor=asker, after=last, limit=limit), limit, PAGE)

    def watch(self, name: str, *, asker: str | None = None, wanted: Callable[[], bool]) -> Iterator[Run]:
        """A run at once and at each change, until it has ended or is no longer `wanted`; raises as `run` does."""
        run = self.run(name, asker=asker)
        yield run
        while run.state not in ENDED and wanted():
            time.sleep(_LOOK_SECONDS)
            if (later := self.run(run.id, asker=asker)) != run:
                yield (run := later)

    def offered(self) -> Offered:
        """What researchers may ask, and of how many sites for each purpose."""
        counts = {purpose: len(self._nodes.members(modes)) for purpose, modes in MODES.items()}
        return Offered(offer=offer_of(self._identity.protocol_digest), sites=counts)

    def stop_run(self, name: str, *, actor: str) -> Run:
        """Ask a run to end; one that has ended stays as it is. Raises as `run` does."""
        with self._store.begin() as work:
            run = registry.run_of(work, resolve(work, "run", name))
            if run.state not in ("pending", "running"):
                return run
            unstarted = run.state == "pending"
            update = {"state": "failed", "ended_at": self._now(), "problem": "it was stopped"} if unstarted else {}
            work.append_event(at=self._now(), actor=actor, action="run stopped", about=run.id)
            stopped = run.model_copy(update=update or {"state": "stopping"})
            work.put_run(stopped)
        return stopped

    def resume_run(self, name: str, *, actor: str) -> Run:
        """Queue a training that failed once more: it goes on after the last round of which a checkpoint is kept.

        Raises as `run` does, and `RunFailed` where the run is none that can go on.
        """
        with self._store.begin() as work:
            run = registry.run_of(work, resolve(work, "run", name))
            if (run.state, run.plan.purpose) != ("failed", "training"):
                raise RunFailed(problem="only a training that has failed can go on")
            if run.plan.expires_at <= self._now():
                raise RunFailed(problem="its plan has expired: no site takes part in it now")
            researcher = run.plan.researcher
            if researcher and not is_member_now(work, Role.RESEARCHER, researcher, self._now()):
                raise RunFailed(problem=f"researcher {researcher}, who asked for it, is no longer a member")
            work.append_event(at=self._now(), actor=actor, action="run resumed", about=run.id)
            resumed = run.model_copy(update={"state": "pending", "ended_at": None, "problem": ""})
            work.put_run(resumed)
        self._store.signals.send(RUNS)
        return resumed

    def register_node(self, site_id: SiteId, public_key: bytes, *, protocol_digest: str) -> Node:
        """Store a site's node key: the SuperLink admits it while the site's agreement covers federated work.

        Raises `ProtocolMismatch`, `InvalidArgument`, `AgreementNotExecuted` or `AgreementModeNotAllowed`.
        """
        if protocol_digest != self._identity.protocol_digest:
            raise ProtocolMismatch(held=protocol_digest, wanted=self._identity.protocol_digest)
        with self._store.begin() as work:
            node = registry.register_node(work, site_id, public_key, now=self._now())
            work.append_event(at=self._now(), actor=f"site/{site_id}", action="node registered", about=site_id)
        return node

    def info(self) -> FederationInfo:
        """The fleet port's address and the bundles that run."""
        return FederationInfo(
            fleet_address=self._fleet_address,
            root=self._identity.root,
            bundles=(bundle_digest(),),
            protocol_digest=Sha256(self._identity.protocol_digest),
        )
