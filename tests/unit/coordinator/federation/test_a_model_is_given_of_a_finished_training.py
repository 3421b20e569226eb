"""Who asked for a training gets its last or its best model once it is done, wherever it is kept; of others, nothing."""

from collections.abc import Callable
from pathlib import Path
from shutil import copyfile

import pytest

from coordinator.federation.kept_models import KeptModels
from coordinator.federation.results import RoundResult, TrainingResult
from coordinator.store.records import Run, RunState
from shared.errors.inputs import NotFound
from tests.factories.rows import make_run


class Bucket:
    """Files that every process of the coordinator reaches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, name: str, file: Path) -> None:
        """Copy it in."""
        (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
        copyfile(file, self._folder / name)

    def fetch(self, name: str, file: Path) -> bool:
        """Copy it out."""
        if not (self._folder / name).exists():
            return False
        copyfile(self._folder / name, file)
        return True


def finished(best: int | None) -> Run:
    """A training of three rounds that is done."""
    rounds = tuple(
        RoundResult(round=number, training_images=1, training_loss=None, auc=0.5, sites=()) for number in (1, 2, 3)
    )
    result = TrainingResult(rounds=rounds, refusals=(), model="round-3.safetensors", model_sha256=None, best=best)
    return make_run(2, "done").model_copy(update={"result": result.model_dump_json()})


@pytest.mark.parametrize("shared", [False, True])
def test_the_last_and_the_best_model_are_those_of_the_result(tmp_path: Path, *, shared: bool) -> None:
    """In the folder of runs, or fetched into it from where all processes keep them."""
    run = finished(best=1)
    names = TrainingResult.model_validate_json(run.result).files
    for name in names:
        file = tmp_path / ("bucket" if shared else "runs") / run.id / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    models = KeptModels(tmp_path / "runs", Bucket(tmp_path / "bucket") if shared else None)
    assert models.file(run).read_text() == "round-3.safetensors"
    assert models.file(run, best=True).read_text() == names[0] != "round-3.safetensors"


@pytest.mark.parametrize("state", ["pending", "running", "failed", "stopping"])
def test_no_other_run_has_a_model(tmp_path: Path, state: RunState) -> None:
    """One that is not done, or trains nothing: it is said that there is no finished training."""
    for run in (make_run(2, state), make_run(1, "done")):
        with pytest.raises(NotFound, match="finished training"):
            KeptModels(tmp_path, None).file(run)


@pytest.mark.parametrize("files", [lambda folder: None, Bucket])
def test_a_model_that_is_nowhere_is_not_found(tmp_path: Path, files: Callable[[Path], Bucket | None]) -> None:
    """Neither in the folder nor where all keep them."""
    with pytest.raises(NotFound, match="model of run"):
        KeptModels(tmp_path / "runs", files(tmp_path)).file(finished(best=None))
