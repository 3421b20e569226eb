"""`submit`: propose a plan."""

import typer

from coordinator.research.commands.options import AsJson, PlanFile, federation_of, show_run
from coordinator.research.plans import read_plan
from shared.terminal import print_line


def submit(context: typer.Context, file: PlanFile, as_json: AsJson = False) -> None:
    """Sign a plan and propose it. An operator approves or declines it; then each hospital decides for itself.

    Nothing of a hospital is asked before. What runs is what was signed: nobody can change it.
    """
    run = federation_of(context).submit(read_plan(file))
    show_run(run, as_json=as_json)
    if not as_json:
        print_line(f"Next: `ricord-research watch {run.id}`.")
