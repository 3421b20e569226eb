"""A small convolutional network for one-channel radiographs.

GroupNorm unless a plan asks for BatchNorm (Wu and He, ECCV 2018): it keeps no running statistics of one site's scanner,
so the averaged model travels to sites with another one, and per-sample gradients stay possible.
"""

import torch
from torch import nn

_CHANNELS = (16, 32, 64)
_GROUPS = 8


class SmallCnn(nn.Module):
    """Images of shape (batch, 1, size, size) to one logit each, shape (batch,); about 24,000 parameters."""

    def __init__(self, image_size: int, norm: str = "group") -> None:
        super().__init__()
        self.image_size = image_size
        before = (1, *_CHANNELS[:-1])
        self.features = nn.Sequential(*(_block(*pair, norm) for pair in zip(before, _CHANNELS, strict=True)))
        self.head = nn.Linear(2 * _CHANNELS[-1], 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """One logit for each image."""
        features = self.features(images)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        logits: torch.Tensor = self.head(pooled).squeeze(1)
        return logits


def _block(before: int, after: int, norm: str) -> nn.Sequential:
    layer = nn.BatchNorm2d(after) if norm == "batch" else nn.GroupNorm(_GROUPS, after)
    return nn.Sequential(nn.Conv2d(before, after, kernel_size=3, padding=1), layer, nn.ReLU(), nn.MaxPool2d(2))
