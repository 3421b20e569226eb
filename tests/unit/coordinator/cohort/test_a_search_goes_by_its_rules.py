"""The search for cells to hide and for witnesses: what counts as shown, tight, near and protected, each by itself."""

from collections.abc import Collection, Mapping

import pytest

from coordinator.cohort.feasible import Bounds, Witnesses
from coordinator.cohort.relations import Relation
from coordinator.cohort.suppression import Span, _is_loose, _Search
from shared.federation.cell_policy import CellPolicy

POLICY = CellPolicy(name="min-3", highest=2)


def total(*cells: str) -> Relation:
    """The last cell is the sum of the others."""
    return Relation(weights=dict.fromkeys(cells[:-1], 1) | {cells[-1]: -1})


def search(
    counts: Mapping[str, int],
    relations: list[Relation],
    *,
    hidden: Collection[str] = (),
    never: frozenset[str] = frozenset(),
    seen: Mapping[str, Span] | None = None,
    guards: Mapping[str, int] | None = None,
) -> _Search:
    return _Search(
        counts, relations, POLICY, seed=b"", never=never, worth={}, hidden=hidden, seen=seen or {}, guards=guards or {}
    )


@pytest.mark.parametrize(
    ("low", "high", "is_loose"), [(0, 0, False), (None, 0, True), (0, None, True), (None, None, True)]
)
def test_a_relation_is_loose_where_an_end_is_open(low: int | None, high: int | None, is_loose: bool) -> None:
    """On either side: then a hidden cell in it may go that way."""
    assert _is_loose(Relation(weights={"a": 1}, low=low, high=high)) is is_loose


def test_a_cell_is_shown_that_is_neither_hidden_nor_never_released() -> None:
    """Small ones are hidden from the beginning, and those that must be; what is never released is no cell of it."""
    counts = {"small": 1, "must": 50, "plain": 50, "never": 50, "zero": 0, "three": 3}
    begun = search(counts, [], hidden={"must"}, never=frozenset({"never"}))
    assert [cell for cell in counts if begun._is_shown(cell)] == ["plain", "zero", "three"]
    assert begun.hidden == {"small", "must"}
    assert begun.cells == ["small", "must", "plain", "zero", "three"]
    assert begun.small == ["small"]
    assert search(counts, [], guards={"never": 60, "three": 3}, never=frozenset({"never"})).small == [
        *("small", "three", "never")
    ]


def test_rings_go_out_from_a_cell_by_what_is_hidden() -> None:
    """A relation of the cell, then of the hidden cells in it; before all those with a single hidden cell."""
    counts = {"a": 1, "b": 50, "t": 51, "c": 60, "u": 110, "d": 7, "e": 9, "v": 16}
    near, next_one, apart = total("a", "b", "t"), total("b", "c", "u"), total("d", "e", "v")
    relations = [near, next_one, apart]
    assert search(counts, relations)._rings("a") == [[near], [near]]
    assert search(counts, relations, hidden={"b"})._rings("a") == [[], [next_one], [near], [near, next_one]]
    loose = Relation(weights={"a": 1, "b": 1}, low=0, high=None)
    assert search(counts, [loose])._rings("a") == [[], [loose]]
    assert search(counts, [near, loose])._rings("a") == [[near], [near, loose]]
    assert search(counts, [Relation(weights={"a": 0, "b": 1}, low=50, high=50)])._rings("a") == [[], []]


@pytest.mark.parametrize(
    ("bounds", "truth", "is_protected"),
    [
        ((0, 9), 1, True),  # both counts that the policy hides are possible
        ((2, 9), 2, False),
        ((0, 1), 1, False),
        ((0, 0), 0, True),  # nobody takes it for small
        ((3, 9), 3, True),
        ((0, 9), 0, True),
        ((1, 1), 5, True),  # a cell that is not small, and of which no small count has a witness
    ],
)
def test_a_small_cell_is_protected_where_it_may_hold_every_hidden_count(
    bounds: Span, truth: int, is_protected: bool
) -> None:
    """One that is not small is where either all of them are possible, or none is shown to be."""
    counts = {"a": truth, "b": 50, "t": truth + 50}
    begun = search(counts, [total("a", "b", "t")], hidden={"a", "b"})
    known: Bounds = {"a": bounds, "b": (0, 500), "t": (truth + 50, truth + 50)}
    begun._witnesses.narrow(known)
    assert begun._is_protected("a", known) is is_protected


def test_witnesses_are_kept_for_the_next_cell() -> None:
    """Each is a table that fits, so that nothing is searched twice."""
    counts = {"a": 1, "b": 50, "t": 51}
    begun = search(counts, [total("a", "b", "t")], hidden={"a", "b"})
    assert begun.first_unprotected() is None
    tables = [*begun._tables]
    assert all(table["a"] + table["b"] == table["t"] == 51 for table in tables)
    assert all({table[cell] for table in tables} >= {1, 2} for cell in "ab")
    assert begun.all_small_are_protected()
    assert begun._tables == tables


def test_what_readers_saw_bounds_what_they_reckon_with() -> None:
    """Beside what the release shows; a cell that is hidden and was never seen may be anything."""
    counts = {"a": 1, "b": 50, "t": 51}
    begun = search(counts, [], hidden={"b"}, seen={"b": (40, 60), "t": (0, 51)})
    bounds = begun._bounds()
    assert (bounds["b"], bounds["t"]) == ((40, 60), (51, 51))
    assert bounds["a"][0] == 0
    assert bounds["a"][1] >= 4 * 51


def test_trying_begins_with_the_truth_and_ends_with_its_effort() -> None:
    """A table needs one try for each cell that is open; where the truth does not fit, another that does is found."""
    truth = {"a": 1, "b": 2, "c": 3}
    witnesses = Witnesses(truth, [Relation(weights={"a": 1, "b": 1, "c": -1})])
    wide: Bounds = dict.fromkeys(truth, (0, 9))
    tries = iter(range(100))
    assert witnesses._try(dict(wide), tries) == truth
    assert next(tries) == 3, "the third cell follows from two"
    assert witnesses._try(dict(wide), iter(())) is None
    assert witnesses._try(dict(wide), iter(range(2))) is None
    assert witnesses._try(dict(wide), iter(range(3))) == truth
    assert witnesses._try({"a": (4, 4), "b": (0, 0), "c": (4, 4)}, iter(range(1))) == {"a": 4, "b": 0, "c": 4}
    elsewhere = witnesses._try({"a": (5, 9), "b": (0, 9), "c": (0, 9)}, iter(range(100)))
    assert elsewhere is not None
    assert elsewhere["a"] + elsewhere["b"] == elsewhere["c"]
    assert elsewhere["a"] >= 5
