"""`results`: keep what a run showed."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.commands.options import AsJson, RunName, federation_of, show_files
from coordinator.research.results import write_results


def results(
    context: typer.Context,
    run_id: RunName,
    to: Annotated[Path, typer.Option(help="The folder to write to; it is made.")],
    as_json: AsJson = False,
) -> None:
    """Write what a finished run showed: plan, figures as JSON and CSV, plots, and a training's models with their card.

    `model.safetensors` is the last round's model, `best.safetensors` the best one's where it is another; digests are
    checked.
    """
    show_files(write_results(federation_of(context).run(run_id), to), as_json=as_json)
