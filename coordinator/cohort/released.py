"""A cohort table as it may be shown: pooled counts with the small ones hidden, and what they were made from."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from coordinator.store.interface import Reading, Work
from coordinator.store.records import Document
from shared.agreement import Moment
from shared.errors import NotFound
from shared.frozen import Frozen
from shared.ids import RunId, Sha256
from shared.manifest import canonical_json
from shared.protocol.cohort import CohortDefinition

COHORT = "cohort"  # the document's kind


class ReleasedCell(Frozen):
    """One cell; `count` is `None` where `suppressed`."""

    name: str
    count: int | None
    suppressed: bool


class ReleasedTable(Frozen):
    """What is released of a cohort. It names no site, only how many were asked and how many are in it."""

    format: Literal["ricord-cohort/1"] = "ricord-cohort/1"
    id: RunId
    definition: CohortDefinition
    definition_digest: Sha256
    protocol_digest: Sha256
    policy: str
    roster_size: int
    site_count: int
    computed_at: Moment
    cells: tuple[ReleasedCell, ...]

    @property
    def counts(self) -> dict[str, int | None]:
        """Each cell's count by name; `None`: suppressed."""
        return {cell.name: cell.count for cell in self.cells}

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())


def save_table(work: Work, table: ReleasedTable) -> None:
    """Put a released table into the store, in the caller's transaction."""
    body = canonical_json(table).decode()
    work.put_document(Document(kind=COHORT, name=table.id, state="released", body=body, changed_at=table.computed_at))


def table_of(reading: Reading, name: str) -> ReleasedTable:
    """A released table by its id; raises `NotFound`."""
    document = reading.document(COHORT, name)
    if document is None:
        raise NotFound(kind="cohort", name=name)
    return ReleasedTable.model_validate_json(document.body)


def tables(reading: Reading) -> Sequence[ReleasedTable]:
    """Every released table, the oldest first."""
    return [ReleasedTable.model_validate_json(document.body) for document in reading.documents(COHORT)]
