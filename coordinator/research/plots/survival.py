"""Kaplan-Meier's curve, with its interval, and as a band where counts are hidden."""

from matplotlib.figure import Figure

from coordinator.cohort.released import ReleasedTable
from coordinator.cohort.survival import survival_of
from coordinator.research.plots.canvas import COLOURS, INK, PALE, drawing


def plot_survival(table: ReleasedTable) -> Figure | None:
    """The share that lives after each bin of days, with who is at risk below; `None` where there is no curve."""
    steps = survival_of(table)
    if not steps:
        return None
    places = list(range(len(steps) + 1))  # the ends of bins
    with drawing(width=7.0, height=3.8) as plot:
        [axes] = plot.axes
        for share in ([1.0, *(step.least for step in steps)], [1.0, *(step.most for step in steps)]):
            axes.step(places, share, where="post", color=COLOURS[0], linewidth=1.6)
        band = ([1.0, *(step.least for step in steps)], [1.0, *(step.most for step in steps)])
        axes.fill_between(places, *band, step="post", facecolor="none", edgecolor=PALE, hatch="////", linewidth=0)
        for place, step in enumerate(steps, start=1):
            if step.low is not None and step.high is not None:
                axes.plot([place, place], [step.low, step.high], color=INK, linewidth=0.8, marker="_", markersize=7)
        labels = [f"{step.days}\n{_shown(step.at_risk)} at risk\n{_shown(step.died)} died" for step in steps]
        axes.set_xticks(places, ["admission", *labels], size=7)
        axes.set(ylim=(0, 1.03), ylabel="share alive in hospital")
        axes.set_title("Survival by days from admission to discharge (Kaplan-Meier)", loc="left", size=9)
        plot.figure.supxlabel(
            f"{table.site_count} hospitals. Bars: 95 % intervals. Hatched: left open by what {table.policy} hides.\n"
            "Who was discharged alive counts as observed until then.",
            x=0.01,
            ha="left",
            size=8,
        )
    return plot.figure


def _shown(count: int | None) -> str:
    return "hidden" if count is None else f"{count:,}"
