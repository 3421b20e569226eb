"""Of tables whose sites lie within one another each difference is a table, too, and tells what can be worked out."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from random import Random

import pytest

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.releases import Difference, Release, differences, shown_before
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.ids import SiteId
from shared.protocol.cohort import Category, CohortDefinition, Variable
from tests.factories.drawn_statistics import BASE, Kind, counted

EXACT, ROUNDED, STRICT = (CellPolicy.named(name) for name in ("min-3", "nhs-7-round-5", "cms-11"))
TENS = CellPolicy(name="tens", highest=3, base=10)
A, B, C, D = (frozenset({SiteId(str(100_001 + number))}) for number in range(4))
MOST = 10**6


def of(sites: frozenset[SiteId], count: int, policy: CellPolicy = EXACT, *, hidden: bool = False) -> Release:
    return Release(sites, {"x": count}, policy, {"x": None if hidden else policy.shown(count)})


def by_trying(new: Release, earlier: Sequence[Release]) -> Iterator[tuple[int, frozenset[int]]]:
    """Every whole and its disjoint parts of fewer sites, the new table among them, by place."""
    every = [*earlier, new]
    for whole, number in product(range(len(every)), range(1, len(every) + 1)):
        for parts in combinations(range(len(every)), number):
            sites = [every[part].sites for part in parts]
            disjoint = sum(map(len, sites)) == len(frozenset().union(*sites))
            if whole == len(earlier):
                within = len(earlier) not in parts and all(each <= new.sites for each in sites)
            else:
                within = len(earlier) in parts and all(each < every[whole].sites for each in sites)
            if disjoint and within and whole not in parts:
                yield whole, frozenset(parts)


def test_every_choice_of_disjoint_parts_is_a_difference_once() -> None:
    """Of the new table less earlier ones, and of earlier ones less the new one and others: all, and no others."""
    random = Random(1)
    sites = [A, B, C, D, A | B, C | D, A | B | C, A | B | C | D]
    for _ in range(200):
        *earlier, new = [of(each, number) for number, each in enumerate(random.choices(sites, k=random.randint(1, 5)))]
        places = {each.counts["x"]: place for place, each in enumerate((*earlier, new))}
        made = [
            (places[each.whole.counts["x"]], frozenset(places[part.counts["x"]] for part in each.parts))
            for each in differences(new, earlier)
        ]
        assert len(set(made)) == len(made)
        assert set(made) == set(by_trying(new, earlier))


@pytest.mark.parametrize("policies", list(product((EXACT, ROUNDED, TENS), repeat=2)))
def test_a_table_narrows_another_where_no_part_outgrows_the_whole(policies: tuple[CellPolicy, CellPolicy]) -> None:
    """As all counts say that both roundings leave, less those of which a part is larger than the whole."""
    whole_policy, part_policy = policies
    for count, others in product((12, 14, 23, 30), ((11,), (12,), (23,), (4, 8), (11, 12), (15, 15))):
        if sum(others) > count or any(map(part_policy.is_small, others)):
            continue
        whole = of(A | B | C, count, whole_policy)
        parts = tuple(of(sites, number, part_policy) for sites, number in zip((A, B), others, strict=False))
        difference = Difference(whole, parts)
        releases = difference.releases
        spans = [range(low, high + 1) for low, high in (r.policy.range_of(r.shown["x"] or 0) for r in releases)]
        possible = [counts for counts in product(*spans) if sum(counts[1:]) <= counts[0]]
        for new in releases:
            narrowed = any(
                {counts[place] for counts in possible} != set(spans[place])
                for place, other in enumerate(releases)
                if other is not new
            )
            assert difference.would_narrow(new, "x") == narrowed


def test_of_one_table_shown_twice_nothing_is_narrowed() -> None:
    """Nor of parts that outgrow their whole, whose libraries changed between."""
    first, again = of(A, 23, ROUNDED), of(A, 23, TENS)
    assert Difference(again, (first,)).is_of_one_table
    assert not Difference(again, (first,)).would_narrow(again, "x")
    larger = of(A, 29, TENS)
    assert not Difference(of(A | B, 12), (larger,)).would_narrow(larger, "x")
    assert not Difference(again, (of(A, 24),)).is_of_one_table
    assert not Difference(again, (first, of(B, 23))).is_of_one_table


@pytest.mark.parametrize("policy", [EXACT, ROUNDED, TENS])
def test_what_was_shown_of_the_same_table_is_known_as_it_was_rounded(policy: CellPolicy) -> None:
    """A cell of 0 as 0; what was hidden is not known."""
    for count in (0, 12, 13, 27):
        shown, again = of(A, count, policy), of(A, count)
        assert Difference(again, (shown,)).span_of(again, "x") == policy.range_of(policy.shown(count))
        assert Difference(again, (shown,)).bounds_of(again, "x") == policy.range_of(policy.shown(count))
    hidden = of(A, 2, policy, hidden=True)
    again = of(A, 2)
    assert Difference(again, (hidden,)).span_of(again, "x") is None
    assert Difference(again, (hidden,)).bounds_of(again, "x") == (0, MOST)


def test_who_knows_all_other_tables_knows_that_no_part_outgrows_the_whole() -> None:
    """A whole holds as much as its parts at least, a part as much as the others leave at most."""
    whole, first, second = of(A | B | C, 20), of(A, 5), of(B, 8)
    difference = Difference(whole, (first, second))
    assert difference.count("x") == 7
    for bounds in (difference.span_of, difference.bounds_of):
        assert [bounds(each, "x") for each in difference.releases] == [(13, MOST), (0, 12), (0, 15)]
    nearly = Difference(of(A | B | C, 14), (first, second))
    for bounds in (nearly.span_of, nearly.bounds_of):
        assert [bounds(each, "x") for each in nearly.releases] == [(13, MOST), (0, 6), (0, 9)]
    parted = Difference(of(A | B | C, 13), (first, second))
    assert [parted.span_of(each, "x") for each in parted.releases] == [(13, 13), (5, 5), (8, 8)]
    assert [parted.bounds_of(each, "x") for each in parted.releases] == [(13, MOST), (0, 5), (0, 8)]
    shrunk = Difference(of(A | B | C, 12), (first, second))
    assert {shrunk.span_of(each, "x") for each in shrunk.releases} == {(0, MOST)}
    assert {shrunk.bounds_of(each, "x") for each in shrunk.releases} == {(0, MOST)}


def test_where_two_tables_hide_a_cell_their_difference_tells_nothing() -> None:
    """Where only the table itself does, it tells as much as before; of another that does, nothing is known beside."""
    whole, small, other = of(A | B | C, 20), of(A, 2, hidden=True), of(B, 8)
    both = Difference(whole, (small, other))
    assert both.bounds_of(small, "x") == (0, 12)
    assert both.bounds_of(whole, "x") == (10, MOST)
    assert both.span_of(whole, "x") is None
    assert both.span_of(small, "x") == (0, 12)
    twice = Difference(whole, (small, of(B, 2, hidden=True)))
    assert {twice.bounds_of(each, "x") for each in (small, twice.parts[1])} == {(0, MOST)}
    hidden_whole = Difference(of(A | B | C, 2, hidden=True), (of(A, 1, hidden=True), of(B, 0)))
    assert hidden_whole.bounds_of(hidden_whole.whole, "x") == (0, MOST)


def test_cells_are_compared_where_all_tables_count_them() -> None:
    """In the order in which they are asked for."""
    first = Release(A, {"x": 5, "y": 6}, EXACT, {})
    second = Release(A | B, {"y": 7, "x": 8, "z": 9}, EXACT, {})
    assert Difference(second, (first,)).common(["z", "y", "x"]) == ["y", "x"]


def test_a_table_is_the_same_where_what_both_count_is() -> None:
    """Of the same sites; what only one counts does not matter."""
    first = Release(A, {"x": 5, "y": 6}, EXACT, {})
    assert first.is_of_table(A, {"x": 5, "z": 1})
    assert not first.is_of_table(A, {"x": 5, "y": 7})
    assert not first.is_of_table(A | B, {"x": 5})


def held(small: int, more: int = 0) -> dict[Kind, int]:
    return {(0.0, "a", "a"): 80, (4.0, "b", "a"): 90 + more, (7.0, "a", "a"): small}


def release(
    sites: frozenset[SiteId], items: dict[Kind, int], *earlier: Release, policy: CellPolicy = STRICT
) -> Release:
    new = Release(sites, counted(BASE, items), policy, {}, BASE)
    return new._replace(shown=released_counts(BASE, new, earlier, seed=b"", protocol=BASE))


def test_a_table_of_which_nothing_was_shown_is_none() -> None:
    """It is not reckoned with, and what was shown is completed by its own definition."""
    shown = release(A, held(50))
    nothing = shown._replace(shown=dict.fromkeys(shown.shown))
    [kept] = shown_before(BASE, [nothing, shown])
    assert kept.shown == shown.shown


@pytest.mark.parametrize("change", [1, 4, 10])
def test_few_that_came_since_are_hidden_wherever_the_first_table_is_known(change: int) -> None:
    """Where a cell's difference is small it is shown in one table only; where it is larger, or none, in both."""
    first = release(A | B, held(50))
    assert None not in first.shown.values()
    again = release(A | B, held(50, change), first)
    assert again.shown["x/mid"] is None
    assert release(A | B, held(50), first).shown == first.shown
    assert release(A | B, held(50, 11), first).shown["x/mid"] == 101
    apart = release(C | D, held(50, change), first)
    assert None not in apart.shown.values()
    for sites in (A, A | B | C):
        assert release(sites, held(50, change if sites > first.sites else -change), first).shown["x/mid"] is None


