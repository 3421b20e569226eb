"""A training's figures stand in TensorBoard's files and in MLflow's, by round, each once."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from coordinator.federation.results import RoundResult, SiteFigures, TrainingResult
from coordinator.research.tracking import Tracking
from shared.errors.inputs import InvalidArgument
from shared.errors.settings import ExtraMissing
from shared.ids import SiteId

RUN = "R-0123456789ab"
SITES = SiteFigures(site_id=SiteId("200000"), auc=0.75), SiteFigures(site_id=SiteId("200001"))
SHOWN = {("all/auc", 1, 0.5), ("all/auc", 2, 0.625), ("200000/auc", 1, 0.75), ("200000/auc", 2, 0.75)}


def result_after(rounds: int) -> dict[str, Any]:
    finished = [
        RoundResult(round=number, training_images=60, training_loss=None, auc=(3 + number) / 8, sites=SITES)
        for number in range(1, rounds + 1)
    ]
    return TrainingResult(
        rounds=tuple(finished), refusals=(), model="round-2.safetensors", model_sha256=None
    ).model_dump(mode="json")


def in_tensorboard(folder: Path) -> list[tuple[str, int, float]]:
    """Every figure of the run, from TensorBoard's own reader."""
    reader = import_module("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(folder / RUN))
    reader.Reload()
    tensor = import_module("tensorboard.util.tensor_util").make_ndarray
    return [
        (name, event.step, round(float(tensor(event.tensor_proto)), 6))
        for name in reader.Tags()["tensors"]
        for event in reader.Tensors(name)
    ]


def in_mlflow(folder: Path) -> list[tuple[str, int, float]]:
    """Every figure of the one run, from MLflow's own client."""
    client = import_module("mlflow.tracking").MlflowClient(tracking_uri=folder.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("ricord").experiment_id])
    assert run.info.run_name == RUN
    return [
        (name, each.step, each.value)
        for name in run.data.metrics
        for each in client.get_metric_history(run.info.run_id, name)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "package", "shown"),
    [("tensorboard", "tensorboard", in_tensorboard), ("mlflow", "mlflow", in_mlflow)],
)
def test_each_figure_stands_there_once(tmp_path: Path, kind: str, package: str, shown: Any) -> None:
    """Round by round as it is watched, and also where the run is tracked once more; what was withheld is no figure."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra `tracking`)")
    tracking = Tracking(RUN, **{kind: tmp_path})
    tracking.add({"rounds": []})
    tracking.add(result_after(1))
    tracking.add(result_after(2))
    tracking.add(result_after(2))
    Tracking(RUN, **{kind: tmp_path}).add(result_after(2))
    figures = shown(tmp_path)
    assert len(figures) == len(set(figures))
    assert set(figures) == {*SHOWN, ("all/training_images", 1, 60), ("all/training_images", 2, 60)}


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_where_it_is_not_installed_the_reason_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In a sentence, before anything is written; who does not ask for it needs none."""
    monkeypatch.setattr("shared.extras.find_spec", lambda _: None)
    with pytest.raises(ExtraMissing, match="tracking"):
        Tracking(RUN, **{kind: tmp_path})
    assert not list(tmp_path.iterdir())
    Tracking(RUN).add(result_after(1))


def test_only_a_training_has_figures_by_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a cohort's table the reason is named."""
    monkeypatch.setattr("coordinator.research.tracking._mlflow", lambda *_: lambda *_: None)
    with pytest.raises(InvalidArgument, match="training"):
        Tracking(RUN, mlflow=tmp_path).add({"cells": []})
