"""Which means may be shown, and how exactly.

A mean is shown only where every bin of its numbers is, in all that was released of that table, and no piece into which
the bins cut one another is small: so it tells of where values lie within bins that hold enough, and of no count. It is
rounded to a step by which as many subjects as a policy hides, moved from one bound to the other, change the sum.
"""

from collections.abc import Iterator, Sequence
from math import ceil, log2, sqrt
from typing import NamedTuple

from coordinator.cohort.cuts import cuts_of
from coordinator.cohort.released import ReleasedMean
from coordinator.cohort.releases import Release, joined, shown_before
from shared.errors.federation import RunFailed
from shared.federation.asked import SCALE
from shared.protocol.cohort import MISSING, CohortDefinition, Mean, Variable

_COARSEST = 1 / 8  # of the bounds' distance: a coarser step tells nothing


def released_means(
    definition: CohortDefinition,
    new: Release,
    sums: Sequence[int],
    earlier: Sequence[Release],
    *,
    protocol: CohortDefinition,
) -> tuple[ReleasedMean, ...]:
    """What is shown of a definition's means, of which `sums` are the pooled sums, beside what `new` and others show.

    Raises `RunFailed` where the sums cannot be of as many values.
    """
    if not definition.means:
        return ()
    released = shown_before(definition, earlier)
    beside = _Beside(new._replace(definition=definition), released, *joined(definition, new, released, protocol))
    return tuple(
        beside.mean(definition.variable(mean.variable), mean, (total, squares))
        for mean, total, squares in zip(definition.means, sums[::2], sums[1::2], strict=True)
    )


class _Beside(NamedTuple):
    """A release, those before it, and all that is counted of its table by any of them."""

    new: Release
    released: Sequence[Release]
    whole: CohortDefinition
    table: Release

    def mean(self, variable: Variable, mean: Mean, sums: tuple[int, int]) -> ReleasedMean:
        """A mean as it may be shown."""
        many = _recorded(variable, self.new)
        if not 0 <= sums[1] <= sums[0] + many <= many * (SCALE + 1):
            raise RunFailed(problem="the pooled numbers do not fit together, so a site did not count by the definition")
        highest = self.highest(variable)
        step = 2.0 ** ceil(log2((highest + 1) / many)) if highest is not None and many else 1.0
        if step > _COARSEST:
            return ReleasedMean(variable=variable.name)
        spread = mean.high - mean.low
        share, square = (round(word / SCALE / many / step) * step for word in sums)
        return ReleasedMean(
            variable=variable.name,
            mean=mean.low + share * spread,
            deviation=sqrt(max(square - share**2, 0)) * spread,
            step=step * spread,
        )

    def highest(self, variable: Variable) -> int | None:
        """Up to which count any policy hides of these numbers; `None`: a mean would tell of a count."""
        same = [self.new, *(each for each in self.released if each.is_of_table(self.new.sites, self.table.counts))]
        highest = max(each.policy.highest for each in same)
        pieces = (
            piece for cut in cuts_of(self.whole) if cut.is_whole for piece in cut.pieces if cut.fact == variable.fact
        )
        small = any(1 <= self.table.counts[cell] <= highest for cell in (*pieces, *_bins(self.whole, variable)))
        changes = any(1 <= more <= highest for more in self.changes(variable))
        open_ = any(
            each.policy.base > 1 or each.shown[cell] is None
            for each in same
            for cell in _bins(each.definition or self.whole, variable)
        )
        return None if small or changes or open_ else highest

    def changes(self, variable: Variable) -> Iterator[int]:
        """By how many values it differs from releases of sites within one another that had a mean of these numbers."""
        for each in self.released:
            if each.definition and (each.sites <= self.new.sites or self.new.sites <= each.sites):
                for mean in each.definition.means:
                    other = each.definition.variable(mean.variable)
                    if other.fact == variable.fact:
                        yield abs(_recorded(variable, self.new) - _recorded(other, each))


def _recorded(variable: Variable, release: Release) -> int:
    return release.counts[variable.total] - release.counts[f"{variable.name}/{MISSING}"]


def _bins(definition: CohortDefinition, variable: Variable) -> set[str]:
    """The cells that sort the variable's numbers in any way, and what they add up to."""
    alike = [each for each in definition.variables if each.fact == variable.fact]
    return {cell for each in alike for cell in (*each.cells, each.total)}
