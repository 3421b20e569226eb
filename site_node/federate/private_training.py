"""Local training with differential privacy, by Opacus (extra `privacy`).

Noise and the choice of patients come from a generator whose seed nobody knows, so two trainings differ. Classes are not
weighted, and no loss is told: both would say something of the patients.
"""

import secrets
import warnings

import torch
from torch import nn

from shared.federation.privacy import library
from shared.federation.task import Privacy


def train_privately(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    epochs: int,
    privacy: Privacy,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Train in place, one image a patient; `optimizer` is of `model`. Raises `PlanInvalid` without Opacus."""
    generator = torch.Generator().manual_seed(secrets.randbits(63))
    private = library("opacus.grad_sample").GradSampleModule(model)
    noisy = library("opacus.optimizers").DPOptimizer(
        optimizer,
        noise_multiplier=privacy.noise_multiplier,
        max_grad_norm=privacy.clip_norm,
        expected_batch_size=max(1.0, len(labels) / privacy.batches),
        generator=generator,
    )
    batches = library("opacus.utils.uniform_sampler").UniformWithReplacementSampler(
        num_samples=len(labels),
        sample_rate=1 / privacy.batches,
        steps=epochs * privacy.batches,
        generator=generator,
    )
    criterion = nn.BCEWithLogitsLoss()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # images need no gradient, which torch finds worth a word
        for batch in batches:
            noisy.zero_grad()
            criterion(private(images[batch]), labels[batch]).backward()
            noisy.step()
    private.to_standard_module()
