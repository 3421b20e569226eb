"""A table beside all that was released of the same cohort before: what a reader may hold together.

Tables of the same sites and counts are one table, shown in several ways, and what they count is protected together. Of
any others whose sites are the same or lie within one another, the difference is a table too: of what came since, or of
the sites that are more. Its small counts are protected even against a reader who knows the earlier table whole. A cell
that was hidden stays hidden, and what is unchanged since it was shown counts as known. Where such tables count
different things, the new one splits up no cell that the earlier one hides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from coordinator.cohort.cuts import cuts_of
from coordinator.cohort.relations import Relation, complete, known_relations, relations_of, worth_of
from coordinator.cohort.suppression import Shown, Span, is_protected, suppress
from shared.errors.federation import RunFailed
from shared.federation.cell_policy import CellPolicy
from shared.ids import SiteId
from shared.protocol.cohort import CohortDefinition

_MOST = 10**6
_ANY_COUNT = (0, _MOST)
_ANY_DIFFERENCE = (-_MOST, _MOST)


class Release(NamedTuple):
    """A table: the sites that are in it, their pooled counts, the policy, and what is shown of each cell.

    `definition` is that of its cells, where it is not the one that is at hand.
    """

    sites: frozenset[SiteId]
    counts: Mapping[str, int]
    policy: CellPolicy
    shown: Mapping[str, int | None]
    definition: CohortDefinition | None = None

    def is_of_table(self, sites: frozenset[SiteId], counts: Mapping[str, int]) -> bool:
        """Whether it is of those sites, and holds the same wherever it counts the same."""
        return self.sites == sites and all(counts.get(cell, count) == count for cell, count in self.counts.items())


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
        return all(part.is_of_table(self.whole.sites, self.whole.counts) for part in self.parts)

    def common(self, cells: Iterable[str]) -> list[str]:
        """Those of the cells that all its tables count."""
        return [cell for cell in cells if all(cell in release.counts for release in self.releases)]

    def count(self, cell: str) -> int:
        """How much of the cell is in the whole and in no part."""
        return self.whole.counts[cell] - sum(part.counts[cell] for part in self.parts)

    def span_of(self, new: Release, cell: str) -> Span | None:
        """Where `new` holds the cell, as far as a reader of the others knows who knows that no part outgrows the whole.

        Of other tables he is taken to know a shown count as it was before it was rounded, and of a whole that holds no
        more than its parts that it does not. `None`: one of the others hides the cell.
        """
        others = [release for release in self.releases if release is not new]
        if any(release.shown.get(cell) is None for release in others):
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
        shown = [count for release in others if (count := release.shown.get(cell)) is not None]
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


def suppress_jointly(
    definition: CohortDefinition,
    new: Release,
    earlier: Sequence[Release],
    *,
    seed: bytes,
    protocol: CohortDefinition | None = None,
) -> Shown:
    """What is shown of each cell of `new`, so that nothing follows from it and all of `earlier`.

    `definition` is that of `new`, taken from the `protocol`'s, or that one itself. Raises `RunFailed` when nothing
    protects every cell of it, or of an earlier table.
    """
    released = shown_before(definition, earlier)
    whole, new = joined(definition, new, released, protocol or definition)
    counts = dict(new.counts)
    relations = known_relations(whole, counts)
    hidden: set[str] = set()
    seen: dict[str, Span] = {}
    guards = dict.fromkeys(definition.cells, new.policy.highest) | _of_pieces(whole, definition, new, released)
    for number, difference in enumerate(differences(new, released)):
        highest = max(release.policy.highest for release in difference.releases)
        for cell in difference.common((*whole.cells, *guards)):
            span, more = difference.span_of(new, cell), difference.count(cell)
            if span is None or difference.would_narrow(new, cell):
                hidden.add(cell)
            if span is not None:
                before = seen.get(cell, _ANY_COUNT)
                seen[cell] = max(span[0], before[0]), min(span[1], before[1])
            if difference.is_of_one_table:
                guards[cell] = max(guards.get(cell, 0), *(part.policy.highest for part in difference.parts))
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
        worth=worth_of(whole),
        hidden=hidden,
        seen=seen,
        guards=guards,
    )
    if not all(
        stays_protected(each.definition or definition, each, [*released, new._replace(shown=shown)])
        for each in released
        if each.policy.base > 1
    ):
        raise RunFailed(problem="it would narrow what rounding leaves open of an earlier table of this cohort")
    return shown


def _of_pieces(
    whole: CohortDefinition, definition: CohortDefinition, new: Release, released: Sequence[Release]
) -> dict[str, int]:
    """Up to which count each piece of a number must stay possible: by every policy under which it was counted."""
    one_table = [each for each in released if each.is_of_table(new.sites, new.counts)]
    policies = [(new.policy, definition), *((each.policy, each.definition or definition) for each in one_table)]
    return {
        piece: max(policy.highest for policy, counted in policies if cut.fact in counted.facts)
        for cut in cuts_of(whole)
        for piece in cut.pieces
    }


def shown_before(definition: CohortDefinition, earlier: Sequence[Release]) -> list[Release]:
    """The earlier releases that show anything, with all that is counted by them; `definition`: of those without."""
    return [
        each._replace(counts=complete(each.definition or definition, each.counts))
        for each in earlier
        if any(count is not None for count in each.shown.values())
    ]


def joined(
    definition: CohortDefinition, new: Release, released: Sequence[Release], protocol: CohortDefinition
) -> tuple[CohortDefinition, Release]:
    """All that is counted of the table of `new` by it and the earlier releases of that table, as one table.

    Raises `RunFailed` where they cannot be, or where another table hides what this one would split up.
    """
    whole, counts = definition, complete(definition, new.counts)
    for each in released:
        counted = each.definition or definition
        if _clash(definition, counted):
            raise RunFailed(
                problem="tables of this cohort were released that count otherwise, and both would tell more"
            )
        nested = each.sites <= new.sites or new.sites <= each.sites
        if nested and _narrows_a_mean(definition, counted):
            raise RunFailed(problem="a mean was released beside other bins or bounds of it: ask for those")
        if each.is_of_table(new.sites, counts):
            both = _both(protocol, whole, counted)
            together = complete(both, {**each.counts, **counts})
            if min(together.values()) >= 0 and all(relation.holds(together) for relation in relations_of(both)):
                whole, counts = both, together
                continue
        if nested and _splits(definition, each, counted):
            raise RunFailed(
                problem="the libraries have changed since a table was released that hides some of what it splits up"
            )
    return whole, new._replace(counts=counts)


def _narrows_a_mean(definition: CohortDefinition, earlier: CohortDefinition) -> bool:
    """Whether bins, or a mean in other bounds, would tell together with an earlier mean how many lie between bounds."""
    names = {variable.name for variable in earlier.variables}
    fixed = {earlier.variable(mean.variable).fact: (mean.low, mean.high) for mean in earlier.means}
    finer = any(each.fact in fixed and each.name not in names for each in definition.variables)
    facts = ((definition.variable(mean.variable).fact, (mean.low, mean.high)) for mean in definition.means)
    return finer or any(fixed.get(fact, bounds) != bounds for fact, bounds in facts)


def _clash(definition: CohortDefinition, other: CohortDefinition) -> bool:
    """Whether a variable of both counts otherwise in one of them."""
    others = {variable.name: variable for variable in other.variables}
    return any(others.get(variable.name, variable) != variable for variable in definition.variables)


def _both(protocol: CohortDefinition, first: CohortDefinition, second: CohortDefinition) -> CohortDefinition:
    """What both count; raises `RunFailed` where their tables tell more together than their sums do."""
    if set(second.cells) <= set(first.cells):
        return first
    filled = {*first.filled, *second.filled}
    try:
        both = protocol.having((*first.variables, *second.variables), (*first.tables, *second.tables), filled)
    except ValidationError as error:
        raise RunFailed(problem="with an earlier release its tables would form a ring, which tells more") from error
    stated = {
        name: tuple(dict.fromkeys((*getattr(both, name), *getattr(first, name), *getattr(second, name))))
        for name in ("zero", "same", "implies")
    }
    return both.model_copy(update=stated)


def _splits(definition: CohortDefinition, earlier: Release, counted: CohortDefinition) -> bool:
    """Whether a table counts what an earlier one of other days or sites does not, and so tells of what that one hides.

    What was rounded counts as hidden. Without such a relation the hidden cells of both can change alike.
    """
    rounded = earlier.policy.base > 1
    hidden = {cell for cell, shown in earlier.shown.items() if shown is None or rounded}
    names = {variable.name for variable in counted.variables}
    fresh = {variable.fact for variable in definition.variables if variable.name not in names}
    kept = {variable.name for variable in definition.variables}
    if any(variable.fact in fresh and variable.name not in kept for variable in counted.variables):
        return True
    return any(
        not relation.weights.keys() <= earlier.counts.keys() and relation.weights.keys() & hidden
        for relation in relations_of(definition)
    )


def stays_protected(definition: CohortDefinition, rounded: Release, releases: Sequence[Release]) -> bool:
    """Whether all `releases`, whose counts readers are taken to know, leave the small cells of `rounded` protected.

    Of a table that is not rounded a reader knows every shown cell already, and a hidden cell is hidden in all others.
    """
    seen: dict[str, Span] = {}
    all_differences = (each for place, new in enumerate(releases) for each in differences(new, releases[:place]))
    for difference in all_differences:
        for cell in difference.common(definition.cells) if rounded in difference.releases else ():
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
