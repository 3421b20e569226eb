"""How a model learned: its AUC on the validation images after each round, of all sites together and of each."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from coordinator.federation.results import TrainingResult
from coordinator.research.plots.canvas import INK, PALE, drawing, marks


def plot_learning(result: TrainingResult) -> Figure:
    """A line for each site that showed its own figures, and a thick one for all; rounds without a figure are gaps."""
    rounds = [each.round for each in result.rounds]
    sites = sorted({site.site_id for each in result.rounds for site in each.sites if site.auc is not None})
    with drawing() as plot:
        [axes] = plot.axes
        for site, mark in zip(sites, marks(), strict=False):
            of_round = [{other.site_id: other.auc for other in each.sites} for each in result.rounds]
            values = [_gap(figures.get(site)) for figures in of_round]
            mark.draw(axes, rounds, values, f"site {site}")
        pooled = [_gap(each.auc) for each in result.rounds]
        axes.plot(rounds, pooled, color=INK, linewidth=2.5, marker="o", markersize=3, label="all sites")
        if result.best is not None:
            axes.axvline(result.best, color=INK, linewidth=0.8, linestyle=":", label="best round")
        axes.axhline(0.5, color=PALE, linewidth=0.8, linestyle="-.", label="chance")
        axes.set_xlabel("round")
        axes.set_ylabel("AUC, validation images")
        axes.set_ylim(top=1.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="lower right", fontsize=8)
    return plot.figure


def _gap(value: float | None) -> float:
    return float("nan") if value is None else value
