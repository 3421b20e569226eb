"""Secondary suppression hides what it must, a little by chance, and of cells those that readers would miss least."""

from collections.abc import Mapping
from random import Random

import pytest

from coordinator.cohort.relations import Relation
from coordinator.cohort.suppression import is_protected, suppress
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy

POLICY = CellPolicy.named("cms-11")
NAMES = [f"x{place}" for place in range(6)]
ROW = Relation(weights=dict.fromkeys(NAMES, 1) | {"t": -1})


def counts_of(*cells: int) -> dict[str, int]:
    return dict(zip(NAMES, cells, strict=True)) | {"t": sum(cells)}


def hidden_in(shown: Mapping[str, int | None]) -> set[str]:
    return {cell for cell, count in shown.items() if count is None}


def seeds(number: int) -> list[bytes]:
    return [str(each).encode() for each in range(number)]


def test_a_cell_that_another_policy_guards_is_hidden_with_one_beside() -> None:
    """Though this policy would show it; and no more than that, but by chance."""
    counts = counts_of(15, 100, 110, 120, 130, 140)
    hidden = [
        hidden_in(suppress(counts, [ROW], POLICY, seed=seed, guards={"x0": 20}, worth={"t": 1})) for seed in seeds(40)
    ]
    assert all("x0" in each and "t" not in each for each in hidden)
    assert sorted(map(len, hidden))[20] == 2
    assert suppress(counts, [ROW], POLICY, seed=b"", guards={"x0": 14}) == counts


def test_which_cell_goes_with_it_is_secret() -> None:
    """Any of those that help does, by the seed, and by nothing else; an empty one last."""
    counts = counts_of(5, 100, 110, 120, 130, 140)
    twice = [[suppress(counts, [ROW], POLICY, seed=seed, worth={"t": 1}) for seed in seeds(60)] for _ in range(2)]
    assert twice[0] == twice[1]
    others = [hidden_in(shown) - {"x0"} for shown in twice[0]]
    assert {*NAMES[1:]} <= set().union(*others)
    assert all(others)
    empty = counts_of(5, 0, 110, 120, 130, 140)
    chosen = [hidden_in(suppress(empty, [ROW], POLICY, seed=seed, worth={"t": 1})) for seed in seeds(60)]
    assert sum("x1" in each for each in chosen) < min(sum(name in each for each in chosen) for name in NAMES[2:])


def test_a_few_are_hidden_by_chance_fewer_of_more_worth() -> None:
    """One in 64 of cells that need not be, and one in 1,024 of those that readers would miss more."""
    free = {f"free{place}": 50 for place in range(200)}
    worth = {f"dear{place}": 1 for place in range(200)}
    counts = {"small": 3, **free, **dict.fromkeys(worth, 50)}
    hidden = [hidden_in(suppress(counts, [], POLICY, seed=seed, worth=worth)) for seed in seeds(40)]
    assert all("small" in each for each in hidden)
    cheap = sum(len(each & free.keys()) for each in hidden)
    dear = sum(len(each & worth.keys()) for each in hidden)
    assert cheap == pytest.approx(8000 / 64, rel=0.3)
    assert dear == pytest.approx(8000 / 1024, abs=7)


def test_where_nothing_is_small_nothing_is_hidden_by_chance() -> None:
    """So a table that is shown whole tells nothing but itself."""
    counts = {f"x{place}": 50 for place in range(300)}
    assert all(suppress(counts, [], POLICY, seed=seed) == counts for seed in seeds(5))


def test_what_must_stay_hidden_does_and_what_is_never_released_is_not_shown() -> None:
    """A cell that was hidden before is hidden again, and protected where it may be small."""
    counts = counts_of(5, 100, 110, 120, 130, 140)
    shown = suppress(counts, [ROW], POLICY, seed=b"", hidden=["x3"], never=["t"])
    assert {"x0", "x3"} <= hidden_in(shown)
    assert "t" not in shown
    alone = suppress(counts, [ROW], POLICY, seed=b"", never=[*NAMES[1:], "t"])
    assert alone == {"x0": None}


