"""Which pooled cells may be shown.

Primary suppression hides the small cells. Secondary suppression hides further cells until each small cell could hold
every count that its policy hides, given all that is shown, was shown before, and is known anyway. Witnesses prove it:
one complete table for each small cell and count. A hidden cell that is not small but might be, as far as a reader can
tell, is held to the same; so whether a choice of hidden cells protects follows from what is shown alone.

Which further cells are hidden, a secret seed helps to decide: some more than need be, and of equals any. So a reader
who has this program cannot rule out a table that fits the release for having led to other hidden cells.
"""

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from coordinator.cohort.feasible import Bounds, Witnesses
from coordinator.cohort.relations import Relation
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy

Shown = dict[str, int | None]
Span = tuple[int, int]

_KEPT = 1 / 8  # of the cells that turn out not to be needed stay hidden
_BY_CHANCE = 1 / 64  # of the cells are hidden without need


def suppress(
    counts: Mapping[str, int],
    relations: Sequence[Relation],
    policy: CellPolicy,
    *,
    seed: bytes,
    never: Collection[str] = (),
    worth: Mapping[str, int] = MappingProxyType({}),
    hidden: Collection[str] = (),
    seen: Mapping[str, Span] = MappingProxyType({}),
    guards: Mapping[str, int] = MappingProxyType({}),
) -> Shown:
    """What is shown of each cell: its (rounded) count, or `None` where it is hidden.

    `counts` are the pooled counts and fit `relations`; cells in `never` occur in relations but are never released. A
    cell of more `worth` (default 0) is hidden only when no cell of less worth would help. `hidden` cells are hidden
    whatever they hold; `seen` are the spans in which readers know cells to lie; `guards`: up to which count a cell must
    stay possible, where not up to `policy.highest` for cells that may be released and not at all for others.

    Raises `RunFailed` when even a table that shows nothing would leave a cell unprotected: what was seen gives it away.
    """
    search = _Search(
        counts,
        relations,
        policy,
        seed=seed,
        never=frozenset(never),
        worth=worth,
        hidden=hidden,
        seen=seen,
        guards=guards,
    )
    if search.small:
        search.protect()
        search.reveal_unneeded()
        search.hide_by_chance()
        search.protect()
    return {cell: None if cell in search.hidden else policy.shown(counts[cell]) for cell in search.cells}


def is_protected(
    counts: Mapping[str, int],
    relations: Sequence[Relation],
    policy: CellPolicy,
    shown: Mapping[str, int | None],
    seen: Mapping[str, Span],
) -> bool:
    """Whether each small cell of a table that shows `shown` may hold every count that its policy hides.

    `counts` and `relations` are as of `suppress`; `seen` are the spans in which readers know cells to lie.
    """
    hidden = [cell for cell, count in shown.items() if count is None]
    search = _Search(
        counts,
        relations,
        policy,
        seed=b"",
        never=frozenset(counts).difference(shown),
        worth={},
        hidden=hidden,
        seen=seen,
        guards={},
    )
    return search.all_small_are_protected()


