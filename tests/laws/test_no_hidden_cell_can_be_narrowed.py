"""The laws of suppression, against every possible table."""

import operator
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coordinator.cohort.feasible import Witnesses
from coordinator.cohort.relations import Relation, complete, relations_of, worth_of
from coordinator.cohort.suppression import suppress
from shared.federation.cell_policy import CellPolicy
from shared.protocol.cohort import CohortDefinition

SEED = b"a secret"
laws = settings(max_examples=60, deadline=None)
POLICIES = [
    CellPolicy(name="min-4", highest=3),
    CellPolicy(name="round", highest=3, base=5),
    CellPolicy(name="min-3", highest=2),
]
Counts = Mapping[str, int]
Cells = NDArray[np.int32]
Number = TypeVar("Number", int, Cells)


def assert_hidden(
    counts: Counts,
    relations: Sequence[Relation],
    policy: CellPolicy,
    released: Mapping[str, int | None],
    everything: Mapping[str, Cells],
) -> None:
    """For each small cell every count that the policy hides occurs in some table that fits the release.

    `everything` gives each cell's count in every possible table, shape (tables,); they all fit `relations`.
    """
    assert all(relation.holds(counts) for relation in relations)
    fits = np.ones(len(next(iter(everything.values()))), dtype=bool)
    for cell, shown in released.items():
        if shown is not None:
            possible = everything[cell]
            small = (possible >= 1) & (possible <= policy.highest)
            fits &= ((possible + policy.base // 2) // policy.base * policy.base == shown) & ~small
    for cell, shown in released.items():
        if shown is None and policy.is_small(counts[cell]):
            assert set(range(1, policy.highest + 1)) <= set(everything[cell][fits].tolist()), cell
        elif shown is None:  # of which a reader cannot know that it is not small, either
            low = set(range(1, policy.highest + 1)) & set(everything[cell][fits].tolist())
            assert len(low) in {0, policy.highest}, cell
        else:
            assert not policy.is_small(counts[cell]), cell
            assert shown == policy.shown(counts[cell]), cell


def every_combination(*most: int) -> list[Cells]:
    """Every combination of counts from 0 to each of `most`, as columns."""
    return [column.ravel() for column in np.meshgrid(*(np.arange(top + 1, dtype=np.int32) for top in most))]


def table_relations(rows: int, columns: int) -> list[Relation]:
    """A table with both margins and the grand total."""
    total = {f"r{i}": 1 for i in range(rows)} | {"t": -1}, {f"c{j}": 1 for j in range(columns)} | {"t": -1}
    across = [{f"x{i}{j}": 1 for j in range(columns)} | {f"r{i}": -1} for i in range(rows)]
    down = [{f"x{i}{j}": 1 for i in range(rows)} | {f"c{j}": -1} for j in range(columns)]
    return [Relation(weights=weights) for weights in (*total, *across, *down)]


def table_counts(inner: Sequence[Sequence[Number]]) -> dict[str, Number]:
    """Cells and margins from the inner cells."""
    counts = {f"x{i}{j}": count for i, row in enumerate(inner) for j, count in enumerate(row)}
    counts |= {f"r{i}": _total(row) for i, row in enumerate(inner)}
    counts |= {f"c{j}": _total(column) for j, column in enumerate(zip(*inner, strict=True))}
    return counts | {"t": _total([counts[f"r{i}"] for i in range(len(inner))])}


def _total(counts: Sequence[Number]) -> Number:
    return reduce(operator.add, counts)


@cache
def every_table(rows: int, columns: int, most: int) -> Mapping[str, Cells]:
    """Every table with inner cells up to `most`."""
    flat = every_combination(*[most] * rows * columns)
    return table_counts([flat[i * columns : (i + 1) * columns] for i in range(rows)])


@given(st.lists(st.integers(0, 9), min_size=2, max_size=4), st.sampled_from(POLICIES))
@laws
def test_one_variable_with_its_total(cells: list[int], policy: CellPolicy) -> None:
    """Every small count of a row stays possible, by enumeration of all rows."""
    names = [f"x{i}" for i in range(len(cells))]
    relations = [Relation(weights=dict.fromkeys(names, 1) | {"t": -1})]
    counts = dict(zip(names, cells, strict=True)) | {"t": sum(cells)}
    flat = every_combination(*[20] * len(cells))
    tables = dict(zip(names, flat, strict=True)) | {"t": _total(flat)}
    assert_hidden(counts, relations, policy, suppress(counts, relations, policy, seed=SEED, worth={"t": 1}), tables)


@given(st.lists(st.lists(st.integers(0, 7), min_size=2, max_size=2), min_size=2, max_size=2), st.sampled_from(POLICIES))
@settings(max_examples=25, deadline=None)
def test_two_by_two_tables(inner: list[list[int]], policy: CellPolicy) -> None:
    """Every small count of a 2 x 2 table with margins and total stays possible, by enumeration of all tables."""
    relations, counts = table_relations(2, 2), table_counts(inner)
    assert_hidden(
        counts, relations, policy, suppress(counts, relations, policy, seed=SEED, worth={"t": 1}), every_table(2, 2, 22)
    )


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=2, max_size=2))
@settings(max_examples=12, deadline=None)
def test_two_by_three_tables(inner: list[list[int]]) -> None:
    """Every small count of a 2 x 3 table with margins and total stays possible, by enumeration of all tables."""
    relations, counts = table_relations(2, 3), table_counts(inner)
    assert_hidden(
        counts,
        relations,
        POLICIES[2],
        suppress(counts, relations, POLICIES[2], seed=SEED, worth={"t": 1}),
        every_table(2, 3, 8),
    )


