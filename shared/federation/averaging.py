"""Weighted averages as sums of whole numbers, so that a secure sum of them is exact.

A site's values are clipped to +-1024, rounded to multiples of 2^-24 and multiplied by its weight, a number of images of
at most 2^18; its words are the weight, then the products. Of up to 2^10 sites no sum leaves 64 signed bits, since
2^10 * 2^24 * 2^18 * 2^10 = 2^62, and rounding moves an average by at most 2^-25. What is averaged never leaves a site
by itself: neither its weights nor its number of images, nor its loss.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.errors.federation import RunFailed
from shared.errors.inputs import InvalidArgument
from shared.federation.records import Vector
from shared.federation.secure_sum.vectors import Words
from shared.ids import RunId, Sha256

SUBJECT = "training"  # of every sum of training: a site compares its rosters over all runs, since models may be equal
LIMIT = 1024
SCALE = 2**24
_EXACT = 2**28  # images: 2^10 sites of 2^18
_PART = 2**13  # values that are averaged together: they stay in the processor's cache
BINS = 1000  # of each class's histogram of probabilities, from which a pooled AUC follows to about three decimals

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]  # shape (2, BINS): of negative and of positive images, by predicted probability


class Average(NamedTuple):
    """The average of `values`, shape (n,), over all images of the sites in a sum, and how many these are."""

    values: Values
    images: int


def weighted(values: npt.NDArray[np.floating], images: int) -> Words:
    """A site's words for an average, shape (1 + n,). Raises `InvalidArgument` for a value that is no number."""
    if np.isnan(values).any():
        raise InvalidArgument(name="update", problem="it holds values that are not numbers")
    return np.concatenate([np.array([images], dtype=np.int64), _scaled(values) * images]).view(np.uint64)


def average_of(updates: Sequence[tuple[Vector, int]]) -> Vector:
    """The average of updates with their numbers of images, bit for bit as the sum of their words gives it.

    There is at least one image; of more than any secure sum has, sums are of floats.
    """
    images, size = sum(images for _, images in updates), updates[0][0].size
    kind, average = np.int64 if images <= _EXACT else np.float64, np.empty(size, dtype=np.float32)
    for start in range(0, size, _PART):
        part = slice(start, start + _PART)
        average[part] = sum(_scaled(values[part]).astype(kind, copy=False) * images for values, images in updates) / (
            images * SCALE
        )
    return average


def _scaled(values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Values in the fixed point; a float32 times a power of two is exact."""
    scaled: npt.NDArray[np.int64] = np.rint(np.clip(values, -LIMIT, LIMIT) * SCALE).astype(np.int64)
    return scaled


def averaged(total: Words, *, sites: int, most_images: int) -> Average:
    """The average that `total` holds; with no image at all, zeros.

    Raises `RunFailed` when `sites` sites with at most `most_images` images each cannot have summed to this.
    """
    signed = total.view(np.int64)
    images, products = int(signed[0]), signed[1:]
    bound = images * LIMIT * SCALE
    if not 0 <= images <= sites * most_images or products.min() < -bound or products.max() > bound:
        raise RunFailed(
            problem="a sum is outside the possible range, so a site sent wrong values; masks hide which one"
        )
    return Average(products / (max(images, 1) * SCALE), images)


def evaluation_words(loss: float, counts: Counts) -> Words:
    """A site's words for a pooled evaluation: the average of its loss, then its histograms, shape (2 + 2 BINS,)."""
    return np.concatenate([weighted(np.array([loss]), int(counts.sum())), counts.ravel().view(np.uint64)])


def evaluation_of(total: Words, *, sites: int, most_images: int) -> tuple[float, Counts]:
    """The mean loss and the pooled histograms; raises `RunFailed` as `averaged` does."""
    average = averaged(total[:2], sites=sites, most_images=most_images)
    counts = total[2:].view(np.int64).reshape(2, BINS)
    if counts.min() < 0 or int(counts.sum()) != average.images or average.values[0] < 0:
        raise RunFailed(problem="a sum does not fit an evaluation, so a site sent wrong values; masks hide which one")
    return float(average.values[0]), counts


def histogram(labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.floating]) -> Counts:
    """How many images of each class got which probability."""
    places = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    return np.stack([np.bincount(places[labels == label], minlength=BINS) for label in (0, 1)]).astype(np.int64)


def auc_of(counts: Counts) -> float | None:
    """The area under the ROC curve that histograms give, equal bins counting half; `None` without both classes."""
    negative, positive = counts
    pairs = int(negative.sum()) * int(positive.sum())
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / pairs) if pairs else None


def inputs_of(run: RunId, kind: str, state: Vector) -> str:
    """What a sum's plan says of the model it begins with: by different ones a centre could tell sites apart.

    Pasquini et al., "Eluding Secure Aggregation in Federated Learning via Model Inconsistency" (CCS 2022).
    """
    return f"{run} {kind} {state_digest(state)}"


def state_digest(state: Vector) -> Sha256:
    """SHA-256 of a state as it travels: float32, little-endian."""
    return Sha256(hashlib.sha256(state.astype("<f4", copy=False).tobytes()).hexdigest())
