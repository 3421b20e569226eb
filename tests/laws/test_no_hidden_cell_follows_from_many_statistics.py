"""The law of all histograms and tables of a cohort: who has all of them, in any bins, cannot narrow a hidden count.

The reader works with how many studies there are of each kind (number, text, text), of which every cell is a sum, and so
knows all that follows, by no help of the program's own relations.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.cohort.means import released_means
from coordinator.cohort.pooling import released_counts
from coordinator.cohort.relations import Relation
from coordinator.cohort.released import ReleasedMean
from coordinator.cohort.releases import Release
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.ids import SiteId
from shared.protocol.cohort import TOTALS, CohortDefinition
from tests.factories.attacks import MOST, Attack, Span
from tests.factories.drawn_statistics import (
    BASE,
    KINDS,
    TOP,
    Kind,
    cells_of,
    counted,
    definitions,
    many_studies,
    studies,
    sums,
)

pytestmark = pytest.mark.slow

POLICIES = [CellPolicy.named(name) for name in ("cms-11", "nhs-7-round-5", "min-5", "min-2")]
SITES = [SiteId(str(100_001 + number)) for number in range(4)]
GROUPS = [frozenset(SITES[:2]), frozenset(SITES[2:]), frozenset(SITES)]
laws = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Made:
    """A release, and what it was made from: a world is some sites on some day."""

    release: Release
    definition: CohortDefinition
    world: str
    items: Mapping[Kind, int]
    means: tuple[ReleasedMean, ...] = ()


@dataclass
class Reader:
    """Who has every release, and knows that a cell of a part is no more than the whole's, if one of them shows it."""

    made: list[Made] = field(default_factory=list)
    refused: int = 0

    def ask(self, definition: CohortDefinition, items: Mapping[Kind, int], policy: CellPolicy, **world: object) -> None:
        """Release one more table, unless that is refused."""
        sites = frozenset[SiteId](world["sites"])  # type: ignore[call-overload] # a set of sites
        new = Release(sites, counted(definition, items), policy, {}, definition)
        earlier = [each.release for each in self.made]
        self.refused += 1
        with suppress(RunFailed):
            shown = released_counts(definition, new, earlier, seed=b"a secret", protocol=BASE)
            means = released_means(
                definition, new._replace(shown=shown), sums(definition, items), earlier, protocol=BASE
            )
            self.made.append(
                Made(new._replace(shown=shown), definition, f"{sorted(sites)} {world['day']}", items, means)
            )
            self.refused -= 1

    def narrowed(self) -> list[str]:
        """The small counts of any table that do not cover 1 to the policy's highest, and so those between two edges."""
        relations, spans, goals = list[Relation](), dict[str, Span](), dict[str, int]()
        for each in self.made:
            for kind in KINDS:
                spans[f"{each.world} {kind}"] = (0, MOST)
            for less, more in pairwise(TOTALS):
                relations.append(Relation(weights={f"{each.world} {more}": 1, f"{each.world} {less}": -1}, high=None))
            for cell, kinds in _kinds(each.definition).items():
                name = f"{each.world} {cell}"
                if cell not in TOTALS or cell == "studies":  # of which a patient may have several
                    sums = {f"{each.world} {kind}": 1 for kind in kinds} | {name: -1}
                    relations.append(Relation(weights=sums, high=0))
                span, shown = spans.setdefault(name, (0, MOST)), each.release.shown[cell]
                if shown is not None:
                    low, high = each.release.policy.range_of(shown)
                    spans[name] = max(span[0], low), min(span[1], high)
                if each.release.policy.is_small(each.release.counts[cell]) and self.is_told(each):
                    assert shown is None
                    goals[name] = max(goals.get(name, 0), each.release.policy.highest)
            relations.extend(_of_means(each))
        for name, inside, highest, count in self.parts():
            relations.append(Relation(weights=dict.fromkeys(inside, 1) | {name: -1}, high=0))
            spans[name] = (0, MOST)
            goals |= {name: highest} if 1 <= count <= highest else {}
        attack = Attack([*relations, *self.nested()], spans)
        return [name for name, highest in goals.items() if not attack.covers(name, highest)]

    def is_told(self, made: Made) -> bool:
        """Whether anything is shown of it."""
        return any(count is not None for count in made.release.shown.values())

    def parts(self) -> Iterator[tuple[str, list[str], int, int]]:
        """Each stretch of the number between two edges of any bins of one world, with the highest that is hidden."""
        for world in {each.world for each in self.made if self.is_told(each)}:
            edges, highest, items = set[float](), 0, dict[Kind, int]()
            for each in self.made:
                binned = [variable for variable in each.definition.variables if variable.field == "x"]
                if each.world == world and self.is_told(each) and binned:
                    edges |= {float(each_bin.lowest or 0) for variable in binned for each_bin in variable.categories}
                    highest, items = max(highest, each.release.policy.highest), dict(each.items)
            for low, below in pairwise([*sorted(edges), float("inf")]):
                inside = [kind for kind in KINDS if kind[0] is not None and low <= kind[0] < below]
                yield (
                    f"{world} x {low}",
                    [f"{world} {kind}" for kind in inside],
                    highest,
                    sum(items.get(kind, 0) for kind in inside),
                )

    def nested(self) -> Iterator[Relation]:
        """Of sites within others, or of an older day: a cell of the part is no more than that of the whole."""
        for place, late in enumerate(self.made):
            for early in self.made[:place]:
                whole, part = (late, early) if early.release.sites <= late.release.sites else (early, late)
                if part.world == whole.world or not part.release.sites <= whole.release.sites:
                    continue
                for cell in part.release.shown.keys() & whole.release.shown.keys():
                    shown = (part.release.shown[cell], whole.release.shown[cell])
                    if shown != (None, None) and part.release.counts[cell] <= whole.release.counts[cell]:
                        yield Relation(weights={f"{whole.world} {cell}": 1, f"{part.world} {cell}": -1}, high=None)


