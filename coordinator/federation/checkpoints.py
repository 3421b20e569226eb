"""What a training keeps in its run's folder: `round-N.safetensors`, the model after round N, and `metrics.json`."""

import hashlib
from pathlib import Path

from safetensors.torch import load_file, save

from coordinator.federation.results import KeptModel, TrainingResult, checkpoint_file
from shared.durable import clear_unfinished, write_whole
from shared.federation.averaging import state_digest
from shared.federation.models.registry import build_model, get_state, set_state
from shared.federation.records import Vector
from shared.federation.task import TrainingTask
from shared.ids import Sha256
from shared.manifest import canonical_json

METRICS_FILE = "metrics.json"


def finished_rounds(folder: Path) -> TrainingResult | None:
    """The figures of the rounds whose checkpoint lies in `folder`; they are written after it."""
    file = folder / METRICS_FILE
    return TrainingResult.model_validate_json(file.read_bytes()) if file.exists() else None


def save_result(folder: Path, result: TrainingResult) -> None:
    """Write everything that may be shown, whole or not at all."""
    write_whole(folder / METRICS_FILE, canonical_json(result))


def save_checkpoint(folder: Path, server_round: int, state: Vector, task: TrainingTask) -> None:
    """Write a round's model under its tensors' names, whole or not at all."""
    model = build_model(task)
    set_state(model, state)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    about = {"model": task.model, "image_size": task.image_size, "label": task.label, "round": server_round}
    metadata = {"ricord": canonical_json(about).decode()}  # one key: several have no fixed order
    file = checkpoint_file(folder, server_round)
    clear_unfinished(file)
    write_whole(file, save(tensors, metadata=metadata))


def load_checkpoint(folder: Path, server_round: int, task: TrainingTask) -> Vector:
    """A round's model as one array."""
    model = build_model(task)
    model.load_state_dict(load_file(checkpoint_file(folder, server_round)), strict=True)
    return get_state(model)


def kept_model(folder: Path, server_round: int, state: Vector) -> KeptModel:
    """A round's model as a result names it; `state` is its own."""
    file = checkpoint_file(folder, server_round)
    return KeptModel(
        round=server_round,
        file=file.name,
        sha256=Sha256(hashlib.sha256(file.read_bytes()).hexdigest()),
        state_sha256=state_digest(state),
    )
