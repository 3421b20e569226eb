"""Histograms and tables of two variables, as they were released. What is hidden is hatched, and says so."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from coordinator.cohort.quantiles import numbers_of, quantiles_of
from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import said_of
from coordinator.research.plots.canvas import COLOURS, INK, PALE, drawing
from shared.protocol.cohort import MISSING, Table, Variable, table_cell

_WIDTH, _PANEL_HEIGHT, _LINE_HEIGHT, _HEAD_HEIGHT = 8.0, 2.4, 0.26, 0.9  # inches
_MEDIAN = "50 %"
_DARKEST = 0.45  # of a cell with the most subjects: black text stays readable


def plot_histograms(table: ReleasedTable) -> Figure | None:
    """A panel for each number: a bar for each bin, the median's bin by name; `None` where there is no number."""
    shown = numbers_of(table)
    if not shown:
        return None
    with drawing(width=_WIDTH, height=_PANEL_HEIGHT * len(shown) + 0.4, rows=len(shown)) as plot:
        for axes, variable in zip(plot.axes, shown, strict=True):
            _histogram(axes, variable, table)
        plot.figure.supxlabel(_note(table), x=0.01, ha="left", size=8)
    return plot.figure


def plot_tables(table: ReleasedTable) -> Figure | None:
    """A panel for each table of two variables, the darker the more; `None` where there is none."""
    tables = table.definition.tables
    if not tables:
        return None
    heights = [_HEAD_HEIGHT + _LINE_HEIGHT * len(_labels(table, each)[0]) for each in tables]
    with drawing(width=_WIDTH, height=sum(heights) + 0.4, rows=len(tables), heights=heights) as plot:
        for axes, each in zip(plot.axes, tables, strict=True):
            _crossed(axes, each, table)
        plot.figure.supxlabel(_note(table), x=0.01, ha="left", size=8)
    return plot.figure


def _note(table: ReleasedTable) -> str:
    if table.noise is not None:
        return f"{table.site_count} hospitals. Noisy: {said_of(table.noise)}\nHatched: hidden by policy {table.policy}."
    return f"{table.site_count} hospitals. Hatched: hidden by policy {table.policy}, for its own size or another's."


def _histogram(axes: Axes, variable: Variable, table: ReleasedTable) -> None:
    counts = [(each.label, table.counts[f"{variable.name}/{each.label}"]) for each in variable.categories]
    stub = max((count for _, count in counts if count is not None), default=1) * 0.08
    of_variable = (each for each in quantiles_of(table) if each.variable == variable.name)
    median = next((each.bin for each in of_variable if each.statistic == _MEDIAN), None)
    for place, (label, count) in enumerate(counts):
        height, text = (stub, "hidden") if count is None else (count, f"{count:,}")
        face, edge, hatch = ("white", PALE, "////") if count is None else (COLOURS[0], INK, "")
        axes.bar(place, height, width=1, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=0.6)
        if table.noise is not None and count is not None:
            low, high = table.noise.interval(count)
            axes.errorbar(place, count, yerr=[[count - low], [high - count]], color=INK, capsize=3, linewidth=0.8)
        words = f"{text}\nmedian" if label == median else text
        axes.annotate(words, (place, height), xytext=(0, 2), textcoords="offset points", ha="center", size=7)
    missing = table.counts[f"{variable.name}/{MISSING}"]
    lacking = "a hidden number" if missing is None else f"{missing:,}"
    axes.set_title(f"{variable.title}: {variable.unit} ({lacking} not recorded)", loc="left", size=9)
    slanted = len(counts) > 8
    labels = [label for label, _ in counts]
    axes.set_xticks(
        range(len(counts)), labels, size=7, rotation=40 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.margins(x=0.01, y=0.22)


def _labels(table: ReleasedTable, crossed: Table) -> tuple[list[str], list[str]]:
    """The rows and the columns in which anybody is, or may be."""
    rows, columns = (table.definition.variable(name) for name in (crossed.rows, crossed.columns))
    cells = {(row, column): table_cell(crossed, row, column) for row in rows.labels for column in columns.labels}
    filled = [pair for pair, cell in cells.items() if table.counts[cell] != 0]
    return [row for row in rows.labels if row in {first for first, _ in filled}], [
        column for column in columns.labels if column in {second for _, second in filled}
    ]


def _crossed(axes: Axes, crossed: Table, table: ReleasedTable) -> None:
    down, across = (table.definition.variable(name) for name in (crossed.rows, crossed.columns))
    rows, columns = _labels(table, crossed)
    counts = {(row, column): table.counts[table_cell(crossed, row, column)] for row in rows for column in columns}
    most = max((count for count in counts.values() if count), default=1)
    for (row, column), count in counts.items():
        place = columns.index(column), rows.index(row)
        shade = "white" if count is None else str(1 - _DARKEST * count / most)
        hatch = "////" if count is None else ""
        axes.add_patch(Rectangle(place, 1, 1, facecolor=shade, edgecolor=PALE, hatch=hatch, linewidth=0.6))
        text = "hidden" if count is None else f"{count:,}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if count is None else None
        axes.text(place[0] + 0.5, place[1] + 0.5, text, ha="center", va="center", size=7, bbox=box)
    axes.set(xlim=(0, max(len(columns), 1)), ylim=(max(len(rows), 1), 0))
    axes.set_xticks([place + 0.5 for place in range(len(columns))], columns, size=7)
    axes.set_yticks([place + 0.5 for place in range(len(rows))], rows, size=7)
    axes.tick_params(length=0)
    axes.set_title(f"{down.title} by {across.title.lower()}: {down.unit}", loc="left", size=9)
