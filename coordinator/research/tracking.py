"""A training's figures where TensorBoard or MLflow show them (extra `tracking`): a series for each figure, by round.

Each is called `all/auc`, or `SITEID/auc` of a site that showed its own. Nothing leaves this machine.
"""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from coordinator.research.figures import training_rows
from shared.errors.inputs import InvalidArgument
from shared.extras import require_extra

Log = Callable[[str, float, int], None]  # a figure's name, its value, its round
_EXPERIMENT = "ricord"
_MLFLOW = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}  # it tells its makers nothing


class Tracking:
    """One run's figures in the folders that are named; of a run that is tracked again nothing stands there twice.

    Raises `ExtraMissing` where what shows them is not installed.
    """

    def __init__(self, run: str, *, tensorboard: Path | None = None, mlflow: Path | None = None) -> None:
        makers = ((_tensorboard, tensorboard), (_mlflow, mlflow))
        self._logs = [make(run, folder.expanduser().absolute()) for make, folder in makers if folder is not None]
        self._last = 0

    def add(self, result: Mapping[str, Any]) -> None:
        """Write the rounds of a result, or of what a run has of it, that were not written yet.

        Raises `InvalidArgument` for one that has no rounds.
        """
        if not self._logs:
            return
        if "rounds" not in result:
            raise InvalidArgument(name="The run", problem="only a training has figures by round")
        for row in training_rows(result):
            figures = {name: value for name, value in row.items() if name not in ("round", "site_id")}
            for name, value in figures.items() if row["round"] > self._last else ():
                for log in self._logs if value is not None else ():
                    log(f"{row['site_id'] or 'all'}/{name}", float(value), row["round"])
        self._last = max([self._last, *(finished["round"] for finished in result["rounds"])])


def _tensorboard(run: str, folder: Path) -> Log:
    """An event file below `folder`, in place of those that an earlier tracking of the run left."""
    require_extra("tracking", "tensorboard")
    for earlier in (folder / run).glob("events.out.tfevents.*"):
        earlier.unlink()
    writer = import_module("tensorboard.summary").Writer(str(folder / run))

    def log(name: str, value: float, step: int) -> None:
        writer.add_scalar(name, value, step=step)
        writer.flush()

    return log


def _mlflow(run: str, folder: Path) -> Log:
    """A run of MLflow's file store in `folder`, in which every figure of a round is written once."""
    require_extra("tracking", "mlflow")
    os.environ.update(_MLFLOW)
    client = import_module("mlflow.tracking").MlflowClient(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    number = client.create_experiment(_EXPERIMENT) if experiment is None else experiment.experiment_id
    earlier = client.search_runs([number], filter_string=f"attributes.run_name = '{run}'")
    about = (earlier[0] if earlier else client.create_run(number, run_name=run)).info

    def log(name: str, value: float, step: int) -> None:
        written = client.get_metric_history(about.run_id, name)
        if all(each.step != step for each in written):
            client.log_metric(about.run_id, name, value, step=step)

    return log
