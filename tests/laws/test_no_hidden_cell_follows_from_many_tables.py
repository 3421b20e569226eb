"""The law of all that is released of a cohort: who has all of it and knows the protocol cannot narrow a hidden cell."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.cohort.pooling import released_counts
from coordinator.cohort.relations import Relation, complete, relations_of, statements_of
from coordinator.cohort.releases import Release
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition, Table
from shared.protocol.loader import load_protocol
from site_node.federate.counting import count
from tests.factories.attacks import MOST, Attack, Span
from tests.factories.drawn_cohorts import Item, counted, definitions, plain_definition, studies
from tests.factories.libraries import by_the_sheet

pytestmark = pytest.mark.slow

RICORD = load_protocol().cohort
POLICIES = [CellPolicy.named(name) for name in ("cms-11", "nhs-7-round-5", "min-5", "min-2")]
laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


SITES = [SiteId(str(100_001 + number)) for number in range(4)]
GROUPS = [frozenset(SITES[first:last]) for first, last in ((0, 2), (2, 4), (0, 3), (0, 4))]


@dataclass
class Reader:
    """Who has every release and knows the protocol, and that a cell of a part is no more than the whole's.

    Of the latter he makes use where at most one of the tables hides the cell: what the README promises.
    """

    definition: CohortDefinition
    releases: list[Release] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    spans: dict[str, Span] = field(default_factory=dict)

    def read(self, new: Release) -> None:
        """Take in one more release."""
        name = name_of(new)
        everything = complete(self.definition, new.counts)
        if f"{name} patients" not in self.spans:
            stated = [each for each in statements_of(self.definition) if each.holds(everything)]
            self.relations += [prefixed(name, each) for each in (*relations_of(self.definition), *stated)]
            self.spans |= {f"{name} {cell}": (0, MOST) for cell in everything}
        for cell, shown in new.shown.items():
            if shown is not None:
                (low, high), before = new.policy.range_of(shown), self.spans[f"{name} {cell}"]
                self.spans[f"{name} {cell}"] = max(low, before[0]), min(high, before[1])
        self.releases.append(new)

    def differences(self) -> Iterator[tuple[Release, tuple[Release, ...]]]:
        """Every table and disjoint tables of sites within its own; of equal sites the older within the newer."""
        for number, whole in enumerate(self.releases):
            inner = [part for part in self.releases if part.sites < whole.sites]
            older = [part for part in self.releases[:number] if name_of(part) != name_of(whole)]
            inner += [part for part in older if part.sites == whole.sites]
            for parts in (*((part,) for part in inner), *combinations(inner, 2)):
                if len(frozenset.union(*(part.sites for part in parts))) == sum(len(part.sites) for part in parts):
                    yield whole, parts

    def narrowed(self) -> list[str]:
        """The small cells of any table, and of two tables' difference, that do not cover 1 to the policy's highest."""
        narrow = []
        relations = self.relations + [
            Relation(weights=weights_of(cell, whole, parts), high=None)
            for whole, parts in self.differences()
            for cell in self.definition.cells
            if whole.counts[cell] >= sum(part.counts[cell] for part in parts)
            and sum(each.shown[cell] is None for each in (whole, *parts)) < 2
        ]
        attack = Attack(relations, self.spans)
        for each in self.releases:
            if any(count is not None for count in each.shown.values()):
                small = [cell for cell, count in each.counts.items() if each.policy.is_small(count)]
                assert all(each.shown[cell] is None for cell in small)
                names = [f"{name_of(each)} {cell}" for cell in small]
                narrow += [name for name in names if not attack.covers(name, each.policy.highest)]
        return narrow + (self.narrowed_differences() if len(self.releases) == 2 else [])

    def narrowed_differences(self) -> list[str]:
        """The small cells of differences that do not cover 1 to the policies' highest."""
        relations, spans, goals = list(self.relations), dict(self.spans), {}
        for number, (whole, parts) in enumerate(self.differences()):
            highest = max(each.policy.highest for each in (whole, *parts))
            for cell in self.definition.cells:
                more = whole.counts[cell] - sum(part.counts[cell] for part in parts)
                if 1 <= abs(more) <= highest:
                    name = f"difference {number} {cell}"
                    spans[name], goals[name] = (-MOST, MOST), highest
                    weights = weights_of(cell, whole, parts) | {name: -1 if more > 0 else 1}
                    relations.append(Relation(weights=weights))
        attack = Attack(relations, spans)
        return [name for name, highest in goals.items() if not attack.covers(name, highest)]


