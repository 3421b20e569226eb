"""What a run or a simulation showed as files: plan, figures and plots, and of a training its models and their card."""

from pathlib import Path

from coordinator.research.shown import Shown
from shared.durable import write_whole
from shared.errors.inputs import InvalidArgument
from shared.manifest import canonical_json


def write_results(shown: Shown, folder: Path) -> list[Path]:
    """Write the plan, figures as JSON and CSV, plots, and of a training the last model, its card, and a better one.

    Returns what was written. Raises as `Run.result` and `Run.model_file`, and `InvalidArgument` for a folder with
    another run's results.
    """
    result, plan = shown.result, canonical_json(shown.plan)
    name = "cohort" if "cells" in result else "metrics"
    files = {
        "plan.json": plan,
        f"{name}.json": canonical_json(result),
        f"{name}.csv": shown.metrics.to_csv().encode(),
    }
    if name == "cohort":
        parts = {"quantiles.csv": shown.quantiles, "survival.csv": shown.survival, "means.csv": shown.means}
        files |= {file: rows.to_csv().encode() for file, rows in parts.items() if rows}
    if result.get("model_sha256"):
        files |= {"model.safetensors": shown.model_file(), "card.md": shown.card().encode()}
    if result.get("best_sha256"):
        files["best.safetensors"] = shown.model_file("best")
    held = folder / "plan.json"
    if held.exists() and held.read_bytes() != plan:
        raise InvalidArgument(name="--to", problem="the folder holds another run's results")
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        write_whole(folder / file, data)
    return [*(folder / file for file in files), *write_plots(shown, folder)]


def write_plots(shown: Shown, folder: Path) -> list[Path]:
    """Write each plot as PNG and SVG; what was written. Raises as `Run.result`."""
    from coordinator.research.plots.canvas import write

    folder.mkdir(parents=True, exist_ok=True)
    return [file for name, figure in shown.plot().items() for file in write(figure, folder, name)]
