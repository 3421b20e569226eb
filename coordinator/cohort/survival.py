"""Kaplan-Meier's curve from a released table of days in hospital by outcome.

Deaths are events; whoever was discharged alive was observed until then, and bins of days stand for single ones
(Kaplan and Meier 1958; intervals by Greenwood's formula on the log-log scale, Kalbfleisch and Prentice 1980). From
the first hidden count on the curve is a band without an interval: whatever hidden counts may be, it lies within.
"""

from collections.abc import Iterator
from math import exp, inf, log, sqrt
from typing import NamedTuple

from coordinator.cohort.released import ReleasedTable
from shared.federation.cell_policy import CellPolicy
from shared.protocol.cohort import MISSING, Table, Variable, table_cell

DIED = "died"
_NORMAL = 1.959963984540054  # of a two-sided 95 % interval


class Survival(NamedTuple):
    """How many live at the end of a bin of days: the share lies between `least` and `most`, of hidden counts.

    `low` and `high` are the ends of the 95 % interval, where nothing is hidden; counts are `None` where they are.
    """

    days: str  # the bin
    at_risk: int | None
    died: int | None
    least: float
    most: float
    low: float | None
    high: float | None


def survival_of(table: ReleasedTable) -> list[Survival]:
    """The curve of the first table of stays by outcome, as far as enough are at risk; without such a table, nothing.

    Nor of noisy counts: the interval would leave their noise out.
    """
    for crossed in table.definition.tables if table.noise is None else ():
        sides = (table.definition.variable(crossed.rows), table.definition.variable(crossed.columns))
        by_field = {side.field: side for side in sides}
        if by_field.keys() == {"stay", "outcome"}:
            return list(_steps(table, crossed, by_field["stay"], by_field["outcome"]))
    return []


class _Bound(NamedTuple):
    """One end of what is possible: the share that lives, and Greenwood's sum."""

    share: float = 1.0
    spread: float = 0.0

    def after(self, died: int, at_risk: int) -> "_Bound":
        """The same a bin later."""
        if died >= at_risk:
            return _Bound(0.0, inf)
        return _Bound(self.share * (1 - died / at_risk), self.spread + died / (at_risk * (at_risk - died)))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval; a share of 0 or 1 has none but itself."""
        if not 0 < self.share < 1:
            return self.share, self.share
        width = _NORMAL * sqrt(self.spread) / -log(self.share)
        return self.share ** exp(width), self.share ** exp(-width)


def _steps(table: ReleasedTable, crossed: Table, stay: Variable, outcomes: Variable) -> Iterator[Survival]:
    counts, enough = table.counts, CellPolicy.named(table.policy).highest + 1
    total, missing = counts[stay.total], counts[f"{stay.name}/{MISSING}"]
    if total is None or missing is None:
        return
    bins = [counts[cell] for cell in stay.cells[: len(stay.categories)]]
    rest = max(total - missing - sum(count for count in bins if count is not None), 0)  # in hidden bins
    least_left = most_left = total - missing  # at risk
    worst = best = _Bound()
    upright = crossed.rows == stay.name
    for category, ended in zip(stay.categories[:-1], bins, strict=False):
        if least_left < enough:
            return
        died, *others = (
            counts[table_cell(crossed, *((category.label, outcome) if upright else (outcome, category.label)))]
            for outcome in (DIED, *(label for label in outcomes.labels if label != DIED))
        )
        most_ended = rest if ended is None else ended
        most_died = min(most_ended - sum(count or 0 for count in others), least_left) if died is None else died
        worst, best = worst.after(most_died, least_left), best.after(died or 0, most_left)
        sure = worst == best
        low, high = best.interval if sure else (None, None)
        at_risk = most_left if most_left == least_left else None
        yield Survival(category.label, at_risk, died, worst.share, best.share, low, high)
        rest_left = rest if ended is None or least_left < most_left else 0
        most_left -= ended or 0
        least_left = max(most_left - rest_left, 0)