@given(
    st.lists(st.lists(st.integers(0, 60), min_size=5, max_size=5), min_size=3, max_size=5),
    st.sampled_from(["cms-11", "nhs-7-round-5", "min-5"]),
)
@settings(max_examples=25, deadline=None)
def test_larger_tables_by_network_flow_bounds(inner: list[list[int]], name: str) -> None:
    """In larger tables the range of a small cell's possible counts holds every count that the policy hides.

    The bounds are those of relation after relation, which no feasible table may leave.
    """
    policy, relations, counts = CellPolicy.named(name), table_relations(len(inner), 5), table_counts(inner)
    released = suppress(counts, relations, policy, seed=SEED, worth={"t": 1})
    bounds = {cell: (0, 10_000) if count is None else policy.range_of(count) for cell, count in released.items()}
    assert Witnesses(counts, relations).narrow(bounds)
    for cell, count in released.items():
        if count is None and policy.is_small(counts[cell]):
            assert bounds[cell][0] <= 1, cell
            assert bounds[cell][1] >= policy.highest, cell
        assert (count is None) or not policy.is_small(counts[cell])


SMALL = CohortDefinition.from_toml(
    """
name = "small"
edition = "1"
source = "a test"
[[variables]]
name = "each"
title = "Studies per patient"
unit = "patients"
source = "derived"
field = "studies"
adds_up_to = "studies"
categories = [
    { label = "1", lowest = 1, below = 2 },
    { label = "2", lowest = 2, below = 3 },
    { label = "3+", lowest = 3 },
]
"""
)


@given(st.tuples(*[st.integers(0, 5)] * 3), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_totals_of_two_kinds_do_not_give_a_cell_away(patients: tuple[int, int, int], extra: int) -> None:
    """With totals of patients and of studies shown, small counts of studies per patient stay possible."""
    policy = CellPolicy(name="min-3", highest=2)

    def counts_of(single: Number, double: Number, triple: Number, more: Number) -> dict[str, Number]:
        zero, studies = single * 0, single + 2 * double + 3 * triple + more
        counts = dict.fromkeys(SMALL.cells, zero)
        counts |= {"patients": single + double + triple, "studies": studies, "series": zero + 90, "images": zero + 90}
        return counts | {"each/1": single, "each/2": double, "each/3+": triple}

    counts = counts_of(*patients, extra if patients[2] else 0)
    relations, everything = relations_of(SMALL), complete(SMALL, counts)
    released = suppress(
        everything, relations, policy, seed=SEED, never=set(everything) - set(counts), worth=worth_of(SMALL)
    )
    columns = every_combination(20, 16, 14, 40)
    possible = (columns[2] > 0) | (columns[3] == 0)
    assert_hidden(everything, relations, policy, released, counts_of(*(column[possible] for column in columns)))


@pytest.mark.parametrize("name", ["cms-11", "nhs-7-round-5", "min-5"])
def test_nothing_is_hidden_where_nothing_is_small(name: str) -> None:
    """A table without small cells is shown whole, zeros included."""
    counts = table_counts([[0, 40], [55, 70]])
    released = suppress(counts, table_relations(2, 2), CellPolicy.named(name), seed=SEED)
    assert released == counts


def test_a_single_small_cell_takes_three_others_with_it() -> None:
    """A single small cell hides a rectangle of four cells, and no margin, which readers would miss more."""
    counts = table_counts([[3, 40, 50], [60, 70, 80], [30, 90, 20]])
    worth = {cell: int(not cell.startswith("x")) for cell in counts}
    released = suppress(counts, table_relations(3, 3), CellPolicy.named("cms-11"), seed=SEED, worth=worth)
    hidden = {cell for cell, count in released.items() if count is None}
    assert len(hidden) == 4
    assert "x00" in hidden
    assert all(cell.startswith("x") for cell in hidden)


def test_a_complement_too_small_to_help_takes_another() -> None:
    """Two hidden cells that would be known to be at most 7 hide a third."""
    relations = [Relation(weights={"a": 1, "b": 1, "c": 1, "d": 1, "t": -1})]
    counts = {"a": 3, "b": 4, "c": 30, "d": 50, "t": 87}
    released = suppress(counts, relations, CellPolicy.named("cms-11"), seed=SEED, worth={"t": 1})
    assert released in ({**counts, "a": None, "b": None, large: None} for large in ("c", "d"))
