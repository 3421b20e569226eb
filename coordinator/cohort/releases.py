"""A table beside all that was released of the same cohort before: what a reader may hold together.

Tables of the same sites and counts are one table, shown in several ways. Of any others whose sites are the same or lie
within one another, the difference is a table too: of what came since, or of the sites that are more. Its small counts
are protected even against a reader who knows the earlier table whole. A cell that was hidden stays hidden, and what is
unchanged since it was shown counts as known.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from coordinator.cohort.relations import Relation, complete, known_relations, worth_of
from coordinator.cohort.suppression import Shown, Span, is_protected, suppress
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition

_MOST = 10**6
_ANY_COUNT = (0, _MOST)
_ANY_DIFFERENCE = (-_MOST, _MOST)


class Release(NamedTuple):
    """A table: the sites that are in it, their pooled counts, the policy, and what is shown of each cell."""

    sites: frozenset[SiteId]
    counts: Mapping[str, int]
    policy: CellPolicy
    shown: Mapping[str, int | None]


class Difference(NamedTuple):
    """A table less others of sites within its own, disjoint of one another."""

    whole: Release
    parts: tuple[Release, ...]

    @property
    def releases(self) -> tuple[Release, ...]:
        """All its tables."""
        return self.whole, *self.parts

    @property
    def is_of_one_table(self) -> bool:
        """Whether it is between two releases of the same counts of the same sites."""
        return all((part.sites, part.counts) == (self.whole.sites, self.whole.counts) for part in self.parts)

    def count(self, cell: str) -> int:
        """How much of the cell is in the whole and in no part."""
        return self.whole.counts[cell] - sum(part.counts[cell] for part in self.parts)

    def span_of(self, new: Release, cell: str) -> Span | None:
        """Where `new` holds the cell, as far as a reader of the others knows who knows that no part outgrows the whole.

        Of other tables he is taken to know a shown count as it was before it was rounded, and of a whole that holds no
        more than its parts that it does not. `None`: one of the others hides the cell.
        """
        others = [release for release in self.releases if release is not new]
        if any(release.shown[cell] is None for release in others):
            return None
        if self.is_of_one_table:
            return others[0].policy.range_of(others[0].shown[cell] or 0)
        count, more = new.counts[cell], self.count(cell)
        if more <= 0:
            return (count, count) if more == 0 else _ANY_COUNT
        return (count - more, _MOST) if self.whole is new else (0, count + more)

    def bounds_of(self, rounded: Release, cell: str) -> Span:
        """Where `rounded` holds the cell for who knows the counts of all others, and that no part outgrows the whole.

        Where two of the tables hide the cell, that tells nothing.
        """
        others = [release for release in self.releases if release is not rounded]
        shown = [count for release in others if (count := release.shown[cell]) is not None]
        if self.is_of_one_table:
            return others[0].policy.range_of(shown[0]) if shown else _ANY_COUNT
        count, more = rounded.counts[cell], self.count(cell)
        if more < 0 or len(self.releases) - len(shown) - (rounded.shown[cell] is not None) > 1:
            return _ANY_COUNT
        return (count - more, _MOST) if self.whole is rounded else (0, count + more)

    def would_narrow(self, new: Release, cell: str) -> bool:
        """Whether the cell, shown in `new`, narrows what rounding leaves open of it in another table that shows it."""
        if self.is_of_one_table or self.count(cell) < 0:
            return False
        whole, *parts = (each.policy.range_of(each.policy.shown(each.counts[cell])) for each in self.releases)
        least = sum(low for low, _ in parts)
        too_low = self.whole is not new and whole[0] < least
        pairs = zip(self.parts, parts, strict=True)
        return too_low or any(high > whole[1] - least + low for part, (low, high) in pairs if part is not new)


def suppress_jointly(definition: CohortDefinition, new: Release, earlier: Sequence[Release], *, seed: bytes) -> Shown:
    """What is shown of each cell of `new`, so that nothing follows from it and all of `earlier`.

    Raises `RunFailed` when nothing protects every cell of it, or of an earlier table.
    """
    counts = complete(definition, new.counts)
    relations = known_relations(definition, counts)
    hidden: set[str] = set()
    seen: dict[str, Span] = {}
    guards = dict.fromkeys(definition.cells, new.policy.highest)
    released = [each for each in earlier if any(count is not None for count in each.shown.values())]
    for number, difference in enumerate(differences(new, released)):
        highest = max(release.policy.highest for release in difference.releases)
        for cell in definition.cells:
            span, more = difference.span_of(new, cell), difference.count(cell)
            if span is None or difference.would_narrow(new, cell):
                hidden.add(cell)
            if span is not None:
                before = seen.get(cell, _ANY_COUNT)
                seen[cell] = max(span[0], before[0]), min(span[1], before[1])
            if difference.is_of_one_table:
                guards[cell] = max(guards[cell], highest)
            elif 1 <= abs(more) <= highest:
                name = f"{number}:{cell}"
                weight = 1 if (more > 0) == (difference.whole is new) else -1
                counts[name], guards[name], seen[name] = abs(more), highest, _ANY_DIFFERENCE
                rest = counts[cell] - weight * abs(more)
                relations.append(Relation(weights={cell: 1, name: -weight}, low=rest, high=rest))
    shown = suppress(
        counts,
        relations,
        new.policy,
        seed=seed,
        never=set(counts).difference(definition.cells),
        worth=worth_of(definition),
        hidden=hidden,
        seen=seen,
        guards=guards,
    )
    if not all(
        stays_protected(definition, each, [*released, new._replace(shown=shown)])
        for each in released
        if each.policy.base > 1
    ):
        raise RunFailed(problem="it would narrow what rounding leaves open of an earlier table of this cohort")
    return shown


def stays_protected(definition: CohortDefinition, rounded: Release, releases: Sequence[Release]) -> bool:
    """Whether all `releases`, whose counts readers are taken to know, leave the small cells of `rounded` protected.

    Of a table that is not rounded a reader knows every shown cell already, and a hidden cell is hidden in all others.
    """
    seen: dict[str, Span] = {}
    all_differences = (each for place, new in enumerate(releases) for each in differences(new, releases[:place]))
    for difference in all_differences:
        for cell in definition.cells if rounded in difference.releases else ():
            before = seen.get(cell, _ANY_COUNT)
            span = difference.bounds_of(rounded, cell)
            seen[cell] = max(span[0], before[0]), min(span[1], before[1])
    counts = complete(definition, rounded.counts)
    return is_protected(counts, known_relations(definition, counts), rounded.policy, rounded.shown, seen)


def differences(new: Release, earlier: Sequence[Release]) -> Iterator[Difference]:
    """Every difference that `new` brings about: it less earlier tables, or an earlier one less it and others."""
    inner = [release for release in earlier if release.sites <= new.sites]
    yield from (Difference(new, parts) for parts in _disjoint(inner))
    for whole in earlier:
        if new.sites < whole.sites:
            yield Difference(whole, (new,))
            beside = [each for each in earlier if each.sites < whole.sites and not each.sites & new.sites]
            yield from (Difference(whole, (new, *parts)) for parts in _disjoint(beside))


def _disjoint(releases: Sequence[Release]) -> Iterator[tuple[Release, ...]]:
    """Every choice of one or more tables no two of which have a site in common."""
    for place, release in enumerate(releases):
        yield (release,)
        others = [other for other in releases[place + 1 :] if not other.sites & release.sites]
        yield from ((release, *rest) for rest in _disjoint(others))
