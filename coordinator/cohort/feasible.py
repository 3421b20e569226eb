"""Could this cell have held that count? Whole-number witnesses against linear relations.

A witness is a complete table that fits everything released. Starting from the true table, one cell is set to the count
in question and the relations this breaks are repaired one after the other: first by moving one cell at a time to close
the gap, and where that fails by trying every count within the bounds the relations leave. Every witness is checked, so
no false one is returned; a search that stops too early only hides more than it must.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from coordinator.cohort.relations import Relation

_MOST_STEPS = 400  # of `_repair`
_LIMIT = 10**9

Bounds = dict[str, tuple[int, int]]


class Witnesses:
    """Searches for tables that fit `relations`; `truth` is such a table and holds every cell that a relation names."""

    def __init__(self, truth: Mapping[str, int], relations: Sequence[Relation]) -> None:
        self._truth = dict(truth)
        self._relations = relations
        self._of: dict[str, list[int]] = {cell: [] for cell in truth}
        for number, relation in enumerate(relations):
            for cell in relation.weights:
                self._of[cell].append(number)

    def find(
        self, cell: str, count: int, bounds: Bounds, *, near: Mapping[str, int], effort: int
    ) -> dict[str, int] | None:
        """A table within `bounds` (narrowed) in which `cell` holds `count`; `None` when the search fails.

        The search begins at `near`, a table that fits the relations and perhaps not the bounds, and where no repair
        of it will do, it tries `effort` times to set one more cell.
        """
        within = {**bounds, cell: (count, count)}
        if not bounds[cell][0] <= count <= bounds[cell][1]:
            return None
        table = {name: min(max(held, within[name][0]), within[name][1]) for name, held in near.items()}
        touched = {number for name, held in near.items() if table[name] != held for number in self._of[name]}
        witness: dict[str, int] | None = table
        if not self._repair(table, {cell}, set(self._broken(table, touched)), within, iter(range(_MOST_STEPS))):
            fits = self.narrow(within, self._of[cell])
            witness = self._try(within, iter(range(effort))) if fits else None
        return witness if witness is not None and self.fits(witness, within) else None

    def known(self, bounds: Bounds) -> set[str]:
        """The cells whose count the relations alone give away."""
        self.narrow(bounds)
        return {cell for cell, (low, high) in bounds.items() if low == high}

    def fits(self, table: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]) -> bool:
        """Whether a table holds to every bound and relation."""
        within = all(bounds[cell][0] <= count <= bounds[cell][1] for cell, count in table.items())
        return within and not any(True for _ in self._broken(table, range(len(self._relations))))

    def _broken(self, table: Mapping[str, int], numbers: Iterable[int]) -> Iterator[int]:
        return (number for number in numbers if self._gap(table, number))

    def _gap(self, table: Mapping[str, int], number: int) -> int:
        return self._relations[number].gap(table)

    def _repair(
        self,
        table: dict[str, int],
        moved: set[str],
        broken: set[int],
        bounds: Mapping[str, tuple[int, int]],
        steps: Iterator[int],
    ) -> bool:
        """Move cells, each once, until no relation is broken; on failure `table` is as before."""
        if not broken:
            return True
        number = min(broken, key=lambda index: (self._choices(index, moved, bounds), index))
        gap = self._gap(table, number)
        for cell, count in self._moves(table, number, gap, moved, bounds):
            if next(steps, None) is None:
                return False
            before, table[cell] = table[cell], count
            moved.add(cell)
            touched = set(self._of[cell])
            if self._repair(table, moved, (broken - touched) | set(self._broken(table, self._of[cell])), bounds, steps):
                return True
            moved.discard(cell)
            table[cell] = before
        return False

    def _choices(self, number: int, moved: set[str], bounds: Mapping[str, tuple[int, int]]) -> int:
        cells = self._relations[number].weights
        return sum(cell not in moved and bounds[cell][0] < bounds[cell][1] for cell in cells)

    def _moves(
        self,
        table: Mapping[str, int],
        number: int,
        gap: int,
        moved: set[str],
        bounds: Mapping[str, tuple[int, int]],
    ) -> list[tuple[str, int]]:
        """Cells that could close the gap or part of it, with their new counts; those that close all of it first."""
        moves = []
        for cell, weight in self._relations[number].weights.items():
            if cell in moved or not weight:
                continue
            low, high = bounds[cell]
            target = table[cell] + (gap // weight if gap % weight == 0 else -(-gap // weight))
            count = min(max(target, low), high)
            if count != table[cell]:
                moves.append((count != target or gap % weight != 0, len(self._of[cell]), cell, count))
        return [(cell, count) for *_, cell, count in sorted(moves)]

    def _try(self, bounds: Bounds, nodes: Iterator[int]) -> dict[str, int] | None:
        """Depth-first over counts within narrowed bounds, the truth first."""
        if next(nodes, None) is None:
            return None
        open_cells = [cell for cell, (low, high) in bounds.items() if low < high]
        if not open_cells:
            return {cell: low for cell, (low, _) in bounds.items()}
        cell = min(open_cells, key=lambda name: (bounds[name][1] - bounds[name][0], name))
        low, high = bounds[cell]
        truth = min(max(self._truth[cell], low), high)
        for part in ((truth, truth), (truth + 1, high), (low, truth - 1)):
            if part[0] <= part[1]:
                narrowed = {**bounds, cell: part}
                witness = self._try(narrowed, nodes) if self.narrow(narrowed, self._of[cell]) else None
                if witness is not None:
                    return witness
        return None

    def narrow(self, bounds: Bounds, start: Sequence[int] | None = None) -> bool:
        """Narrow `bounds` in place to what each relation allows; `False` when one allows nothing.

        `start` names the relations to begin with when only the bounds of their cells have changed; `None`: all.
        """
        waiting = set(range(len(self._relations)) if start is None else start)
        while waiting:
            relation = self._relations[waiting.pop()]
            for cell, bound in _narrowed(relation, bounds):
                if bound[0] > bound[1]:
                    return False
                bounds[cell] = bound
                waiting.update(self._of[cell])
        return True


def _narrowed(relation: Relation, bounds: Bounds) -> Iterator[tuple[str, tuple[int, int]]]:
    """Cells whose bounds this relation makes tighter, and the tighter bounds."""
    spans = {
        cell: (weight * bounds[cell][0], weight * bounds[cell][1])[:: 1 if weight >= 0 else -1]
        for cell, weight in relation.weights.items()
    }
    least, most = sum(low for low, _ in spans.values()), sum(high for _, high in spans.values())
    floor = -_LIMIT * len(spans) if relation.low is None else relation.low
    ceiling = _LIMIT * len(spans) if relation.high is None else relation.high
    for cell, weight in relation.weights.items():
        if weight:
            low, high = floor - (most - spans[cell][1]), ceiling - (least - spans[cell][0])
            ends = (-(-low // weight), high // weight) if weight > 0 else (-(-high // weight), low // weight)
            tight = max(ends[0], bounds[cell][0]), min(ends[1], bounds[cell][1])
            if tight != bounds[cell]:
                yield cell, tight
