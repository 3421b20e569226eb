"""`plot`: draw what a run showed."""

from pathlib import Path
from typing import Annotated

import typer

from coordinator.research.commands.options import AsJson, RunName, federation_of, show_files
from coordinator.research.results import write_plots


def plot(
    context: typer.Context,
    run_id: RunName,
    to: Annotated[Path, typer.Option(help="The folder to write to; it is made.")],
    as_json: AsJson = False,
) -> None:
    """Draw what a finished run showed, as PNG and SVG: a cohort's counts, or how a model learned, and its test.

    `results` and `simulate` draw the same plots.
    """
    show_files(write_plots(federation_of(context).run(run_id), to), as_json=as_json)
