"""`results`: keep what a run showed."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.commands.options import AsJson, RunName, federation_of
from coordinator.research.results import write_results
from shared.terminal import print_json, print_line


def results(
    context: typer.Context,
    run_id: RunName,
    to: Annotated[Path, typer.Option(help="The folder to write to; it is made.")],
    as_json: AsJson = False,
) -> None:
    """Write what a finished run showed: the plan, figures as JSON and CSV, and of a training model.safetensors.

    The model's digest is checked.
    """
    files = write_results(federation_of(context).run(run_id), to)
    if as_json:
        print_json([str(file) for file in files])
    else:
        for file in files:
            print_line(str(file))
