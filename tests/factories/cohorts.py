"""Released cohort tables for tests of what shows them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.released import ReleasedCell, ReleasedTable
from coordinator.cohort.releases import Release
from shared.federation.asked import definition_asked
from shared.federation.cell_policy import CellPolicy
from shared.federation.histogram import Histogram
from shared.federation.task import StatisticsTask
from shared.ids import RunId, SiteId
from shared.protocol.cohort import CohortDefinition, Table, table_cell
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count
from tests.factories.libraries import library

PROTOCOL = load_protocol()


def released_table() -> ReleasedTable:
    """The table of sixty patients at one site under `min-5`, as if three of four sites had answered."""
    site, policy = SiteId("100001"), CellPolicy.named("min-5")
    new = Release(frozenset({site}), count(PROTOCOL.cohort, library(site, 60)), policy, {})
    counts = released_counts(PROTOCOL.cohort, new, [], seed=b"a secret")
    return table_showing(PROTOCOL.cohort, counts, policy="min-5")


def table_showing(definition: CohortDefinition, shown: Mapping[str, int | None], *, policy: str) -> ReleasedTable:
    """A released table of some counts, hidden where they are `None`, as if three of four sites had answered."""
    return ReleasedTable(
        id=RunId("R-0123456789ab"),
        definition=definition,
        definition_digest=definition.digest,
        protocol_digest=PROTOCOL.digest,
        policy=policy,
        roster_size=4,
        site_count=3,
        computed_at=datetime(2026, 11, 1, tzinfo=UTC),
        cells=tuple(ReleasedCell(name=cell, count=count, suppressed=count is None) for cell, count in shown.items()),
    )


_BINS = Histogram(variable="stay", edges=(3, 7, 14, 30))
_TASK = StatisticsTask(cohort="ricord", histograms=(_BINS,), tables=(Table(rows="stay", columns="outcome"),))
_STAYS = definition_asked(_TASK, PROTOCOL.digest)
STAY = next(each for each in _STAYS.variables if each.field == "stay")


def stay_cell(bin_: str, outcome: str) -> str:
    """The cell of a table of stays by outcome."""
    [crossed] = _STAYS.tables
    return table_cell(crossed, *((bin_, outcome) if crossed.rows == STAY.name else (outcome, bin_)))


def stays(died: Sequence[int], alive: Sequence[int], hidden: Collection[str] = ()) -> ReleasedTable:
    """Stays by outcome: how many ended in each of five bins of days, with some cells hidden."""
    counts = dict.fromkeys(_STAYS.cells, 0) | {"studies": sum(died) + sum(alive)}
    for label, dead, living in zip(STAY.labels, died, alive, strict=False):
        counts |= {stay_cell(label, "died"): dead, stay_cell(label, "discharged"): living}
        counts[f"{STAY.name}/{label}"] = dead + living
    shown = {name: None if name in hidden else count for name, count in counts.items()}
    return table_showing(_STAYS, shown, policy="min-2")
