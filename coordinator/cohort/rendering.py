"""A released table as rows that a person reads. It shows what was released and nothing else."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from coordinator.cohort.released import ReleasedNoise, ReleasedTable
from shared.protocol.cohort import MISSING, TOTALS, Variable, filled_cells, table_cell

HIDDEN = "*"
TAIL = 11  # the range runs from the 11th smallest to the 11th largest, so that no single subject shows


class Row(NamedTuple):
    """One line: which figure, which category, its count or `*`, and its share of the total where both are shown."""

    figure: str
    category: str
    shown: str
    share: str = ""


class Grid(NamedTuple):
    """A table on the screen: its title, column labels, and rows of a label and cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def rows(table: ReleasedTable, *, empty: bool = False) -> list[Row]:
    """Totals, variables and completeness; categories with a count of 0 only when `empty`."""
    return [row for row in _rows(table) if empty or row.shown != "0" or row.figure in TOTALS]


def grids(table: ReleasedTable) -> list[Grid]:
    """The tables of two variables."""
    crossed = []
    for pair in table.definition.tables:
        down, across = table.definition.variable(pair.rows), table.definition.variable(pair.columns)
        body = tuple(
            (row, *(_shown(table.counts[table_cell(pair, row, column)]) for column in across.labels))
            for row in down.labels
        )
        crossed.append(Grid(f"{down.title} by {across.title.lower()}", across.labels, body))
    return crossed


def sections(table: ReleasedTable) -> list[Grid]:
    """Everything to show, as grids: the figures, then the tables of two variables."""
    figures = Grid("Cohort", ("category", "count", "share"), tuple(rows(table)))
    return [figures, *grids(table)]


def footnote(table: ReleasedTable) -> str:
    """Where the figures come from, what noise they have, and what `*` means."""
    if table.noise is not None:
        return (
            f"Noisy figures, pooled over {table.site_count} of {table.roster_size} sites by secure sum: "
            f"{said_of(table.noise)} {HIDDEN} is a figure that policy {table.policy} hides, or is not counted."
        )
    return (
        f"Pooled over {table.site_count} of {table.roster_size} sites by secure sum; {HIDDEN} is hidden by policy "
        f"{table.policy}, for its own size or so that no cell of this or an earlier table can be worked out."
    )


def said_of(noise: ReleasedNoise) -> str:
    """What a reader has to know of noise."""
    return (
        f"each site added noise (an epsilon of {noise.epsilon:g}), and 95 in 100 counts lie within {noise.within} of "
        "their figure. A patient counts once, by the first study and its first series."
    )


def _rows(table: ReleasedTable) -> Iterator[Row]:
    counts = table.counts
    for name in TOTALS:
        yield Row(name, "", _shown(counts[name]))
    for variable in table.definition.variables:
        total = counts[variable.total]
        for label, cell in zip(variable.labels, variable.cells, strict=True):
            yield Row(variable.title, label, _shown(counts[cell]), _share(counts[cell], total))
        if table.noise is None and (span := _range(variable, counts)) is not None:
            yield Row(variable.title, "range without the outermost", span)
    for field in table.definition.filled:
        recorded, _ = filled_cells(field)
        yield Row("Filled in", field, _shown(counts[recorded]), _share(counts[recorded], counts["studies"]))


def _range(variable: Variable, counts: Mapping[str, int | None]) -> str | None:
    """The bands in which the 11th smallest and 11th largest lie, no raw extremes; `None` unless all bands are shown."""
    bands = [category for category in variable.categories if category.lowest is not None]
    shown = [(band.label, counts[f"{variable.name}/{band.label}"]) for band in bands]
    known = [(label, count) for label, count in shown if count is not None]
    if not bands or len(known) < len(bands) or sum(count for _, count in known) < 2 * TAIL:
        return None
    return f"{_band_at_tail(known)} to {_band_at_tail(known[::-1])}"


def _band_at_tail(bands: list[tuple[str, int]]) -> str:
    left = TAIL
    for label, count in bands:
        left -= count
        if left <= 0:
            return label
    return MISSING


def _shown(count: int | None) -> str:
    return HIDDEN if count is None else str(count)


def _share(count: int | None, total: int | None) -> str:
    return "" if count is None or not total else f"{100 * count / total:.0f} %"
