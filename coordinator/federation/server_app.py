"""The centre's Flower app. Our own process executes it with a `RosterGrid` and the run's context."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import ServerApp

from coordinator.federation.grid import RosterGrid
from coordinator.federation.training import run_training
from shared.errors.federation import PlanInvalid

FOLDER = "ricord-folder"  # in the run's configuration: where checkpoints and figures go


def train(grid: RosterGrid, context: Context) -> None:
    """Train the plan of `grid`; its result lies in the run's folder."""
    if not isinstance(grid, RosterGrid):
        raise PlanInvalid(problem="it was started without a roster")
    run_training(grid, Path(str(context.run_config[FOLDER])))


app = ServerApp()
app.main()(train)
