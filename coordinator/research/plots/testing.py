"""What the test patients say of a model: ROC, calibration, and the sites beside all of them, with 95 % intervals."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from coordinator.federation.results import Interval, ModelTest, PooledFigures, SiteTest
from coordinator.research.plots.canvas import COLOURS, INK, PALE, drawing

_ROW_HEIGHT, _HEAD_HEIGHT = 0.3, 1.1  # inches


def plot_roc(figures: PooledFigures) -> Figure:
    """Sensitivity over 1 - specificity at the thresholds that may be shown; the chosen one with its intervals."""
    points = [(1.0, 1.0), *((1 - each.specificity, each.sensitivity) for each in figures.points), (0.0, 0.0)]
    with drawing(width=4.5, height=4.5) as plot:
        [axes] = plot.axes
        axes.plot(
            *zip(*points, strict=True), color=COLOURS[0], marker="o", markersize=3, label=_stated("AUC", figures.auc)
        )
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.8, linestyle=":", label="chance")
        if figures.sensitivity and figures.specificity:
            right = figures.specificity
            wrong = Interval(value=1 - right.value, low=1 - right.high, high=1 - right.low)
            axes.errorbar(
                [wrong.value],
                [figures.sensitivity.value],
                xerr=_arms([wrong]),
                yerr=_arms([figures.sensitivity]),
                color=COLOURS[1],
                marker="s",
                capsize=3,
                label=f"probability {figures.threshold:.2f} or more",
            )
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="lower right", fontsize=8)
    return plot.figure


def plot_calibration(figures: PooledFigures) -> Figure:
    """The observed share of positive patients over the predicted, in groups of neighbouring scores."""
    with drawing(width=4.5, height=4.5) as plot:
        [axes] = plot.axes
        observed = [each.observed for each in figures.points]
        axes.plot([0, 1], [0, 1], color=PALE, linewidth=0.8, linestyle=":", label="calibrated")
        axes.errorbar(
            [each.predicted for each in figures.points],
            [each.value for each in observed],
            yerr=_arms(observed),
            color=COLOURS[0],
            marker="o",
            markersize=4,
            capsize=2,
            linestyle="none",
            label=_stated("slope", figures.calibration_slope),
        )
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("observed share")
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left", fontsize=8)
    return plot.figure


def plot_forest(test: ModelTest, alone: Sequence[SiteTest] = ()) -> Figure:
    """Each site's AUC and that of all, the worst named; `alone`: of models that the sites trained by themselves."""
    rows: list[tuple[str, Interval, str]] = []
    of_alone = {each.site_id: each.auc for each in alone if each.auc}
    for site in test.sites:
        if site.auc:
            worst = ", the worst" if site.site_id == test.worst else ""
            rows.append((f"site {site.site_id}{worst}", site.auc, "s"))
        if of_alone.get(site.site_id):
            rows.append((f"site {site.site_id}, alone", of_alone[site.site_id], "x"))
    if test.pooled.auc:
        rows.append((f"all {test.pooled.patients:,} patients", test.pooled.auc, "D"))
    with drawing(width=6.5, height=_HEAD_HEIGHT + _ROW_HEIGHT * len(rows)) as plot:
        [axes] = plot.axes
        for place, (_, interval, marker) in enumerate(rows):
            color = INK if marker == "D" else COLOURS[0] if marker == "s" else PALE
            axes.errorbar([interval.value], [place], xerr=_arms([interval]), color=color, marker=marker, capsize=3)
            axes.text(
                1.02, place, _stated("", interval).strip(), transform=axes.get_yaxis_transform(), va="center", size=8
            )
        axes.axvline(0.5, color=PALE, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.invert_yaxis()
        axes.margins(y=0.15)
        axes.set_xlabel("AUC of the test and its 95 % interval")
    return plot.figure


def _arms(intervals: Sequence[Interval]) -> list[list[float]]:
    """The lengths of error bars below and above, shape (2, n); an end that rounding put beyond the value is at it."""
    return [
        [max(0.0, each.value - each.low) for each in intervals],
        [max(0.0, each.high - each.value) for each in intervals],
    ]


def _stated(name: str, interval: Interval | None) -> str:
    return (
        f"{name} not shown"
        if interval is None
        else f"{name} {interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
    )
