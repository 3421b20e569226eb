"""Laws of the sets of sites that answer together: what can be solved for from the sums of many sessions.

A set of sites is its indicator vector; from the sums of several sets a coordinator can compute exactly what lies in the
rational row space of their indicator vectors.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors.federation import RunRefused
from shared.federation.secure_sum.messages import Answered
from shared.federation.secure_sum.policy import SumPolicy, refuse_near_repeat
from shared.ids import SiteId
from tests.factories.summing import sites

EVERYONE = sites(10)
OWN = EVERYONE[0]
Set = frozenset[SiteId]
laws = settings(max_examples=150, deadline=None)


def admitted(previous: Sequence[Set], new: Set, policy: SumPolicy, own: SiteId) -> bool:
    """Whether the site `own`, which answered over the sets `previous`, answers over `new`."""
    if own not in new or policy.known(own, new) < policy.minimum:
        return False
    answers = [Answered(roster=tuple(sorted(group)), survivors=tuple(sorted(group))) for group in previous]
    try:
        refuse_near_repeat(answers, sorted(new), sorted(new), policy, own)
    except RunRefused:
        return False
    return True


def reduced(rows: Iterable[Sequence[int]]) -> list[list[Fraction]]:
    """The rows in echelon form over the rationals, without those that are zero."""
    pending, echelon = [[Fraction(entry) for entry in row] for row in rows], list[list[Fraction]]()
    while pending:
        row = pending.pop()
        pivot = next((index for index, entry in enumerate(row) if entry), None)
        if pivot is None:
            continue
        row = [entry / row[pivot] for entry in row]
        pending = [[a - other[pivot] * b for a, b in zip(other, row, strict=True)] for other in pending]
        echelon.append(row)
    return echelon


def solvable(family: Iterable[Set], known: Sequence[SiteId], minimum: int) -> list[tuple[SiteId, ...]]:
    """The groups of fewer than `minimum` known sites whose sum can be solved for, given every unknown site's vector."""
    rows = [[int(site in members) for site in known] for members in family]
    rank = len(reduced(rows))
    groups = [group for size in range(1, minimum) for group in combinations(known, size)]
    return [group for group in groups if len(reduced([*rows, [int(site in group) for site in known]])) == rank]


@st.composite
def families(draw: st.DrawFn) -> list[Set]:
    """Sets of sites, many of them nested so that some are admitted."""
    order = draw(st.permutations(EVERYONE))
    slices = st.tuples(st.integers(0, 9), st.integers(3, 10)).map(lambda cut: frozenset(order[cut[0] : sum(cut)]))
    return draw(st.lists(st.one_of(slices, st.frozensets(st.sampled_from(EVERYONE), min_size=3)), max_size=12))


@given(families(), st.sets(st.sampled_from(EVERYONE[1:])), st.integers(3, 4))
@laws
def test_no_small_group_can_be_solved_for_from_what_one_site_saw(
    family: list[Set], pinned: set[SiteId], minimum: int
) -> None:
    """No known site, and no group below the minimum, lies in the row space of the sets in one site's memory."""
    policy, memory = SumPolicy(minimum=minimum, pins=dict.fromkeys(pinned, "SHA256:")), list[Set]()
    for drawn in family:
        new = drawn | {OWN}
        if admitted(memory, new, policy, OWN):
            memory.append(new)
    known = [site for site in EVERYONE if policy.known(OWN, [site])]
    assert solvable(memory, known, minimum) == []


@given(families())
@laws
def test_sets_that_share_a_site_are_nested_across_the_federation(family: list[Set]) -> None:
    """Two sets that all their sites admitted are disjoint or nested; exact repeats are always admitted."""
    policy, memories = SumPolicy(), {site: list[Set]() for site in EVERYONE}
    for new in family:
        if admitted_by_all(memories, new, policy):
            for site in new:
                memories[site].append(new)
            assert admitted_by_all(memories, new, policy)
    answered = {group for memory in memories.values() for group in memory}
    for first, second in combinations(answered, 2):
        assert not first & second or first < second or second < first


