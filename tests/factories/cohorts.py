"""Released cohort tables for tests of what shows them."""

from datetime import UTC, datetime

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.releases import Release
from shared.federation.cell_policy import CellPolicy
from shared.ids import RunId, SiteId
from shared.protocol.loader import load_protocol
from site_node.federate.statistics import count
from tests.factories.libraries import library

PROTOCOL = load_protocol()


def released_table() -> ReleasedTable:
    """The table of sixty patients at one site under `min-5`, as if three of four sites had answered."""
    site, policy = SiteId("100001"), CellPolicy.named("min-5")
    new = Release(frozenset({site}), count(PROTOCOL.cohort, library(site, 60)), policy, {})
    counts = released_counts(PROTOCOL.cohort, new, [], seed=b"a secret")
    return ReleasedTable(
        id=RunId("R-0123456789ab"),
        definition=PROTOCOL.cohort,
        definition_digest=PROTOCOL.cohort.digest,
        protocol_digest=PROTOCOL.digest,
        policy="min-5",
        roster_size=4,
        site_count=3,
        computed_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=tuple(ReleasedCell(name=cell, count=shown, suppressed=shown is None) for cell, shown in counts.items()),
    )