def name_of(release: Release) -> str:
    """Tables of the same sites and counts are one."""
    return f"{sorted(release.sites)} {sorted(release.counts.items())}"


def prefixed(name: str, relation: Relation) -> Relation:
    """The relation, of that table's cells."""
    return relation.model_copy(update={"weights": {f"{name} {cell}": of for cell, of in relation.weights.items()}})


def weights_of(cell: str, whole: Release, parts: Sequence[Release]) -> dict[str, int]:
    """A cell of a table less that of others."""
    return {f"{name_of(whole)} {cell}": 1} | {f"{name_of(part)} {cell}": -1 for part in parts}


def released(
    reader: Reader, counts: Mapping[str, int], policy: CellPolicy, seed: bytes, sites: frozenset[SiteId] = GROUPS[0]
) -> None:
    """Release one more table, unless that is refused."""
    new = Release(sites, counts, policy, {})
    with suppress(RunFailed):
        reader.read(new._replace(shown=released_counts(reader.definition, new, reader.releases, seed=seed)))


def pooled(
    sites: Iterable[SiteId], studies: Mapping[SiteId, Counter[Item]], definition: CohortDefinition
) -> dict[str, int]:
    """The counts of those sites together."""
    return counted(definition, sum((studies[site] for site in sites), Counter()))


@given(st.data(), definitions(), st.binary(max_size=4))
@laws
def test_of_any_sequence_of_tables(data: st.DataObject, definition: CohortDefinition, seed: bytes) -> None:
    """Tables of the same or nested sites, of other days and policies, narrow no small cell and no small difference."""
    reader, held = Reader(definition), {site: data.draw(studies()) for site in SITES}
    for _ in range(data.draw(st.integers(2, 4))):
        sites, policy = data.draw(st.sampled_from(GROUPS)), data.draw(st.sampled_from(POLICIES))
        released(reader, pooled(sites, held, definition), policy, seed, sites)
        if data.draw(st.booleans()):
            held = {site: before + data.draw(studies(5)) for site, before in held.items()}
        if data.draw(st.booleans()):
            held = {site: before - data.draw(studies(2)) for site, before in held.items()}
    assert reader.narrowed() == []


def test_of_a_part_that_has_outgrown_its_whole() -> None:
    """A cell that is no more than the whole's only by being negative does not protect the difference of another."""
    plain = plain_definition(())
    outside: Counter[Item] = Counter(
        {
            (("a", "a", "not recorded"), True): 9,
            (("a", "a", "b"), True): 1,
            (("a", "a", "other"), True): 1,
            (("not recorded", "b", "not recorded"), True): 1,
            (("not recorded", "other", "b"), True): 10,
        }
    )
    part: Counter[Item] = Counter(
        {
            (("a", "a", "b"), True): 2,
            (("a", "a", "b"), False): 2,
            (("a", "a", "other"), True): 1,
            (("a", "a", "other"), False): 9,
            (("a", "a", "not recorded"), True): 1,
            (("other", "b", "b"), True): 9,
        }
    )
    since: Counter[Item] = Counter({(("a", "a", "a"), True): 1, (("a", "a", "other"), True): 2})
    reader = Reader(plain)
    released(reader, counted(plain, outside + part), POLICIES[0], b"", GROUPS[3])
    released(reader, counted(plain, part + since), POLICIES[0], b"", GROUPS[1])
    assert len(reader.releases) == 2
    assert reader.narrowed() == []