def admitted_by_all(memories: Mapping[SiteId, Sequence[Set]], new: Set, policy: SumPolicy) -> bool:
    """Whether each site of `new` answers over it."""
    return len(new) >= policy.minimum and all(admitted(memories[site], new, policy, site) for site in new)


def test_the_fano_plane_is_refused() -> None:
    """Seven rosters of three of seven sites, any two with one site in common, would give every site's vector."""
    lines = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
    family = [frozenset(EVERYONE[place] for place in line) for line in lines]
    assert len(solvable(family, EVERYONE[:7], 2)) == 7
    for own in EVERYONE[:7]:
        first, *others = [line for line in family if own in line]
        assert admitted([], first, SumPolicy(), own)
        assert not any(admitted([first], line, SumPolicy(), own) for line in others)


class Histories:
    """Sites that tell one another, with each sum, what they answered and heard of before."""

    def __init__(self) -> None:
        self.memories = {site: set[Set]() for site in EVERYONE}
        self.answered: list[Set] = []

    def sum_over(self, new: Set, policy: SumPolicy) -> bool:
        """Whether all sites of `new` answer over it."""
        heard = set[Set]().union(*(self.memories[site] for site in new))
        if len(new) < policy.minimum or not all(admitted(sorted(heard, key=sorted), new, policy, site) for site in new):
            return False
        for site in new:
            self.memories[site] |= heard | {new}
        self.answered.append(new)
        return True


@given(families(), st.integers(3, 4))
@laws
def test_no_small_group_can_be_solved_for_from_all_sums_of_the_federation(family: list[Set], minimum: int) -> None:
    """Whatever sets were asked for, no group below the minimum lies in the row space of all that were answered."""
    histories, policy = Histories(), SumPolicy(minimum=minimum)
    for new in family:
        if histories.sum_over(new, policy):
            assert histories.sum_over(new, policy)
    assert solvable(histories.answered, EVERYONE, minimum) == []


def test_what_no_single_site_sees_is_heard_from_the_others() -> None:
    """Two disjoint sets, then both with a site that answered in neither, would show it: some site knows each set."""
    first, second = frozenset(EVERYONE[:3]), frozenset(EVERYONE[3:6])
    both = first | second | {EVERYONE[6]}
    histories, policy = Histories(), SumPolicy()
    assert histories.sum_over(first, policy)
    assert histories.sum_over(second, policy)
    assert admitted([first], both, policy, EVERYONE[0])
    assert not histories.sum_over(both, policy)
    assert histories.sum_over(both | set(EVERYONE[7:9]), policy)


def test_a_sum_of_strangers_only_is_in_nobodys_way() -> None:
    """Sites that this one knows nothing of answered, as others say: no known site is missing in a larger sum."""
    policy = SumPolicy(pins=dict.fromkeys(EVERYONE[1:3], "SHA256:"))
    strangers = frozenset(EVERYONE[5:8])
    assert admitted([strangers], strangers | set(EVERYONE[:3]), policy, OWN)
    assert not admitted([strangers], strangers | set(EVERYONE[:2]), policy, OWN)


def test_parts_that_know_nothing_of_one_another_are_refused() -> None:
    """Three disjoint parts of an answered set of ten would show the tenth: every part holds one and the same site."""
    histories, policy = Histories(), SumPolicy()
    assert histories.sum_over(frozenset(EVERYONE), policy)
    assert not histories.sum_over(frozenset(EVERYONE[1:4]), policy)
    assert histories.sum_over(frozenset(EVERYONE[:3]), policy)
    assert not histories.sum_over(frozenset(EVERYONE[3:6]), policy)


@pytest.mark.parametrize("steps", [(3,), (3, 3), (3, 4, 3)])
def test_growing_by_the_minimum_is_allowed(steps: tuple[int, ...]) -> None:
    """A federation that grows by at least three sites at a time can repeat its sums."""
    memory, size = list[Set](), 0
    for step in steps:
        size += step
        assert admitted(memory, frozenset(EVERYONE[:size]), SumPolicy(), OWN)
        memory.append(frozenset(EVERYONE[:size]))
