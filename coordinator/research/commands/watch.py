"""`watch`: follow a run."""

import sys

import typer

from coordinator.research.commands.options import AsJson, MlFlow, RunName, TensorBoard, federation_of, show_run
from coordinator.research.tracking import Tracking
from shared.terminal import print_line


def watch(
    context: typer.Context,
    run_id: RunName,
    *,
    tensorboard: TensorBoard = None,
    mlflow: MlFlow = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run until it has ended: its states, its rounds, which hospitals it waits for.

    Ctrl-C ends the watching and leaves the run going; it can be watched again. A run that ends without a result ends
    this command with its reason.
    """
    run = federation_of(context).run(run_id)
    tracking = Tracking(run.id, tensorboard=tensorboard, mlflow=mlflow)

    def say(line: str) -> None:
        tracking.add({"rounds": run.rounds})
        if as_json:
            show_run(run, as_json=True)
        else:
            print_line(line)
        sys.stdout.flush()

    run.watch(say)
    tracking.add(run.result)
    if not as_json:
        print_line(f"Next: `ricord-research results {run.id} --to FOLDER`.")
