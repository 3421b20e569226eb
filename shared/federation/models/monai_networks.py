"""Networks of MONAI (extra `models`) by name, for one-channel images and one logit each.

MONAI Consortium, "MONAI: an open-source framework for deep learning in healthcare" (2022).
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from shared.errors.federation import PlanInvalid
from shared.federation.task import TrainingTask

MONAI = "monai.networks.nets"
_NORMS = {"batch": "batch", "group": ("group", {"num_groups": 8})}


class OneLogit(nn.Module):
    """A network's answer as one logit for each image: the mean over its map, where it answers with a map."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Shape (batch,)."""
        logits: torch.Tensor = self.network(images).flatten(start_dim=1).mean(dim=1)
        return logits


def monai_network(task: TrainingTask) -> nn.Module:
    """The network that the task names; raises `PlanInvalid` where MONAI is not installed."""
    try:
        nets = importlib.import_module(MONAI)
    except ImportError as error:
        raise PlanInvalid(problem="MONAI is not installed here: pip install 'ricord-federation[models]'") from error
    norm: Any = _NORMS[task.norm]
    options = task.model_options
    makers: Mapping[str, Callable[[], nn.Module]] = {
        "monai:DenseNet121": lambda: nets.DenseNet121(2, 1, 1, norm=norm, dropout_prob=options.dropout),
        "monai:SegResNet": lambda: nets.SegResNet(
            2,
            init_filters=options.filters,
            in_channels=1,
            out_channels=1,
            dropout_prob=options.dropout or None,
            norm=norm,
        ),
    }
    return OneLogit(makers[task.model]())