def test_of_a_rounded_table_beside_an_exact_wider_one() -> None:
    """What rounding leaves open of a table protects its small cells, or an exact wider table is refused."""
    crossed, recorded, missing = plain_definition((Table(rows="x", columns="y"),)), True, False
    part: Counter[Item] = Counter(
        {
            (("a", "a", "a"), recorded): 22,
            (("a", "not recorded", "not recorded"), missing): 28,
            (("b", "b", "b"), recorded): 22,
            (("b", "b", "not recorded"), missing): 34,
            (("b", "not recorded", "b"), recorded): 2,
            (("not recorded", "a", "other"), recorded): 3,
            (("not recorded", "b", "b"), recorded): 38,
            (("not recorded", "not recorded", "a"), recorded): 1,
            (("not recorded", "other", "b"), missing): 9,
        }
    )
    other: Counter[Item] = Counter(
        {
            (("a", "a", "a"), recorded): 1,
            (("a", "other", "b"), missing): 35,
            (("b", "other", "not recorded"), missing): 1,
            (("not recorded", "not recorded", "other"), recorded): 1,
            (("not recorded", "other", "b"), recorded): 1,
            (("other", "a", "b"), recorded): 1,
            (("other", "b", "b"), missing): 1,
            (("other", "b", "other"), missing): 16,
        }
    )
    since: Counter[Item] = Counter({(("a", "a", "a"), recorded): 3})
    reader = Reader(crossed)
    released(reader, counted(crossed, part), POLICIES[1], b"w\xab\xaa\x12", GROUPS[0])
    released(reader, counted(crossed, part + other - since), POLICIES[0], b"w\xab\xaa\x12", GROUPS[2])
    assert reader.releases
    assert reader.narrowed() == []


@given(st.data(), studies(), definitions(), st.sampled_from(POLICIES), st.binary(max_size=4))
@laws
def test_who_knows_the_program_rules_out_no_table(
    data: st.DataObject, items: Counter[Item], definition: CohortDefinition, policy: CellPolicy, seed: bytes
) -> None:
    """Any table that fits a release is protected by the same hidden cells, so chance might have hidden the same."""
    reader = Reader(definition)
    released(reader, counted(definition, items), policy, seed)
    [release] = reader.releases
    hidden = [cell for cell, shown in release.shown.items() if shown is None]
    if 0 < len(hidden) < len(release.shown):
        attack, name = Attack(reader.relations, reader.spans), f"{name_of(release)} "
        for sign in (1, -1):
            other = attack.table(name + data.draw(st.sampled_from(hidden)), sign)
            small = [cell for cell in release.shown if policy.is_small(other[name + cell])]
            assert set(small) <= set(hidden)
            assert all(attack.covers(name + cell, policy.highest) for cell in small)


@pytest.mark.parametrize("policy", POLICIES[:3], ids=lambda policy: policy.name)
def test_which_cells_are_hidden_is_the_seeds_choice(policy: CellPolicy) -> None:
    """From one table, different seeds lead to different hidden cells, and one seed always to the same."""
    counts = count(RICORD, by_the_sheet(random.Random("choice"), 150))
    new = Release(GROUPS[0], counts, policy, {})
    hidden = [
        frozenset(cell for cell, shown in released_counts(RICORD, new, [], seed=seed).items() if shown is None)
        for seed in (b"1", b"2", b"3", b"4", b"1")
    ]
    assert hidden[0] == hidden[-1]
    assert len(set(hidden)) > 1


@given(studies(), definitions(), st.sampled_from(POLICIES), st.binary(max_size=4))
@laws
def test_of_any_definition(items: Counter[Item], definition: CohortDefinition, policy: CellPolicy, seed: bytes) -> None:
    """Each hidden small cell may hold every count that the policy hides, whatever the definition states."""
    reader = Reader(definition)
    released(reader, counted(definition, items), policy, seed)
    assert reader.narrowed() == []


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("patients", [40, 80, 150, 300])
def test_of_the_shipped_definition(patients: int, policy: CellPolicy) -> None:
    """No table of adults whose sheet is filled in as it is meant narrows a cell."""
    counts = count(RICORD, by_the_sheet(random.Random(f"{patients} {policy.name}"), patients))
    reader = Reader(RICORD)
    released(reader, counts, policy, b"a secret")
    assert reader.narrowed() == []


@pytest.mark.parametrize("patients", [40, 120])
def test_of_the_shipped_definition_asked_again(patients: int) -> None:
    """A weaker policy, and a table of some patients more, narrow no cell of a sheet as it is meant."""
    studies, reader = by_the_sheet(random.Random(str(patients)), patients + 30), Reader(RICORD)
    for more, policy in ((0, "cms-11"), (0, "min-2"), (3, "nhs-7-round-5"), (30, "cms-11")):
        counts = count(RICORD, [study for study in studies if int(study.patient[7:]) <= patients + more])
        released(reader, counts, CellPolicy.named(policy), b"a secret")
    assert len(reader.releases) > 1
    assert reader.narrowed() == []
