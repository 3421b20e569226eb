"""A network for CT: one network for all slices of a study, whose features are pooled to one logit.

Attention weighs slices by their features (Ilse et al., "Attention-based Deep Multiple Instance Learning", ICML 2018).
"""

import torch
from torch import nn

from shared.federation.models.small_cnn import SmallCnn
from shared.federation.task import TrainingTask

_FEATURES = 128  # of a slice: means and maxima of `SmallCnn`'s last layer
_ATTENTION = 32


class CtSlices(nn.Module):
    """Studies of shape (batch, 1, slices, size, size) to one logit each, shape (batch,); about 28,000 parameters."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.pooling = task.model_options.pooling
        self.features = SmallCnn(task.image_size, task.norm).features
        self.attention = nn.Sequential(nn.Linear(_FEATURES, _ATTENTION), nn.Tanh(), nn.Linear(_ATTENTION, 1))
        self.head = nn.Linear(_FEATURES, 1)

    def forward(self, studies: torch.Tensor) -> torch.Tensor:
        """One logit for each study."""
        batch, channels, slices, *size = studies.shape
        maps = self.features(studies.transpose(1, 2).reshape(batch * slices, channels, *size))
        features = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1).reshape(batch, slices, _FEATURES)
        logits: torch.Tensor = self.head(self._pooled(features)).squeeze(1)
        return logits

    def _pooled(self, features: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, slices, n) as (batch, n)."""
        if self.pooling == "mean":
            return features.mean(dim=1)
        if self.pooling == "max":
            return features.amax(dim=1)
        weights: torch.Tensor = self.attention(features).softmax(dim=1)
        return (weights * features).sum(dim=1)
