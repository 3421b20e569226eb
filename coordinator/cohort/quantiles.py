"""Quantiles and extremes of a released table: the bin that holds each, so that no single subject's value shows.

They follow from what is shown, and from nothing else. Where hidden counts leave open which bin it is, there is none.
"""

from collections.abc import Sequence
from typing import NamedTuple

from coordinator.cohort.released import ReleasedTable
from shared.federation.cell_policy import CellPolicy
from shared.protocol.cohort import MISSING, Variable

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}


class Quantile(NamedTuple):
    """Which bin of a variable holds the value at a place in their order; `None` where that cannot be told."""

    variable: str
    title: str
    statistic: str
    bin: str | None


def quantiles_of(table: ReleasedTable, shares: Sequence[float] = SHARES) -> list[Quantile]:
    """Of every number that the table counts: its quantiles, and the k-th smallest and largest, k as no count is hidden.

    Of noisy counts there is none.

    A share of 0.25 is the first quartile: of all recorded values the smallest that a quarter does not exceed.
    """
    rank = CellPolicy.named(table.policy).highest + 1
    ordinal = f"{rank}{_ENDINGS.get(rank % 10, 'th') if rank % 100 // 10 != 1 else 'th'}"
    places = [
        *((f"{100 * share:g} %", share, False) for share in shares),
        (f"{ordinal} smallest", rank, False),
        (f"{ordinal} largest", rank, True),
    ]
    return [
        Quantile(variable.name, variable.title, statistic, _bin(table, variable, place, down=down))
        for variable in (numbers_of(table) if table.noise is None else ())
        for statistic, place, down in places
    ]


def numbers_of(table: ReleasedTable) -> list[Variable]:
    """The variables that sort all numbers into bands."""
    return [each for each in table.definition.variables if all(band.lowest is not None for band in each.categories)]


def _bin(table: ReleasedTable, variable: Variable, place: float, *, down: bool) -> str | None:
    """The bin at a rank, or at a share below 1 of all; `down`: counted from the largest."""
    bins = [(category.label, table.counts[f"{variable.name}/{category.label}"]) for category in variable.categories]
    shown = sum(count for _, count in bins if count is not None)
    total, missing = table.counts[variable.total], table.counts[f"{variable.name}/{MISSING}"]
    open_bins = any(count is None for _, count in bins)
    if open_bins and total is None:
        return None
    hidden = max(total - shown - (missing or 0), 0) if open_bins and total is not None else 0
    first, last = (place * shown, place * (shown + hidden)) if place < 1 else (place, place)  # ranks that it may be
    least = most = 0  # so many lie up to a bin
    for label, count in reversed(bins) if down else bins:
        before, least = most, least + (count or 0)
        most = max(most + (count or 0), least + hidden if count is None else 0)
        if least >= last:
            return label if before < first else None
    return None
