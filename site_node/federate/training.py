"""Local training and evaluation of a model on this site's own images. Deterministic for a seed, one torch thread."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from shared.errors.federation import RunRefused
from shared.federation import records
from shared.federation.models.registry import build_model, get_state, set_state
from shared.federation.records import Vector
from shared.federation.task import TrainingTask
from site_node.federate.private_training import train_privately

Images = npt.NDArray[np.float32]  # (n, size, size), standardised; of CT (n, slices, size, size)
Labels = npt.NDArray[np.int64]  # (n,), 0 or 1
_EVALUATION_BATCH = 64  # images or slices evaluated together


class Samples(NamedTuple):
    """Images, their labels, and whose each is: patients by number."""

    images: Images
    labels: Labels
    patients: Labels

    @property
    def cases(self) -> tuple[int, int]:
        """The numbers of negative and positive samples."""
        positive = int(self.labels.sum())
        return len(self.labels) - positive, positive

    def one_each(self) -> "Samples":
        """One of each patient."""
        _, first = np.unique(self.patients, return_index=True)
        return Samples(self.images[first], self.labels[first], self.patients[first])

    def first(self, images: int) -> "Samples":
        """The first `images` of them."""
        return Samples(self.images[:images], self.labels[:images], self.patients[:images])


class Evaluation(NamedTuple):
    """Mean loss, AUC (`None` with one class only), and each image's probability of being positive, shape (n,)."""

    loss: float
    auc: float | None
    probabilities: npt.NDArray[np.float64]


def train(model: nn.Module, samples: Samples, task: TrainingTask, *, server_round: int) -> float:
    """Train in place for the task's epochs and return the last epoch's mean loss; 0 with `privacy`.

    Classes are weighted by their inverse frequency at this site. With a `proximal_mu` the loss gets FedProx's term
    mu/2 |w - w_global|^2 (Li et al., MLSys 2020). Raises `RunRefused` when there is nothing to train on.
    """
    if len(samples.labels) == 0:
        raise RunRefused(problem="this site has no image with that label to train on")
    torch.set_num_threads(1)
    images, labels = torch.from_numpy(samples.images).unsqueeze(1), torch.from_numpy(samples.labels).float()
    criterion = nn.BCEWithLogitsLoss(pos_weight=_weight(samples))
    optimizer = _optimizer(model, task)
    start = [parameter.detach().clone() for parameter in model.parameters()]
    order = np.random.default_rng([task.seed, server_round])
    model.train()
    if task.privacy is not None:
        train_privately(model, images, labels, epochs=task.local_epochs, privacy=task.privacy, optimizer=optimizer)
        return 0.0
    mean = 0.0
    for _ in range(task.local_epochs):
        total = 0.0
        shuffled = order.permutation(len(labels))
        for batch in np.array_split(shuffled, _batches(len(labels), task)):
            loss = criterion(model(images[batch]), labels[batch])
            total += float(loss.detach()) * len(batch)
            optimizer.zero_grad()
            (loss + _proximal(model, start, task.proximal_mu)).backward()
            optimizer.step()
        mean = total / len(labels)
    return mean


def train_alone(samples: Samples, validation: Samples, task: TrainingTask) -> nn.Module:
    """A model of this site alone: as many rounds as a run has, and of these the best on the validation images.

    That is the one of the highest AUC; where the images have one class only, of the lowest loss. Raises as `train`.
    """
    model = build_model(task)
    best, state = (float("-inf"), float("-inf")), get_state(model)
    for server_round in range(1, task.rounds + 1):
        train(model, samples, task, server_round=server_round)
        reached = evaluate(model, validation)
        rank = (-1.0 if reached.auc is None else reached.auc, -reached.loss)
        if rank > best:
            best, state = rank, get_state(model)
    set_state(model, state)
    return model


def clipped(state: Vector, start: Vector, norm: float) -> Vector:
    """`state`, moved towards `start` until its distance (L2) is at most `norm`.

    Raises `InvalidArgument` when training came to values that are no numbers.
    """
    records.check_finite(state)
    change = state.astype(np.float64) - start
    distance = float(np.linalg.norm(change))
    return state if distance <= norm else (start + change * (norm / distance)).astype(np.float32)


def evaluate(model: nn.Module, samples: Samples) -> Evaluation:
    """Loss and AUC of the model on the samples."""
    if len(samples.labels) == 0:
        return Evaluation(loss=0.0, auc=None, probabilities=np.zeros(0))
    torch.set_num_threads(1)
    model.eval()
    with torch.no_grad():
        together = max(1, _EVALUATION_BATCH // (samples.images.shape[1] if samples.images.ndim == 4 else 1))
        parts = torch.split(torch.from_numpy(samples.images).unsqueeze(1), together)
        logits = torch.cat([model(part) for part in parts])
    labels = torch.from_numpy(samples.labels).float()
    loss = float(nn.functional.binary_cross_entropy_with_logits(logits, labels))
    scores = logits.double()
    return Evaluation(loss, auc(samples.labels, scores.numpy()), torch.sigmoid(scores).numpy())


def auc(labels: Labels, scores: npt.NDArray[np.float64]) -> float | None:
    """Area under the ROC curve: the share of (positive, negative) pairs ranked right, ties counting half, exactly.

    `None` without both classes (Hanley and McNeil, Radiology 1982).
    """
    positive = int(labels.sum())
    negative = len(labels) - positive
    if positive == 0 or negative == 0:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # mid-ranks, from 1
    return float((ranks[labels == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _batches(images: int, task: TrainingTask) -> int:
    """How many batches of nearly one size; with batch norms none of a single image, which has no variance."""
    batches = max(1, -(-images // task.batch_size))
    return max(1, min(batches, images // 2)) if task.norm == "batch" else batches


def _weight(samples: Samples) -> torch.Tensor:
    negative, positive = samples.cases
    return torch.tensor(negative / positive if positive and negative else 1.0)


def _optimizer(model: nn.Module, task: TrainingTask) -> torch.optim.Optimizer:
    if task.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=task.learning_rate, momentum=0.9)
    return torch.optim.Adam(model.parameters(), lr=task.learning_rate)


def _proximal(model: nn.Module, start: list[torch.Tensor], mu: float) -> torch.Tensor:
    if mu == 0:
        return torch.zeros(())
    distance = [((current - initial) ** 2).sum() for current, initial in zip(model.parameters(), start, strict=True)]
    return mu / 2 * torch.stack(distance).sum()
