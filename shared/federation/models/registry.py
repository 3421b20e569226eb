"""Networks by the name a plan uses. Both sides build the same one, so only its state travels, packed into one array."""

from collections.abc import Callable
from functools import lru_cache
from types import MappingProxyType

import torch
from torch import nn

from shared.errors.federation import PlanInvalid
from shared.federation.models.small_cnn import SmallCnn
from shared.federation.plan import TrainingTask
from shared.federation.records import Vector, pack, unpack

MODELS: MappingProxyType[str, Callable[[int], nn.Module]] = MappingProxyType({"small-cnn": SmallCnn})


def build_model(task: TrainingTask) -> nn.Module:
    """The network of a task, initialised from the task's seed, the same everywhere; raises `PlanInvalid`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        return _network(task.model, task.image_size)


@lru_cache(maxsize=16)
def state_length(model: str, image_size: int) -> int:
    """How many numbers the state of that model has; it is laid out without memory for them. Raises `PlanInvalid`."""
    with torch.device("meta"):
        return sum(tensor.numel() for tensor in _network(model, image_size).state_dict().values())


def get_state(model: nn.Module) -> Vector:
    """The model's whole state, parameters and buffers, as one array."""
    return pack({name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()})


def set_state(model: nn.Module, vector: Vector) -> None:
    """Load what `get_state` gave; raises `InvalidArgument` when it is the state of another model."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    state = {name: torch.from_numpy(array.copy()) for name, array in unpack(vector, shapes).items()}
    model.load_state_dict(state, strict=True)


def _network(model: str, image_size: int) -> nn.Module:
    if model not in MODELS:
        raise PlanInvalid(problem="there is no model of that name")
    return MODELS[model](image_size)
