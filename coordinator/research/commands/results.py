"""`results`: keep what a run showed."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.commands.options import AsJson, MlFlow, RunName, TensorBoard, federation_of, show_files
from coordinator.research.results import write_results
from coordinator.research.tracking import Tracking


def results(
    context: typer.Context,
    run_id: RunName,
    to: Annotated[Path, typer.Option(help="The folder to write to; it is made.")],
    *,
    tensorboard: TensorBoard = None,
    mlflow: MlFlow = None,
    as_json: AsJson = False,
) -> None:
    """Write what a finished run showed: plan, figures as JSON and CSV, plots, and a training's models with their card.

    `model.safetensors` is the last round's model, `best.safetensors` the best one's where it is another; digests are
    checked.
    """
    run = federation_of(context).run(run_id)
    tracking = Tracking(run.id, tensorboard=tensorboard, mlflow=mlflow)
    files = write_results(run, to)
    tracking.add(run.result)
    show_files(files, as_json=as_json)
