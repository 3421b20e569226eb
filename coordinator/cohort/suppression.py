"""Which pooled cells may be shown.

Small cells are hidden, and then further cells until in each small cell every count the policy hides could stand, given
all that is shown and all that the definition makes known. That is proved by witnesses, one complete table for each
small cell and count. A cell that is hidden only for another's sake is not small, so nothing need be proved of it; which
cells those are is not told.
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

    `counts` are the pooled counts and fit `relations`; cells in `never` are part of relations but of no release. A cell
    of more `worth` (0 when not given) is hidden only when none of less would help.
    """
    search = _Search(counts, relations, policy, frozenset(never), worth)
    while (loose_end := search.first_open()) is not None:
        if not search.hide_one_more(loose_end):
            return dict.fromkeys(search.cells)  # nothing is shown, so nothing follows
    search.show_again()
    return {cell: None if cell in search.hidden else policy.shown(counts[cell]) for cell in search.cells}


class _Search:
    """Which cells are hidden so far, and the witnesses that were found for them."""

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

    def first_open(self) -> str | None:
        """A small cell for which some count of the policy's range found no witness; `None` when all have one.

        Hiding more only widens what is possible, so witnesses found before stay good.
        """
        bounds = self._bounds()
        self._witnesses.narrow(bounds)
        for cell in self.small:
            seen = {table[cell] for table in self._tables}
            for count in (self._policy.highest, *range(1, self._policy.highest)):
                if count not in seen:
                    table = self._witnesses.find(cell, count, bounds)
                    if table is None:
                        return cell
                    self._tables.append(table)
        return None

    def show_again(self) -> None:
        """Show what was hidden for another's sake and need not be, the worthiest first."""
        extra = [cell for cell in self.cells if cell in self.hidden.difference(self.small)]
        for cell in sorted(extra, key=lambda each: -self._worth.get(each, 0)):
            tables, (low, high) = self._tables, self._policy.behind(self._policy.shown(self._counts[cell]))
            self.hidden.remove(cell)
            self._tables = [table for table in tables if low <= table[cell] <= high]
            if self.first_open() is not None:
                self.hidden.add(cell)
                self._tables = tables

    def hide_one_more(self, cell: str) -> bool:
        """Hide the cell that best loosens the relations around `cell`; `False` when none is left."""
        rings = self._rings(cell)
        near = {each for ring in rings for relation in ring for each in relation.weights}
        choice = {each for each in near if self._is_shown(each)} - self._known
        if not choice:
            return False
        least = min(self._worth.get(each, 0) for each in choice)
        for ring in rings:
            shown = {each for relation in ring for each in relation.weights} & choice
            worthless = [each for each in shown if self._worth.get(each, 0) == least]
            if worthless:
                self.hidden.add(min(worthless, key=self._cost))
                return True
        return False

    def _rings(self, cell: str) -> list[list[Relation]]:
        """The relations of `cell`, then those of the hidden cells in them, and so on; the tight ones of all first."""
        reached, ring, tight, rest = {cell}, {cell}, [], []
        while ring:
            touching = [each for each in self._relations if any(each.weights.get(one) for one in ring)]
            tight.append([each for each in touching if not _is_loose(each) and self._hidden_in(each) == 1])
            rest.append(touching)
            ring = {one for each in touching for one in each.weights if not self._is_shown(one)} - reached
            reached |= ring
        return [*tight, *rest]

    def _hidden_in(self, relation: Relation) -> int:
        return sum(cell in self.hidden for cell in relation.weights)

    def _is_shown(self, cell: str) -> bool:
        return cell not in self.hidden and cell not in self._never

    def _cost(self, cell: str) -> tuple[int, int, bool, int, str]:
        """Least first: cells that mend two relations at once, of few relations, not empty, small."""
        mine = [relation for relation in self._relations if cell in relation.weights and not _is_loose(relation)]
        mended = sum(self._hidden_in(relation) == 1 for relation in mine)
        few = len(mine) - 2 * min(mended, 2)
        return few, -mended, self._counts[cell] == 0, self._counts[cell], cell

    def _bounds(self) -> Bounds:
        """Between which counts each cell lies for one who sees the release."""
        anything = (0, self._most)
        return {
            cell: self._policy.behind(self._policy.shown(count)) if self._is_shown(cell) else anything
            for cell, count in self._counts.items()
        }


def _is_loose(relation: Relation) -> bool:
    return relation.low is None or relation.high is None
