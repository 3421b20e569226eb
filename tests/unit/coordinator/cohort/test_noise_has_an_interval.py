"""The interval of noisy counts holds what it says, and is no wider than it needs to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.cohort.noisy import within_of


def chances_of(scale: float, sites: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How likely each sum of noise is, by folding one site's after another's: from -n to n."""
    reach = int(40 * scale) + 2
    alone = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
    together = np.ones(1)
    for _ in range(sites):
        together = np.convolve(together, alone / alone.sum())
    return together


@given(st.floats(0.1, 20), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_95_in_100_lie_within_and_not_within_less(scale: float, sites: int) -> None:
    """By adding up the probabilities one by one."""
    within, chances = within_of(scale, sites), chances_of(scale, sites)
    middle = len(chances) // 2
    assert chances[middle - within : middle + within + 1].sum() >= 0.95 - 1e-9
    if within:
        assert chances[middle - within + 1 : middle + within].sum() < 0.95 + 1e-9


def test_many_sites_with_much_noise_have_an_interval_too() -> None:
    """Near that of a normal distribution, whose deviation is that of the noise."""
    assert within_of(3100.0, 1024) == pytest.approx(1.96 * 3100 * np.sqrt(2 * 1024), rel=0.01)
