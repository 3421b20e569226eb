"""Laws of the sets that sites answer together with: what can be solved for from the sums of many sessions.

A set of sites is its indicator vector; what a coordinator can compute from the sums of several sets is what lies in
the rational row space of their indicator vectors.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RunRefused
from shared.federation.secure_sum.policy import Answered, SumPolicy, refuse_near_repeat
from shared.ids import SiteId
from tests.factories.summing import sites

EVERYONE = sites(10)
OWN = EVERYONE[0]
Set = frozenset[SiteId]
some = settings(max_examples=150, deadline=None)


def admitted(earlier: Sequence[Set], new: Set, policy: SumPolicy, own: SiteId) -> bool:
    """Whether the site `own`, which answered over the sets `earlier`, answers over `new`."""
    if own not in new or policy.known(own, new) < policy.minimum:
        return False
    answers = [Answered(roster=tuple(sorted(each)), survivors=tuple(sorted(each))) for each in earlier]
    try:
        refuse_near_repeat(answers, sorted(new), sorted(new), policy, own)
    except RunRefused:
        return False
    return True


def reduced(rows: Iterable[Sequence[int]]) -> list[list[Fraction]]:
    """The rows in echelon form over the rationals, without those that are zero."""
    left, done = [[Fraction(each) for each in row] for row in rows], list[list[Fraction]]()
    while left:
        row = left.pop()
        place = next((index for index, each in enumerate(row) if each), None)
        if place is None:
            continue
        row = [each / row[place] for each in row]
        left = [[a - other[place] * b for a, b in zip(other, row, strict=True)] for other in left]
        done.append(row)
    return done


def shown(family: Iterable[Set], known: Sequence[SiteId], minimum: int) -> list[tuple[SiteId, ...]]:
    """The groups of fewer than `minimum` known sites whose sum can be solved for, every unknown vector being given."""
    rows = [[int(site in each) for site in known] for each in family]
    rank = len(reduced(rows))
    groups = [group for size in range(1, minimum) for group in combinations(known, size)]
    return [group for group in groups if len(reduced([*rows, [int(site in group) for site in known]])) == rank]


@st.composite
def families(draw: st.DrawFn) -> list[Set]:
    """Sets of sites, many of them nested with others so that some pass."""
    order = draw(st.permutations(EVERYONE))
    slices = st.tuples(st.integers(0, 9), st.integers(3, 10)).map(lambda cut: frozenset(order[cut[0] : sum(cut)]))
    return draw(st.lists(st.one_of(slices, st.frozensets(st.sampled_from(EVERYONE), min_size=3)), max_size=12))


@given(families(), st.sets(st.sampled_from(EVERYONE[1:])), st.integers(3, 4))
@some
def test_no_small_group_can_be_solved_for_from_what_one_site_saw(
    family: list[Set], pinned: set[SiteId], minimum: int
) -> None:
    """No known site, and no group below the minimum, lies in the row space of the sets in one site's memory."""
    policy, seen = SumPolicy(minimum=minimum, pins=dict.fromkeys(pinned, "SHA256:")), list[Set]()
    for drawn in family:
        new = drawn | {OWN}
        if admitted(seen, new, policy, OWN):
            seen.append(new)
    known = [site for site in EVERYONE if policy.known(OWN, [site])]
    assert shown(seen, known, minimum) == []


@given(families())
@some
def test_sets_that_share_a_site_are_nested_across_the_federation(family: list[Set]) -> None:
    """What every one of its sites admitted overlaps nothing else partly; exact repeats are always admitted."""
    policy, memories = SumPolicy(), {site: list[Set]() for site in EVERYONE}
    for new in family:
        if admitted_by_all(memories, new, policy):
            for site in new:
                memories[site].append(new)
            assert admitted_by_all(memories, new, policy)
    answered = {each for memory in memories.values() for each in memory}
    for one, two in combinations(answered, 2):
        assert not one & two or one < two or two < one


def admitted_by_all(memories: Mapping[SiteId, Sequence[Set]], new: Set, policy: SumPolicy) -> bool:
    """Whether each site of `new` answers over it."""
    return len(new) >= policy.minimum and all(admitted(memories[site], new, policy, site) for site in new)


def test_the_fano_plane_is_refused() -> None:
    """Seven rosters of three of seven sites, any two with one site in common, would give every site's vector."""
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
    family = [frozenset(EVERYONE[place] for place in line) for line in lines]
    assert len(shown(family, EVERYONE[:7], 2)) == 7
    for own in EVERYONE[:7]:
        first, *others = [each for each in family if own in each]
        assert admitted([], first, SumPolicy(), own)
        assert not any(admitted([first], each, SumPolicy(), own) for each in others)


def test_what_no_single_site_sees_is_not_covered() -> None:
    """The limit that the README states: two disjoint sets, then both with one more site, which has seen neither."""
    one, two = frozenset(EVERYONE[:3]), frozenset(EVERYONE[3:6])
    both = one | two | {EVERYONE[6]}
    memories = {site: [each for each in (one, two) if site in each] for site in EVERYONE}
    assert admitted_by_all(memories, both, SumPolicy())
    assert shown([one, two, both], EVERYONE, 2) == [(EVERYONE[6],)]


@pytest.mark.parametrize("steps", [(3,), (3, 3), (3, 4, 3)])
def test_growing_by_the_minimum_is_allowed(steps: tuple[int, ...]) -> None:
    """A federation that grows by three sites at a time goes on."""
    seen, size = list[Set](), 0
    for step in steps:
        size += step
        assert admitted(seen, frozenset(EVERYONE[:size]), SumPolicy(), OWN)
        seen.append(frozenset(EVERYONE[:size]))
