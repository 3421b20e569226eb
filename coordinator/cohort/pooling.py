"""From the sites' masked counts to a releasable table. Only the sum is ever seen, and only here."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from coordinator.cohort.means import released_means
from coordinator.cohort.noisy import noisy_counts
from coordinator.cohort.relations import complete, relations_of
from coordinator.cohort.released import ReleasedCell, ReleasedMean, ReleasedNoise, ReleasedTable
from coordinator.cohort.releases import Release, suppress_jointly
from coordinator.cohort.suppression import Shown
from coordinator.federation.registry import peers_of
from coordinator.home.identity import Clock, Identity, utc_now
from coordinator.store.interface import Store, Work
from coordinator.store.records import PooledCounts
from shared.errors.federation import PlanInvalid, RunFailed
from shared.federation.asked import definition_asked, inputs_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.cohort import definition_of, subject_of
from shared.federation.exchange import Exchange
from shared.federation.plan import Plan
from shared.federation.secure_sum.messages import Peer, SumPlan
from shared.federation.secure_sum.policy import default_threshold
from shared.federation.secure_sum.server import Sum, sum_without_liars
from shared.ids import SiteId
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

        Raises `PlanInvalid`, `TooFewSites`, `SecureSumRefused`, or `RunFailed` when the sum cannot be a sum of counts
        or cannot be shown beside earlier tables; then nothing is stored.
        """
        if plan.statistics is None:
            raise PlanInvalid(problem="it asks for no statistics")
        definition = definition_asked(plan.statistics, plan.protocol_digest)
        protocol = definition_of(plan.protocol_digest)
        policy = CellPolicy.named(plan.statistics.policy)
        pooled = self._pooled(plan, definition, policy, exchange)
        if plan.statistics.privacy is not None:
            shown, noise = noisy_counts(definition, policy, plan.statistics.privacy, pooled)
            sites, now = len(pooled.survivors), self._now()
            table = table_of(plan, definition, policy, shown, noise=noise, sites=sites, computed_at=now)
            with self._store.begin() as work:
                _add(work, table, now)
            return canonical_json(table)
        counts, sums = counts_of(definition, pooled)
        new = Release(sites=frozenset(pooled.survivors), counts=counts, policy=policy, shown={})
        while True:
            earlier, seed = self._released(definition)
            shown = released_counts(definition, new, earlier, seed=seed, protocol=protocol)
            means = released_means(definition, new._replace(shown=shown), sums, earlier, protocol=protocol)
            table = table_of(
                plan, definition, policy, shown, means=means, sites=len(pooled.survivors), computed_at=self._now()
            )
            with self._store.begin() as work:
                if len(work.pooled_counts(definition.name)) > len(earlier):
                    continue  # another table was released meanwhile
                _add(work, table, self._now())
                work.add_pooled_counts(
                    PooledCounts(
                        id=table.id, name=definition.name, sites=pooled.survivors, counts=counts, seed=seed.hex()
                    )
                )
            return canonical_json(table)

    def _pooled(self, plan: Plan, definition: CohortDefinition, policy: CellPolicy, exchange: Exchange) -> Sum:
        with self._store.read() as reading:
            peers = peers_of(reading, plan.roster)
        sum_plan = sum_plan_of(plan, definition, policy, peers)
        return sum_without_liars(sum_plan, self._identity.signing_key, exchange, refuse=self._record_refusal)

    def _record_refusal(self, site: SiteId, reason: str) -> None:
        with self._store.begin() as work:
            work.append_event(
                at=self._now(),
                actor="federation",
                action="secure sum goes on without what a site gave",
                about=site,
                result=reason,
            )

    def _released(self, definition: CohortDefinition) -> tuple[list[Release], bytes]:
        """Every table of this cohort that was released, and the secret seed of all; a new one where there is none."""
        with self._store.read() as reading:
            pooled = reading.pooled_counts(definition.name)
            tables = [
                ReleasedTable.model_validate_json(row.table) for each in pooled if (row := reading.cohort(each.id))
            ]
        releases = [
            Release(frozenset(made.sites), made.counts, CellPolicy.named(table.policy), table.counts, table.definition)
            for made, table in zip(pooled, tables, strict=True)
        ]
        return releases, bytes.fromhex(pooled[0].seed) if pooled else secrets.token_bytes(32)


def _add(work: Work, table: ReleasedTable, now: datetime) -> None:
    work.append_event(at=now, actor="federation", action="cohort released", about=table.id)
    work.add_cohort(table.row())


def counts_of(definition: CohortDefinition, pooled: Sum) -> tuple[dict[str, int], list[int]]:
    """Each cell's pooled count, and the pooled sums of the means."""
    words: list[int] = pooled.total.tolist()
    cells = definition.cells
    return dict(zip(cells, words, strict=False)), words[len(cells) :]


def sum_plan_of(plan: Plan, definition: CohortDefinition, policy: CellPolicy, peers: tuple[Peer, ...]) -> SumPlan:
    """The secure sum of a definition's counts over `peers`; raises `PlanInvalid` where they are too few."""
    return SumPlan(
        session=secrets.token_hex(16),
        subject=subject_of(definition),
        protocol_digest=plan.protocol_digest,
        length=definition.length,
        roster=peers,
        threshold=threshold_for(len(peers)),
        cells=policy.name,
        inputs="" if plan.statistics is None else inputs_asked(plan.statistics, definition),
    )


def table_of(
    plan: Plan,
    definition: CohortDefinition,
    policy: CellPolicy,
    shown: Shown,
    *,
    means: tuple[ReleasedMean, ...] = (),
    noise: ReleasedNoise | None = None,
    sites: int,
    computed_at: datetime,
) -> ReleasedTable:
    """The table of what may be shown of the counts of `sites` sites."""
    return ReleasedTable(
        id=plan.run,
        definition=definition,
        definition_digest=definition.digest,
        protocol_digest=plan.protocol_digest,
        policy=policy.name,
        roster_size=len(plan.roster),
        site_count=sites,
        computed_at=computed_at,
        cells=tuple(ReleasedCell(name=cell, count=shown[cell], suppressed=shown[cell] is None) for cell in shown),
        means=means,
        noise=noise,
    )


def released_counts(
    definition: CohortDefinition,
    new: Release,
    earlier: Sequence[Release],
    *,
    seed: bytes,
    protocol: CohortDefinition | None = None,
) -> Shown:
    """Each cell's count as it may be shown beside what was shown `earlier`, `None` where hidden.

    `definition` is that of `new`, taken from the `protocol`'s, or that one itself. Raises `RunFailed` when the counts
    cannot be counts or cannot be shown.
    """
    everything = complete(definition, new.counts)
    if min(everything.values()) < 0 or not all(relation.holds(everything) for relation in relations_of(definition)):
        raise RunFailed(problem="the pooled numbers do not fit together, so a site did not count by the definition")
    return suppress_jointly(definition, new, earlier, seed=seed, protocol=protocol)


def threshold_for(sites: int) -> int:
    """The session's threshold; raises `PlanInvalid` for a roster that is too small for one."""
    threshold = default_threshold(sites)
    if threshold > sites:
        raise PlanInvalid(problem=f"{sites} sites are too few for a secure sum")
    return threshold