def test_a_hidden_cell_stays_hidden_under_any_policy() -> None:
    """Of the same counts, also where the later policy would show it, and where the earlier one hid more."""
    first = release(A, held(8))
    assert first.shown["x/high"] is None
    assert release(A, held(8), first, policy=EXACT).shown["x/high"] is None
    looser = release(A, held(8), policy=EXACT)
    assert looser.shown["x/high"] == 8
    with pytest.raises(RunFailed, match="beside earlier tables"):
        release(A, held(8), looser)


def test_a_variable_that_counts_otherwise_is_refused() -> None:
    """Under one name, in other categories; a variable that the other table lacks does not clash."""
    first = release(A, held(50))
    number = BASE.variables[0]
    other = number.model_copy(update={"categories": (Category(label="any", lowest=0),)})
    changed = CohortDefinition(name="drawn", edition="1", source="a test", variables=(other,))
    new = Release(A, counted(changed, held(50)), STRICT, {}, changed)
    with pytest.raises(RunFailed, match="count otherwise"):
        released_counts(changed, new, [first], seed=b"", protocol=BASE)
    apart = Variable(
        name="w", title="w", unit="studies", source="clinical", field="y", categories=BASE.variables[1].categories
    )
    beside = CohortDefinition(name="drawn", edition="1", source="a test", variables=(apart,))
    counts = {cell: counted(BASE, held(50))[cell.replace("w/", "y/")] for cell in beside.cells}
    assert released_counts(beside, Release(C, counts, STRICT, {}, beside), [first], seed=b"", protocol=beside)


@pytest.mark.parametrize("policy", [STRICT, ROUNDED])
def test_a_rounded_table_with_a_hidden_cell_leaves_room_for_later_ones(policy: CellPolicy) -> None:
    """Of more sites with many more, and of the same counts again: its small cell may be anything as before."""
    first = release(A | B, held(5), policy=ROUNDED)
    assert first.shown["x/high"] is None
    more = {kind: 20 * count for kind, count in held(5).items()}
    later = release(A | B | C, more, first, policy=policy)
    assert (later.shown["x/low"], later.shown["patients"]) == (1600, 3500)
    assert release(A | B, held(5), first, later, policy=ROUNDED).shown["x/high"] is None
