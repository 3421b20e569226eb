"""Networks by the name a plan uses. Both sides build the same one, so only its state travels, packed into one array."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from shared.errors.federation import PlanInvalid
from shared.federation.models.ct_slices import CtSlices
from shared.federation.models.monai_networks import monai_network
from shared.federation.models.packages import package_network
from shared.federation.models.small_cnn import SmallCnn
from shared.federation.records import Vector, pack, unpack
from shared.federation.task import CT, MONAI_NAMES, TrainingTask

MODELS: MappingProxyType[str, Callable[[TrainingTask], nn.Module]] = MappingProxyType(
    {
        "small-cnn": lambda task: SmallCnn(task.image_size, task.norm),
        CT: CtSlices,
        **dict.fromkeys(MONAI_NAMES, monai_network),
    }
)
_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm),
)


def build_model(task: TrainingTask) -> nn.Module:
    """The network of a task, initialised from the task's seed, the same everywhere; raises `PlanInvalid`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        return _network(task)


@lru_cache(maxsize=16)
def state_length(task: TrainingTask) -> int:
    """How many numbers the state of a task's model has; raises `PlanInvalid`.

    It is laid out without memory for them, unless its code is another package's.
    """
    with nullcontext() if task.package else torch.device("meta"):
        return sum(tensor.numel() for tensor in _floats(_network(task)).values())


def get_state(model: nn.Module) -> Vector:
    """The model's whole state, parameters and buffers, as one array; counters, which are no floats, stay."""
    return pack({name: tensor.detach().cpu().numpy() for name, tensor in _floats(model).items()})


def set_state(model: nn.Module, vector: Vector) -> None:
    """Load what `get_state` gave; raises `InvalidArgument` when it is the state of another model."""
    shapes = {name: tuple(tensor.shape) for name, tensor in _floats(model).items()}
    state = {name: torch.from_numpy(array.copy()) for name, array in unpack(vector, shapes).items()}
    model.load_state_dict({**model.state_dict(), **state}, strict=True)


def norm_places(model: nn.Module) -> npt.NDArray[np.bool_]:
    """Which numbers of a state belong to norm layers: their scales, offsets and running statistics."""
    layers = tuple(f"{name}." for name, layer in model.named_modules() if isinstance(layer, _NORMS))
    return np.concatenate([np.full(tensor.numel(), name.startswith(layers)) for name, tensor in _floats(model).items()])


def _network(task: TrainingTask) -> nn.Module:
    if task.model not in MODELS and task.package is None:
        raise PlanInvalid(problem="there is no model of that name")
    return MODELS.get(task.model, package_network)(task)


def _floats(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
