"""A run's results as files: the plan, its figures, and of a training the model."""

from pathlib import Path

from coordinator.research.run import Run
from shared.durable import write_whole
from shared.errors.inputs import InvalidArgument
from shared.manifest import canonical_json


def write_results(run: Run, folder: Path) -> list[Path]:
    """Write `plan.json`, figures as JSON and CSV, and `model.safetensors`; what was written.

    Raises as `Run.result` and `Run.model_file`, and `InvalidArgument` for a folder with another run's results.
    """
    result, plan = run.result, canonical_json(run.plan)
    name = "metrics" if "rounds" in result else "cohort"
    files = {
        "plan.json": plan,
        f"{name}.json": canonical_json(result),
        f"{name}.csv": run.metrics.to_csv().encode(),
    }
    if result.get("model_sha256"):
        files["model.safetensors"] = run.model_file()
    held = folder / "plan.json"
    if held.exists() and held.read_bytes() != plan:
        raise InvalidArgument(name="--to", problem="the folder holds another run's results")
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        write_whole(folder / file, data)
    return [folder / file for file in files]
