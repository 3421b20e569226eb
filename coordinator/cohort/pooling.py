"""From the sites' masked counts to a releasable table. Only the sum is ever seen, and only here."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

from coordinator.cohort.relations import complete, relations_of, statements_of, worth_of
from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.suppression import suppress
from coordinator.federation.registry import peers_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Store
from shared.errors.federation import PlanInvalid, RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of, subject_of
from shared.federation.exchange import Exchange
from shared.federation.plan import Plan
from shared.federation.secure_sum.messages import Peer, SumPlan
from shared.federation.secure_sum.policy import default_threshold
from shared.federation.secure_sum.server import Refuse, sum_without_liars
from shared.ids import RunId, SiteId
from shared.manifest import canonical_json
from shared.protocol.cohort import CohortDefinition


class Pooling:
    """The federation process's callback for statistics: executes one plan."""

    def __init__(self, store: Store, identity: Identity, clock: Clock = utc_now) -> None:
        self._store = store
        self._identity = identity
        self._now = clock

    def __call__(self, plan: Plan, exchange: Exchange) -> bytes:
        """Run a plan of purpose `statistics`, store the table and return its canonical JSON.

        Raises `PlanInvalid`, `TooFewSites`, `SecureSumRefused` or `RunFailed`; then nothing is stored.
        """
        definition = definition_of(plan.protocol_digest)
        if plan.statistics is None or plan.statistics.cohort != definition.name:
            raise PlanInvalid(problem=f"this protocol's cohort is `{definition.name}`")
        with self._store.read() as reading:
            peers = peers_of(reading, plan.roster)
        table = compute_cohort(
            definition,
            run=plan.run,
            peers=peers,
            exchange=exchange,
            policy=CellPolicy.named(plan.statistics.policy),
            identity=self._identity,
            now=self._now(),
            refuse=self._record_refusal,
        )
        with self._store.begin() as work:
            work.append_event(at=self._now(), actor="federation", action="cohort released", about=table.id)
            work.add_cohort(table.row())
        return canonical_json(table)

    def _record_refusal(self, site: SiteId, reason: str) -> None:
        with self._store.begin() as work:
            work.append_event(
                at=self._now(),
                actor="federation",
                action="secure sum goes on without what a site gave",
                about=site,
                result=reason,
            )


def compute_cohort(
    definition: CohortDefinition,
    *,
    run: RunId,
    peers: Sequence[Peer],
    exchange: Exchange,
    policy: CellPolicy,
    identity: Identity,
    now: datetime,
    refuse: Refuse,
) -> ReleasedTable:
    """Sum the counts of `peers` (by SITEID, ascending) and suppress what is small; `refuse` hears of liars.

    Raises `PlanInvalid`, `TooFewSites`, `SecureSumRefused`, or `RunFailed` when the sum cannot be a sum of counts.
    """
    plan = SumPlan(
        session=secrets.token_hex(16),
        subject=subject_of(definition),
        protocol_digest=identity.protocol_digest,
        length=len(definition.cells),
        roster=tuple(peers),
        threshold=threshold_for(len(peers)),
        cells=policy.name,
    )
    pooled = sum_without_liars(plan, identity.signing_key, exchange, refuse=refuse)
    counts = dict(zip(definition.cells, pooled.total.tolist(), strict=True))
    shown = released_counts(definition, counts, policy, seed=secrets.token_bytes(32))
    return ReleasedTable(
        id=run,
        definition=definition,
        definition_digest=definition.digest,
        protocol_digest=identity.protocol_digest,
        policy=policy.name,
        roster_size=len(peers),
        site_count=len(pooled.survivors),
        computed_at=now,
        cells=tuple(ReleasedCell(name=cell, count=count, suppressed=count is None) for cell, count in shown.items()),
    )


def released_counts(
    definition: CohortDefinition, counts: Mapping[str, int], policy: CellPolicy, *, seed: bytes
) -> dict[str, int | None]:
    """Each cell's count as it may be shown, `None` where hidden; raises `RunFailed` when they cannot be counts."""
    relations, everything = relations_of(definition), complete(definition, counts)
    if min(everything.values()) < 0 or not all(relation.holds(everything) for relation in relations):
        raise RunFailed(problem="the pooled numbers do not fit together, so a site did not count by the definition")
    known = [*relations, *(statement for statement in statements_of(definition) if statement.holds(everything))]
    return suppress(
        everything, known, policy, seed=seed, never=set(everything) - set(counts), worth=worth_of(definition)
    )


def threshold_for(sites: int) -> int:
    """The session's threshold; raises `PlanInvalid` for a roster that is too small for one."""
    threshold = default_threshold(sites)
    if threshold > sites:
        raise PlanInvalid(problem=f"{sites} sites are too few for a secure sum")
    return threshold
