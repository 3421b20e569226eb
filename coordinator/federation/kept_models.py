"""The models that a finished training made, for who asked for it: on this host, or where all hosts keep them."""

from pathlib import Path

from coordinator.federation.interface import SharedFiles
from coordinator.federation.results import TrainingResult
from coordinator.store.records import Run
from shared.errors.inputs import NotFound


class KeptModels:
    """Models below the folder of runs; `files` is `None` where every process has that folder."""

    def __init__(self, folder: Path, files: SharedFiles | None) -> None:
        self._folder = folder
        self._files = files

    def file(self, run: Run, *, best: bool = False) -> Path:
        """The last or the best model that a finished training's result names; raises `NotFound`, `StoreUnreachable`."""
        if run.state != "done" or run.plan.training is None:
            raise NotFound(kind="finished training", name=run.id)
        files = TrainingResult.model_validate_json(run.result).files
        name = Path(files[0 if best else -1]).name
        file = self._folder / run.id / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            if self._files is None or not self._files.fetch(f"{run.id}/{name}", file):
                raise NotFound(kind="model of run", name=run.id)
        return file
