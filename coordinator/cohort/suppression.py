"""Which pooled cells may be shown.

Small cells are hidden, and then further cells until for each hidden cell every count the policy hides could stand
there, given all that is shown and all that the definition makes known. That is proved by witnesses, one complete table
for each hidden cell and count. Which cells are hidden for their own sake and which for another's is not told.
"""

from collections.abc import Collection, Mapping, Sequence

from coordinator.cohort.feasible import Bounds, Witnesses
from coordinator.cohort.policies import Policy
from coordinator.cohort.relations import Relation

Shown = dict[str, int | None]


def suppress(
    counts: Mapping[str, int], relations: Sequence[Relation], policy: Policy, *, never: Collection[str] = ()
) -> Shown:
    """What is shown of each cell: its (rounded) count, or `None` where it is hidden.

    `counts` are the pooled counts and fit `relations`; cells in `never` are part of relations but of no release.
    """
    search = _Search(counts, relations, policy, frozenset(never))
    while (open_claim := search.first_open()) is not None:
        if not search.hide_one_more(open_claim):
            search.hidden = set(search.cells)  # nothing is shown, so nothing follows
            break
    return {cell: None if cell in search.hidden else policy.shown(counts[cell]) for cell in search.cells}


class _Search:
    """Which cells are hidden so far, and which counts were shown to be possible in them."""

    def __init__(
        self, counts: Mapping[str, int], relations: Sequence[Relation], policy: Policy, never: frozenset[str]
    ) -> None:
        self.cells = [cell for cell in counts if cell not in never]
        self.hidden = {cell for cell in self.cells if policy.is_small(counts[cell])}
        self._counts, self._relations, self._policy, self._never = counts, relations, policy, never
        self._witnesses = Witnesses(counts, relations)
        self._possible: dict[str, set[int]] = {cell: {counts[cell]} for cell in self.cells}
        self._most = 4 * max([policy.highest, *counts.values()]) + 100

    def first_open(self) -> str | None:
        """A hidden cell for which some count of the policy's range found no witness; `None` when all have one.

        Hiding more only widens what is possible, so witnesses found before stay good.
        """
        bounds = self._bounds()
        for cell in sorted(self.hidden):
            for count in (self._policy.highest, *range(1, self._policy.highest)):
                if count in self._possible[cell]:
                    continue
                table = self._witnesses.find(cell, count, bounds)
                if table is None:
                    return cell
                for each in self.cells:
                    self._possible[each].add(table[each])
        return None

    def hide_one_more(self, cell: str) -> bool:
        """Hide the cell that best loosens the relations around `cell`; `False` when none is left."""
        for ring in self._rings(cell):
            shown = {each for relation in ring for each in relation.weights if self._is_shown(each)}
            if shown:
                self.hidden.add(min(shown, key=self._cost))
                return True
        return False

    def _rings(self, cell: str) -> list[list[Relation]]:
        """The relations of `cell`, then those of the hidden cells in them, and so on; in each ring the tightest."""
        reached, ring, seen = {cell}, [cell], set[int]()
        rings = []
        while ring:
            numbers = [
                number
                for number, relation in enumerate(self._relations)
                if number not in seen and any(relation.weights.get(each) for each in ring)
            ]
            seen.update(numbers)
            relations = [self._relations[number] for number in numbers if not _is_loose(self._relations[number])]
            tight = [each for each in relations if self._hidden_in(each) == 1]
            rings.extend([tight, relations])
            ring = [
                each
                for relation in relations
                for each in relation.weights
                if each not in reached and (each in self.hidden or each in self._never)
            ]
            reached.update(ring)
        tight_rings = [ring for number, ring in enumerate(rings) if number % 2 == 0]
        return [*tight_rings, *rings[1::2]]

    def _hidden_in(self, relation: Relation) -> int:
        return sum(cell in self.hidden for cell in relation.weights)

    def _is_shown(self, cell: str) -> bool:
        return cell not in self.hidden and cell not in self._never

    def _cost(self, cell: str) -> tuple[int, int, bool, int, str]:
        """Least first: cells that mend two relations at once, of few relations, not empty, small."""
        mine = [relation for relation in self._relations if cell in relation.weights and not _is_loose(relation)]
        mended = sum(self._hidden_in(relation) == 1 for relation in mine)
        return len(mine) - 2 * min(mended, 2), -mended, self._counts[cell] == 0, self._counts[cell], cell

    def _bounds(self) -> Bounds:
        """Between which counts each cell lies for one who sees the release."""
        anything = (0, self._most)
        return {
            cell: self._policy.behind(self._policy.shown(count)) if self._is_shown(cell) else anything
            for cell, count in self._counts.items()
        }


def _is_loose(relation: Relation) -> bool:
    return relation.low is None or relation.high is None