def _of_means(made: Made) -> Iterator[Relation]:
    """Between which numbers the sum of all values lies, and that of their squares, by a mean and its step."""
    for mean in made.means:
        if mean.mean is not None and mean.deviation is not None and mean.step is not None:
            many = sum(count for kind, count in made.items.items() if kind[0] is not None)
            share, step = mean.mean / TOP, mean.step / TOP
            square = share**2 + (mean.deviation / TOP) ** 2
            for power, middle in ((1, share), (2, square))[: 2 if mean.deviation else 1]:
                weights = {f"{made.world} {kind}": int(kind[0] ** power) for kind in KINDS if kind[0]}
                low, high = ((middle + sign * step / 2) * many * TOP**power for sign in (-1, 1))
                yield Relation(weights=weights, low=ceil(low - 0.01), high=floor(high + 0.01))


def _kinds(definition: CohortDefinition) -> dict[str, list[Kind]]:
    kinds: dict[str, list[Kind]] = {cell: [] for cell in definition.cells}
    for kind in KINDS:
        for cell in cells_of(definition, kind):
            kinds[cell].append(kind)
    return kinds


@given(studies(), st.lists(st.tuples(definitions(), st.sampled_from(POLICIES)), min_size=1, max_size=4))
@laws
def test_of_any_plans_on_a_snapshot(items: Counter[Kind], plans: list[tuple[CohortDefinition, CellPolicy]]) -> None:
    """Whatever bins, tables and policies are asked for one after the other, every small count may be any that is."""
    reader = Reader()
    for definition, policy in plans:
        reader.ask(definition, items, policy, sites=GROUPS[0], day=0)
    assert reader.narrowed() == []


@given(st.data(), many_studies())
@laws
def test_of_means(data: st.DataObject, items: Counter[Kind]) -> None:
    """Nor where means and deviations of the numbers are shown, before or after other bins and tables of them."""
    reader = Reader()
    averaged = data.draw(st.integers(0, 2))
    for place in range(3):
        definition = data.draw(definitions(averaged=place == averaged))
        reader.ask(definition, items, data.draw(st.sampled_from(POLICIES)), sites=GROUPS[0], day=0)
    assert reader.narrowed() == []


@given(st.data())
@laws
def test_of_any_plans_on_other_days_and_sites(data: st.DataObject) -> None:
    """Nor where the libraries have changed in between, or more or fewer sites were asked."""
    reader, held = Reader(), {site: data.draw(studies()) for site in SITES}
    for day in range(data.draw(st.integers(2, 4))):
        sites = data.draw(st.sampled_from(GROUPS))
        items = sum((held[site] for site in sites), Counter[Kind]())
        reader.ask(data.draw(definitions()), items, data.draw(st.sampled_from(POLICIES)), sites=sites, day=str(held))
        if data.draw(st.booleans()):
            held = {site: before + data.draw(studies(20)) for site, before in held.items()}
        del day
    assert reader.narrowed() == []
