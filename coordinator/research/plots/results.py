"""All plots of a result, by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from coordinator.cohort.released import ReleasedTable
from coordinator.federation.results import ModelTest, SiteTest, TrainingResult
from coordinator.research.plots.cohort import plot_cohort
from coordinator.research.plots.counts import plot_histograms, plot_tables
from coordinator.research.plots.learning import plot_learning
from coordinator.research.plots.survival import plot_survival
from coordinator.research.plots.testing import plot_calibration, plot_forest, plot_roc


def plots_of(result: Mapping[str, Any]) -> dict[str, Figure]:
    """The plots of a cohort's table, or those of a training or an evaluation that it has figures for."""
    if "cells" in result:
        table = ReleasedTable.model_validate(result)
        parts = {"histograms": plot_histograms(table), "tables": plot_tables(table), "survival": plot_survival(table)}
        return {"cohort": plot_cohort(table)} | {name: plot for name, plot in parts.items() if plot is not None}
    if "test" in result:
        return _of_test(ModelTest.model_validate(result["test"]))
    training = TrainingResult.model_validate(result)
    plots = {"learning": plot_learning(training)} if training.rounds else {}
    return plots | (_of_test(training.tests[0], training.alone) if training.tests else {})


def _of_test(test: ModelTest, alone: Sequence[SiteTest] = ()) -> dict[str, Figure]:
    plots = {"forest": plot_forest(test, alone)}
    if test.pooled.points:
        plots |= {"roc": plot_roc(test.pooled), "calibration": plot_calibration(test.pooled)}
    return plots