def test_cells_that_are_known_anyway_do_not_help() -> None:
    """A cell whose count the relations give away is not hidden in another's stead."""
    known = Relation(weights={"x1": 1}, low=100, high=100)
    counts = counts_of(5, 100, 110, 120, 130, 140)
    hidden = [hidden_in(suppress(counts, [ROW, known], POLICY, seed=seed, worth={"t": 1})) for seed in seeds(60)]
    assert all(each & {*NAMES[2:]} for each in hidden)


@pytest.mark.parametrize(
    ("span", "is_protected"), [((1, 10), True), ((0, 12), True), ((2, 10), False), ((1, 9), False)]
)
def test_what_was_seen_before_may_leave_nothing_to_protect(span: tuple[int, int], is_protected: bool) -> None:
    """A small cell that readers know to be less than all that its policy hides cannot be protected any more."""
    counts = counts_of(5, 100, 110, 120, 130, 140)
    if is_protected:
        assert "x0" in hidden_in(suppress(counts, [ROW], POLICY, seed=b"", seen={"x0": span}))
    else:
        with pytest.raises(RunFailed, match="beside earlier tables"):
            suppress(counts, [ROW], POLICY, seed=b"", seen={"x0": span})


@pytest.mark.parametrize("small", [{"00"}, {"00", "11"}])
def test_a_square_protects_the_small_cells_at_its_corners(small: set[str]) -> None:
    """In a table whose other cells are alike four cells are hidden, and further ones only by chance; no margin is."""
    inner = {f"{i}{j}": 5 if f"{i}{j}" in small else 60 for i in range(4) for j in range(4)}
    margins = {f"r{i}": sum(inner[f"{i}{j}"] for j in range(4)) for i in range(4)}
    margins |= {f"c{j}": sum(inner[f"{i}{j}"] for i in range(4)) for j in range(4)}
    across = [Relation(weights={f"{i}{j}": 1 for j in range(4)} | {f"r{i}": -1}) for i in range(4)]
    down = [Relation(weights={f"{i}{j}": 1 for i in range(4)} | {f"c{j}": -1}) for j in range(4)]
    counts, worth = {**inner, **margins}, dict.fromkeys(margins, 1)
    hidden = [hidden_in(suppress(counts, [*across, *down], POLICY, seed=seed, worth=worth)) for seed in seeds(40)]
    squares = [{f"{i}{j}" for i in (0, row) for j in (0, column)} for row in (1, 2, 3) for column in (1, 2, 3)]
    assert all(any(small <= square <= each for square in squares) for each in hidden)
    assert sum(len(each & margins.keys()) for each in hidden) <= 4
    assert sorted(map(len, hidden))[20] == 4
    assert sum(map(len, hidden)) / len(hidden) < 4.8


def test_most_of_what_turns_out_not_to_be_needed_is_shown() -> None:
    """Of the cells that are hidden beside small ones, few could be shown alone and leave all small ones protected."""
    random, further, unneeded = Random(1), 0, 0
    across = [Relation(weights={f"{i}{j}": 1 for j in range(4)} | {f"r{i}": -1}) for i in range(4)]
    down = [Relation(weights={f"{i}{j}": 1 for i in range(4)} | {f"c{j}": -1}) for j in range(4)]
    for seed in seeds(40):
        inner = {f"{i}{j}": random.choice([3, 8, 40, 60, 90, 120]) for i in range(4) for j in range(4)}
        margins = {f"r{i}": sum(inner[f"{i}{j}"] for j in range(4)) for i in range(4)}
        margins |= {f"c{j}": sum(inner[f"{i}{j}"] for i in range(4)) for j in range(4)}
        counts = {**inner, **margins}
        shown = suppress(counts, [*across, *down], POLICY, seed=seed, worth=dict.fromkeys(margins, 1))
        for cell in hidden_in(shown):
            if not POLICY.is_small(counts[cell]):
                further += 1
                unneeded += is_protected(counts, [*across, *down], POLICY, {**shown, cell: counts[cell]}, {})
    assert further > 100
    assert unneeded < further / 6