class _Search:
    """Which cells are hidden so far, and the witnesses for them."""

    def __init__(
        self,
        counts: Mapping[str, int],
        relations: Sequence[Relation],
        policy: CellPolicy,
        *,
        seed: bytes,
        never: frozenset[str],
        worth: Mapping[str, int],
        hidden: Collection[str],
        seen: Mapping[str, Span],
        guards: Mapping[str, int],
    ) -> None:
        self.cells = [cell for cell in counts if cell not in never]
        self._guards = {**dict.fromkeys(self.cells, policy.highest), **guards}
        self.small = [cell for cell, highest in self._guards.items() if 1 <= counts[cell] <= highest]
        self._counts, self._relations, self._policy, self._never, self._worth = counts, relations, policy, never, worth
        self._seed, self._seen = seed, seen
        self._witnesses = Witnesses(counts, relations)
        self._most = 4 * max([policy.highest, *counts.values()]) + 100
        self._known = self._witnesses.known({cell: seen.get(cell, (0, self._most)) for cell in counts})
        self._tables: list[Mapping[str, int]] = [counts]  # witnesses
        self._former: list[Mapping[str, int]] = []  # those that a cell shown since then rules out
        self._always = {cell for cell in self.cells if policy.is_small(counts[cell]) or cell in hidden}
        self.hidden = set(self._always)

    def protect(self) -> None:
        """Hide cells until each is protected, in the end all; raises `RunFailed` when even that is too little."""
        while (unprotected := self.first_unprotected()) is not None:
            if not self.hide_another(unprotected):
                self.hidden.update(self.cells)  # nothing is shown, so nothing more follows than did before
                if self._seen and self.first_unprotected() is not None:
                    raise RunFailed(problem="beside earlier tables of this cohort it would show what its policy hides")
                return

    def first_unprotected(self) -> str | None:
        """A cell that may be small and lacks a witness for some count of its guard; `None` when none does.

        Hiding more only widens what is possible, so earlier witnesses stay valid.
        """
        bounds = self._bounds()
        self._witnesses.narrow(bounds)
        others = [cell for cell in self._guards if cell not in self.small]
        return next((cell for cell in (*self.small, *others) if not self._is_protected(cell, bounds)), None)

    def all_small_are_protected(self) -> bool:
        """Whether what is hidden so far protects every small cell."""
        bounds = self._bounds()
        self._witnesses.narrow(bounds)
        return all(self._is_protected(cell, bounds) for cell in self.small)

    def _is_protected(self, cell: str, bounds: Bounds) -> bool:
        """Whether each count of the guard has a witness or, of a cell that is not small, the nearest has none."""
        (low, high), highest, truth = bounds[cell], self._guards[cell], self._counts[cell]
        if high < 1 or low > highest:
            return True
        witnessed, is_small = {table[cell] for table in self._tables}, 1 <= truth <= highest
        for count in range(1, highest + 1) if truth == 0 else range(highest, 0, -1):
            if count not in witnessed:
                near = min((*self._tables, *self._former), key=lambda table: abs(table[cell] - count))
                effort = 300 if is_small else 30
                table = self._witnesses.find(cell, count, bounds, near=near, effort=effort)
                if table is None:
                    return not is_small and witnessed.isdisjoint(range(1, highest + 1))
                self._tables.append(table)
                witnessed.add(count)
        return True

    def reveal_unneeded(self) -> None:
        """Show most of the cells of secondary suppression that need not be hidden, those of most worth first."""
        extra = [cell for cell in self.cells if cell in self.hidden - self._always]
        for cell in sorted(extra, key=lambda name: (-self._worth.get(name, 0), self._draw("reveal", name))):
            tables, (low, high) = self._tables, self._policy.range_of(self._policy.shown(self._counts[cell]))
            if self._draw("keep", cell) < _KEPT:
                continue
            self.hidden.remove(cell)
            self._tables = [table for table in tables if low <= table[cell] <= high]
            self._former = [table for table in tables if not low <= table[cell] <= high]
            if self.first_unprotected() is not None:
                self.hidden.add(cell)
                self._tables = tables

    def hide_by_chance(self) -> None:
        """Hide a few cells that need not be, fewer of those that readers would miss more."""
        rare = {cell: _BY_CHANCE / 16 ** self._worth.get(cell, 0) for cell in self.cells}
        self.hidden |= {cell for cell in self.cells if self._draw("chance", cell) < rare[cell]}

    def hide_another(self, cell: str) -> bool:
        """Hide `cell` or what best loosens the relations around it; `False` when no cell is left to hide."""
        if self._is_shown(cell):
            self.hidden.add(cell)
            return True
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

    def _cost(self, cell: str) -> float:
        """Least first: cells that loosen two tight relations at once, of few relations, not empty; part is secret."""
        mine = [relation for relation in self._relations if cell in relation.weights and not _is_loose(relation)]
        loosened = sum(self._hidden_in(relation) == 1 for relation in mine)
        return len(mine) - 2 * min(loosened, 2) + (self._counts[cell] == 0) + 2 * self._draw("hide", cell)

    def _draw(self, purpose: str, cell: str) -> float:
        """A number from 0 up to but not including 1 that only who knows the seed can tell."""
        digest = hmac.digest(self._seed, f"{purpose} {cell}".encode(), hashlib.sha256)
        return int.from_bytes(digest[:6]) / 2**48

    def _bounds(self) -> Bounds:
        """The counts between which each cell lies for a reader of the release."""
        bounds = {cell: self._seen.get(cell, (0, self._most)) for cell in self._counts}
        for cell in self.cells:
            if self._is_shown(cell):
                low, high = self._policy.range_of(self._policy.shown(self._counts[cell]))
                bounds[cell] = max(low, bounds[cell][0]), min(high, bounds[cell][1])
        return bounds


def _is_loose(relation: Relation) -> bool:
    return relation.low is None or relation.high is None
