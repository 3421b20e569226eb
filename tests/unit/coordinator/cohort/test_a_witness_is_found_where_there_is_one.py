"""The search for witnesses against every table: it finds one where there is one, and calls nothing one that is none."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from random import Random

import pytest

from coordinator.cohort.feasible import Bounds, Witnesses
from coordinator.cohort.relations import Relation

CELLS = ("a", "b", "c", "d")
TOP = 3
SYSTEMS = 150


def drawn(random: Random, weights: Sequence[int]) -> tuple[dict[str, int], list[Relation], Bounds]:
    """A table, relations that it fits, and bounds around it."""
    truth = {cell: random.randint(0, TOP) for cell in CELLS}
    relations = []
    for _ in range(random.randint(1, 3)):
        chosen = {cell: random.choice(weights) for cell in random.sample(CELLS, random.randint(1, 4))}
        total = sum(weight * truth[cell] for cell, weight in chosen.items())
        low, high = total - random.randint(0, 2), total + random.randint(0, 2)
        open_end = random.randint(0, 5)
        relations.append(
            Relation(weights=chosen, low=None if open_end == 0 else low, high=None if open_end == 1 else high)
        )
    bounds = {cell: (random.randint(0, count), random.randint(count, TOP)) for cell, count in truth.items()}
    return truth, relations, bounds


def tables_within(relations: Sequence[Relation], bounds: Bounds) -> Iterator[dict[str, int]]:
    """Every table that fits, by trying all."""
    for counts in product(*(range(low, high + 1) for low, high in bounds.values())):
        table = dict(zip(bounds, counts, strict=True))
        sums = [(sum(w * table[cell] for cell, w in each.weights.items()), each) for each in relations]
        if all((e.low is None or e.low <= s) and (e.high is None or s <= e.high) for s, e in sums):
            yield table


def test_it_finds_one_where_there_is_one() -> None:
    """For every cell and count, in bounds or not: a table that fits and holds that count, or none where none does."""
    random = Random(1)
    for _ in range(SYSTEMS):
        truth, relations, bounds = drawn(random, (-2, -1, 1, 1, 2, 3))
        search, possible = Witnesses(truth, relations), list(tables_within(relations, bounds))
        others = [
            truth,
            random.choice(possible),
            random.choice(list(tables_within(relations, dict.fromkeys(CELLS, (0, TOP))))),
        ]
        for cell, count, near in product(CELLS, range(-1, TOP + 2), others):
            narrowed = dict(bounds)
            assert search.narrow(narrowed)
            table = search.find(cell, count, narrowed, near=near, effort=1000)
            assert (table is not None) == any(each[cell] == count for each in possible)
            assert table is None or (table[cell] == count and table in possible)


def test_narrowing_leaves_out_no_table() -> None:
    """Bounds hold every table that fits, are within those given, and are refused only where none fits."""
    random = Random(2)
    for _ in range(SYSTEMS):
        truth, relations, bounds = drawn(random, (-3, -2, -1, 1, 2))
        cell = random.choice(CELLS)
        count = random.randint(0, TOP)
        narrowed = {**bounds, cell: (count, count)}
        search = Witnesses(truth, relations)
        possible = list(tables_within(relations, narrowed))
        before = dict(narrowed)
        if not search.narrow(narrowed):
            assert not possible
            continue
        for name, (low, high) in narrowed.items():
            assert before[name][0] <= low <= high <= before[name][1]
            assert all(low <= table[name] <= high for table in possible)


@pytest.mark.parametrize("start", [None, [0]])
def test_of_one_relation_the_bounds_are_as_tight_as_can_be(start: list[int] | None) -> None:
    """Where its weights are of one size, some table reaches each end; and only a cell that has no choice is known."""
    random = Random(3)
    for size in (1, 2, 3):
        for _ in range(SYSTEMS):
            truth, [relation, *_], bounds = drawn(random, (size, -size))
            search, narrowed = Witnesses(truth, [relation]), dict(bounds)
            assert search.narrow(narrowed, start)
            possible = list(tables_within([relation], bounds))
            spans = {cell: (min(t[cell] for t in possible), max(t[cell] for t in possible)) for cell in CELLS}
            assert narrowed == spans
            assert search.known(dict(bounds)) == {cell for cell, (low, high) in spans.items() if low == high}


def test_what_one_relation_tells_of_a_cell_tells_the_next_of_others() -> None:
    """Along a chain of equal cells, from either end; what has no relation to it stays as wide."""
    names = [f"x{place}" for place in range(8)]
    chain = [Relation(weights={a: 1, b: -1}) for a, b in pairwise(names)]
    search = Witnesses(dict.fromkeys(names, 5) | {"apart": 2}, chain)
    for known in (names[0], names[-1], names[4]):
        bounds = dict.fromkeys(names, (0, 9)) | {"apart": (0, 9), known: (5, 5)}
        assert search.known(bounds) == set(names)
        assert bounds["apart"] == (0, 9)


def grid(rows: int, columns: int) -> list[Relation]:
    across = [{f"{i}{j}": 1 for j in range(columns)} | {f"r{i}": -1} for i in range(rows)]
    down = [{f"{i}{j}": 1 for i in range(rows)} | {f"c{j}": -1} for j in range(columns)]
    return [Relation(weights=weights) for weights in (*across, *down)]


def with_margins(inner: Mapping[str, int], rows: int, columns: int) -> dict[str, int]:
    margins = {f"r{i}": sum(inner[f"{i}{j}"] for j in range(columns)) for i in range(rows)}
    return {**inner, **margins, **{f"c{j}": sum(inner[f"{i}{j}"] for i in range(rows)) for j in range(columns)}}


def test_moving_cells_around_a_ring_needs_no_trying() -> None:
    """In a table with known margins another count is balanced by three further cells, without setting any at will."""
    truth = with_margins({f"{i}{j}": 5 + 3 * i + j for i in range(3) for j in range(4)}, 3, 4)
    search = Witnesses(truth, grid(3, 4))
    bounds = {cell: (0, 40) if cell[0].isdigit() else (count, count) for cell, count in truth.items()}
    for cell, count in product([cell for cell in truth if cell[0].isdigit()], range(11)):
        table = search.find(cell, count, bounds, near=truth, effort=0)
        assert table is not None
        assert table[cell] == count
        assert with_margins({name: table[name] for name in truth if name[0].isdigit()}, 3, 4) == table


def test_a_search_without_effort_tries_nothing() -> None:
    """Where no single move closes a gap, only setting another cell finds the table."""
    truth = {"a": 0, "b": 3, "c": 0, "d": 0}
    search = Witnesses(truth, [Relation(weights={"a": 1, "b": 1, "c": 2, "d": 2}, low=3, high=3)])
    bounds = {"a": (0, 3), "b": (0, 3), "c": (0, 1), "d": (0, 1)}
    assert search.find("c", 1, bounds, near=truth, effort=100) is not None
    assert search.find("c", 2, bounds, near=truth, effort=100) is None
    assert not search.fits({**truth, "b": 2}, bounds)
    assert not search.fits({**truth, "b": 4, "a": -1}, bounds)
    assert search.fits(truth, bounds)
