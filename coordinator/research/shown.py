"""What a run or a simulation showed: rows, plots, the model and its card."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from coordinator.cohort.released import ReleasedTable
from coordinator.federation.results import TrainingResult
from coordinator.research.card import model_card
from coordinator.research.figures import Rows, mean_rows, quantile_rows, rows_of, survival_rows
from shared.errors.federation import PlanInvalid
from shared.federation.plan import Plan, Which

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Shown(ABC):
    """A plan and what came of it."""

    simulated = False

    @property
    @abstractmethod
    def plan(self) -> dict[str, Any]:
        """The plan, as JSON gives it."""

    @property
    @abstractmethod
    def result(self) -> dict[str, Any]:
        """What it showed, as the coordinator keeps it."""

    @abstractmethod
    def model_file(self, which: Which = "last") -> bytes:
        """That round's model in the form of safetensors, whole; raises `NotFound` where there is none."""

    @property
    def metrics(self) -> Rows:
        """Figures of a training by round and site, an evaluation by site, a cohort by cell; raises as `result`."""
        return rows_of(self.result)

    @property
    def quantiles(self) -> Rows:
        """Of a cohort, the bins that hold quantiles of its numbers; raises as `result`, `PlanInvalid` for others."""
        return quantile_rows(self._table)

    @property
    def means(self) -> Rows:
        """Of a cohort, the means that its plan named; raises as `quantiles`."""
        return mean_rows(self._table)

    @property
    def survival(self) -> Rows:
        """Kaplan-Meier's curve of a table of `stay` by `outcome`; raises as `quantiles`."""
        return survival_rows(self._table)

    @property
    def _table(self) -> ReleasedTable:
        if "cells" not in self.result:
            raise PlanInvalid(problem="it counts nothing")
        return ReleasedTable.model_validate(self.result)

    def model(self, which: Which = "last") -> dict[str, npt.NDArray[np.float32]]:
        """The model's tensors by name; raises as `model_file`."""
        tensors: dict[str, npt.NDArray[np.float32]] = load(self.model_file(which))
        return tensors

    def plot(self) -> dict[str, "Figure"]:
        """Plots by name, such as `roc` or `cohort`, those that the result has figures for; raises as `result`."""
        from coordinator.research.plots.results import plots_of

        return plots_of(self.result)

    def card(self) -> str:
        """The model's card in Markdown; raises as `result`, and `PlanInvalid` for a plan without a training."""
        plan, result = Plan.model_validate(self.plan), TrainingResult.model_validate(self.result)
        return model_card(plan, result, simulated=self.simulated)
