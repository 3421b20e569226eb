"""A released cohort table as bars, a panel for each variable. What is hidden is hatched, and says so."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.rendering import said_of
from coordinator.research.plots.canvas import COLOURS, PALE, drawing
from shared.protocol.cohort import Variable

_COLUMNS = 2
_BAR_HEIGHT, _HEAD_HEIGHT, _WIDTH = 0.19, 0.75, 9.0  # inches


def plot_cohort(table: ReleasedTable) -> Figure:
    """Bars of each variable's counts; a hidden count's bar is a hatched stub whose length says nothing."""
    shown = [each for each in table.definition.variables if any(table.counts[cell] != 0 for cell in each.cells)]
    rows = -(-len(shown) // _COLUMNS)
    lines = [max(len(_bars(each, table)) for each in shown[row * _COLUMNS :][:_COLUMNS]) for row in range(rows)]
    heights = [_HEAD_HEIGHT + _BAR_HEIGHT * count for count in lines]
    with drawing(width=_WIDTH, height=sum(heights) + 0.6, rows=rows, columns=_COLUMNS, heights=heights) as plot:
        for axes, variable in zip(plot.axes, shown, strict=False):
            _panel(axes, variable, table)
        for axes in plot.axes[len(shown) :]:
            axes.set_axis_off()
        patients = table.counts["patients"]
        many = "a hidden number of" if patients is None else f"{patients:,}"
        plot.figure.suptitle(f"{many} patients of {table.site_count} hospitals", x=0.01, ha="left", weight="bold")
        noisy = f"Noisy: {said_of(table.noise)}\n" if table.noise is not None else ""
        plot.figure.supxlabel(
            f"{noisy}Hatched: hidden by policy {table.policy}, for its own size or another's; the length says nothing.",
            x=0.01,
            ha="left",
            size=8,
        )
    return plot.figure


def _bars(variable: Variable, table: ReleasedTable) -> list[tuple[str, int | None]]:
    """The categories that anybody is in, or may be in."""
    pairs = zip(variable.labels, variable.cells, strict=True)
    return [(label, table.counts[cell]) for label, cell in pairs if table.counts[cell] != 0]


def _panel(axes: Axes, variable: Variable, table: ReleasedTable) -> None:
    bars = _bars(variable, table)
    known = [count for _, count in bars if count is not None]
    stub = max(known, default=1) * 0.08  # of a hidden bar: its length says nothing
    axes.barh(
        [label for label, _ in bars],
        [stub if count is None else count for _, count in bars],
        color=["white" if count is None else COLOURS[0] for _, count in bars],
        edgecolor=[PALE if count is None else COLOURS[0] for _, count in bars],
        hatch=["////" if count is None else "" for _, count in bars],
        height=0.7,
    )
    for place, (_, count) in enumerate(bars):
        end, text = (stub, "hidden") if count is None else (count, f"{count:,}")
        axes.annotate(text, (end, place), xytext=(3, 0), textcoords="offset points", va="center", size=7)
    axes.set_title(f"{variable.title}: {variable.unit}", loc="left", size=9)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.tick_params(labelsize=8)
