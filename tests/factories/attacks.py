"""A reader of released tables who works out hidden counts by integer programming."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from coordinator.cohort.relations import Relation

MOST = 100_000  # a count that no table of these tests reaches

Span = tuple[int, int]


class Attack:
    """What follows for each cell from linear relations and from the span in which each cell is seen to lie."""

    def __init__(self, relations: Sequence[Relation], spans: Mapping[str, Span]) -> None:
        self._place = {cell: place for place, cell in enumerate(spans)}
        entries = [
            (row, self._place[cell], weight)
            for row, relation in enumerate(relations)
            for cell, weight in relation.weights.items()
        ]
        rows, columns, weights = np.array(entries).T if entries else np.zeros((3, 0))
        matrix = csr_array((weights, (rows, columns)), shape=(len(relations), len(spans)))
        low = [-np.inf if relation.low is None else relation.low for relation in relations]
        high = [np.inf if relation.high is None else relation.high for relation in relations]
        self._relations = [LinearConstraint(matrix, low, high)] if relations else []
        self._spans = Bounds([low for low, _ in spans.values()], [high for _, high in spans.values()])

    def span(self, cell: str) -> Span:
        """The smallest and the largest whole number that the cell may hold."""
        return self._extreme(cell, 1), self._extreme(cell, -1)

    def covers(self, cell: str, highest: int) -> bool:
        """Whether the cell may hold 1 as well as `highest`, so anything between as far as this attack knows."""
        low, high = self.span(cell)
        return low <= 1 and high >= highest

    def _extreme(self, cell: str, sign: int) -> int:
        return self.table(cell, sign)[cell]

    def table(self, cell: str, sign: int) -> dict[str, int]:
        """A whole table that fits, in which the cell holds the least that it may (`sign` 1) or the most (-1)."""
        goal = np.zeros(len(self._place))
        goal[self._place[cell]] = sign
        result = milp(goal, constraints=self._relations, bounds=self._spans, integrality=np.ones(len(self._place)))
        assert result.success, result.message
        return {name: round(count) for name, count in zip(self._place, result.x, strict=True)}
