"""Which pooled cells may be shown.

Primary suppression hides the small cells. Secondary suppression hides further cells until each small cell could hold
every count that the policy hides, given all that is shown and all that the definition makes known. Witnesses prove it:
one complete table for each small cell and count. A cell hidden only to protect another is not small, so nothing need
be proved of it; the release does not say which cells those are.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from coordinator.cohort.feasible import Bounds, Witnesses
from coordinator.cohort.policies import Policy
from coordinator.cohort.relations import Relation

Shown = dict[str, int | None]


def suppress(
    counts: Mapping[str, int],
    relations: Sequence[Relation],
    policy: Policy,
    *,
    never: Collection[str] = (),
    worth: Mapping[str, int] = MappingProxyType({}),
) -> Shown:
    """What is shown of each cell: its (rounded) count, or `None` where it is hidden.

    `counts` are the pooled counts and fit `relations`; cells in `never` occur in relations but are never released. A
    cell of more `worth` (default 0) is hidden only when no cell of less worth would help.
    """
    search = _Search(counts, relations, policy, frozenset(never), worth)
    while (unprotected := search.first_unprotected()) is not None:
        if not search.hide_another(unprotected):
            return dict.fromkeys(search.cells)  # nothing is shown, so nothing follows
    search.reveal_unneeded()
    return {cell: None if cell in search.hidden else policy.shown(counts[cell]) for cell in search.cells}


class _Search:
    """Which cells are hidden so far, and the witnesses for them."""

    def __init__(
        self,
        counts: Mapping[str, int],
        relations: Sequence[Relation],
        policy: Policy,
        never: frozenset[str],
        worth: Mapping[str, int],
    ) -> None:
        self.cells = [cell for cell in counts if cell not in never]
        self.small = [cell for cell in self.cells if policy.is_small(counts[cell])]
        self.hidden = set(self.small)
        self._counts, self._relations, self._policy, self._never, self._worth = counts, relations, policy, never, worth
        self._witnesses = Witnesses(counts, relations)
        self._most = 4 * max([policy.highest, *counts.values()]) + 100
        self._known = self._witnesses.known(dict.fromkeys(counts, (0, self._most)))
        self._tables: list[Mapping[str, int]] = [counts]

    def first_unprotected(self) -> str | None:
        """A small cell that lacks a witness for some count the policy hides; `None` when all have theirs.

        Hiding more only widens what is possible, so earlier witnesses stay valid.
        """
        bounds = self._bounds()
        self._witnesses.narrow(bounds)
        for cell in self.small:
            witnessed = {table[cell] for table in self._tables}
            for count in (self._policy.highest, *range(1, self._policy.highest)):
                if count not in witnessed:
                    table = self._witnesses.find(cell, count, bounds)
                    if table is None:
                        return cell
                    self._tables.append(table)
        return None

    def reveal_unneeded(self) -> None:
        """Show the cells of secondary suppression that need not be hidden, those of most worth first."""
        extra = [cell for cell in self.cells if cell in self.hidden.difference(self.small)]
        for cell in sorted(extra, key=lambda name: -self._worth.get(name, 0)):
            tables, (low, high) = self._tables, self._policy.range_of(self._policy.shown(self._counts[cell]))
            self.hidden.remove(cell)
            self._tables = [table for table in tables if low <= table[cell] <= high]
            if self.first_unprotected() is not None:
                self.hidden.add(cell)
                self._tables = tables

    def hide_another(self, cell: str) -> bool:
        """Hide the cell that best loosens the relations around `cell`; `False` when no cell is left to hide."""
        rings = self._rings(cell)
        near = {name for ring in rings for relation in ring for name in relation.weights}
        choice = {name for name in near if self._is_shown(name)} - self._known
        if not choice:
            return False
        least = min(self._worth.get(name, 0) for name in choice)
        for ring in rings:
            shown = {name for relation in ring for name in relation.weights} & choice
            candidates = [name for name in shown if self._worth.get(name, 0) == least]
            if candidates:
                self.hidden.add(min(candidates, key=self._cost))
                return True
        return False

    def _rings(self, cell: str) -> list[list[Relation]]:
        """The relations of `cell`, then those of the hidden cells in them, and so on; the tight ones of all first."""
        reached, ring, tight, touched = {cell}, {cell}, [], []
        while ring:
            touching = [relation for relation in self._relations if any(relation.weights.get(name) for name in ring)]
            tight.append([each for each in touching if not _is_loose(each) and self._hidden_in(each) == 1])
            touched.append(touching)
            ring = {name for relation in touching for name in relation.weights if not self._is_shown(name)} - reached
            reached |= ring
        return [*tight, *touched]

    def _hidden_in(self, relation: Relation) -> int:
        return sum(cell in self.hidden for cell in relation.weights)

    def _is_shown(self, cell: str) -> bool:
        return cell not in self.hidden and cell not in self._never

    def _cost(self, cell: str) -> tuple[int, int, bool, int, str]:
        """Least first: cells that loosen two tight relations at once, of few relations, not empty, small."""
        mine = [relation for relation in self._relations if cell in relation.weights and not _is_loose(relation)]
        loosened = sum(self._hidden_in(relation) == 1 for relation in mine)
        few = len(mine) - 2 * min(loosened, 2)
        return few, -loosened, self._counts[cell] == 0, self._counts[cell], cell

    def _bounds(self) -> Bounds:
        """The counts between which each cell lies for a reader of the release."""
        anything = (0, self._most)
        return {
            cell: self._policy.range_of(self._policy.shown(count)) if self._is_shown(cell) else anything
            for cell, count in self._counts.items()
        }


def _is_loose(relation: Relation) -> bool:
    return relation.low is None or relation.high is None
