"""A cohort table as it may be shown: pooled counts with the small ones hidden, and what they were made from."""

import hashlib
import operator
from typing import Literal

from pydantic import Field

from coordinator.store.records import Cohort
from shared.agreement import Moment
from shared.frozen import Frozen
from shared.ids import RunId, Sha256
from shared.manifest import canonical_json
from shared.protocol.cohort import CohortDefinition


class ReleasedCell(Frozen):
    """One cell; `count` is `None` where `suppressed`."""

    name: str
    count: int | None
    suppressed: bool


class ReleasedMean(Frozen):
    """A mean and a standard deviation, to multiples of a step; `None` where they are withheld."""

    variable: str
    mean: float | None = None
    deviation: float | None = None
    step: float | None = None


class ReleasedNoise(Frozen):
    """The noise of a table's counts: what each site spent, and within what of its figure a count lies, 95 in 100."""

    epsilon: float
    within: int

    def interval(self, count: int) -> tuple[int, int]:
        """Where a count lies whose figure is given; no count is negative."""
        return max(count - self.within, 0), count + self.within


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
    means: tuple[ReleasedMean, ...] = Field(default=(), exclude_if=operator.not_)
    noise: ReleasedNoise | None = Field(default=None, exclude_if=operator.not_)

    @property
    def counts(self) -> dict[str, int | None]:
        """Each cell's count by name; `None`: suppressed."""
        return {cell.name: cell.count for cell in self.cells}

    @property
    def digest(self) -> Sha256:
        """SHA-256 of the canonical JSON."""
        return Sha256(hashlib.sha256(canonical_json(self)).hexdigest())

    def row(self) -> Cohort:
        """The table as the store keeps it."""
        return Cohort(
            id=self.id,
            name=self.definition.name,
            policy=self.policy,
            site_count=self.site_count,
            computed_at=self.computed_at,
            table_sha256=self.digest,
            table=canonical_json(self).decode(),
        )
