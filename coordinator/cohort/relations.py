"""What anybody knows about a cohort's cells without seeing one: how they add up, and what the protocol says of them.

A suppressed cell is only as hidden as these relations leave it. Each is `low <= sum(weight * cell) <= high`.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from pydantic import Field

from coordinator.cohort.cuts import cuts_of, margins_of
from shared.frozen import Frozen
from shared.protocol.cohort import TOTALS, CohortDefinition, Variable, filled_cells

MOST_STUDIES = 10_000  # of one patient beyond an open band's lowest number: in effect unbounded


class Relation(Frozen):
    """A linear relation over whole numbers; `None`: no bound on that side."""

    weights: dict[str, int] = Field(min_length=1)
    low: int | None = 0
    high: int | None = 0

    def gap(self, counts: Mapping[str, int]) -> int:
        """How far the sum falls short of `low` (positive) or exceeds `high` (negative); 0 when the relation holds."""
        total = sum(weight * counts[cell] for cell, weight in self.weights.items())
        if self.low is not None and total < self.low:
            return self.low - total
        return self.high - total if self.high is not None and total > self.high else 0

    def holds(self, counts: Mapping[str, int]) -> bool:
        """Whether the counts fit."""
        return self.gap(counts) == 0


def relations_of(definition: CohortDefinition) -> tuple[Relation, ...]:
    """Every relation that follows from how a definition counts.

    Besides the released cells they name some that are never released: `surplus/<variable>`, the studies beyond the
    bands' lowest numbers, and the pieces of `cuts`.
    """
    relations = [_at_most(less, more) for less, more in pairwise(TOTALS)]
    for variable in definition.variables:
        relations.append(_sum(variable.cells, variable.total))
        if variable.adds_up_to is not None:
            relations.extend(_weighted(variable, variable.adds_up_to))
    for table in definition.tables:
        cells = definition.table_cells(table)
        rows, columns = definition.variable(table.rows).cells, definition.variable(table.columns).cells
        relations.extend(_sum(row, total) for row, total in zip(cells, rows, strict=True))
        relations.extend(_sum(column, total) for column, total in zip(zip(*cells, strict=True), columns, strict=True))
    relations.extend(_sum(filled_cells(field), "studies") for field in definition.filled)
    for cut in cuts_of(definition):
        relations.extend(_sum(cut.inside(band), cell) for bins in cut.bins for band, cell in bins)
    for crossed, alone in margins_of(definition):
        relations.append(Relation(weights=dict.fromkeys(crossed, 1) | dict.fromkeys(alone, -1)))
    return tuple(relations)


def statements_of(definition: CohortDefinition) -> tuple[Relation, ...]:
    """What a definition states to be known; a table of a site that does not keep to the protocol may not fit it."""
    return (
        *(Relation(weights={cell: 1}) for cell in definition.zero),
        *(Relation(weights={first: 1, second: -1}) for first, second in definition.same),
        *(_at_most(part, whole) for part, whole in definition.implies),
    )


def known_relations(definition: CohortDefinition, everything: Mapping[str, int]) -> list[Relation]:
    """What a reader knows of a table: how its cells add up, and whatever the definition states that holds of it."""
    return [*relations_of(definition), *(each for each in statements_of(definition) if each.holds(everything))]


def complete(definition: CohortDefinition, counts: Mapping[str, int]) -> dict[str, int]:
    """`counts` and the cells that relations name besides them."""
    everything = dict(counts)
    for variable in definition.variables:
        if variable.adds_up_to is not None:
            lowest = zip(variable.cells, variable.categories, strict=False)
            known = sum(counts[cell] * int(category.lowest or 0) for cell, category in lowest)
            everything[f"surplus/{variable.name}"] = counts[variable.adds_up_to] - known
    for cut in cuts_of(definition):
        everything |= cut.counts(counts)
    return everything


def worth_of(definition: CohortDefinition) -> dict[str, int]:
    """How much readers would miss a cell; rising: cells of tables, variables, totals."""
    inner = {cell for table in definition.tables for row in definition.table_cells(table) for cell in row}
    return {cell: 2 if cell in TOTALS else cell not in inner for cell in definition.cells}


def _sum(cells: Iterable[str], total: str) -> Relation:
    return Relation(weights=dict.fromkeys(cells, 1) | {total: -1})


def _at_most(less: str, more: str) -> Relation:
    return Relation(weights={less: 1, more: -1}, low=None)


def _weighted(variable: Variable, total: str) -> Iterable[Relation]:
    """The bands' lowest numbers add up to `total`, less a surplus that only wide and open bands allow."""
    surplus = f"surplus/{variable.name}"
    weights, slack = {surplus: 1, total: -1}, {surplus: 1}
    for category, cell in zip(variable.categories, variable.cells, strict=False):
        lowest = int(category.lowest or 0)
        weights[cell] = lowest
        slack[cell] = -(MOST_STUDIES if category.below is None else int(category.below) - 1 - lowest)
    yield Relation(weights=weights)
    yield Relation(weights=slack, low=None)
    yield Relation(weights={variable.cells[-1]: 1})  # a derived number is never missing
