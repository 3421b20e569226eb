"""Whole-number noise on counts, by OpenDP (extra `privacy`)."""

from collections.abc import Sequence

import numpy as np

from shared.federation.privacy import library
from shared.federation.secure_sum.vectors import Words


def with_noise(counts: Sequence[int], scale: float) -> Words:
    """The counts with discrete Laplace noise of a scale on each, negative ones modulo 2^64, shape (len(counts),).

    Raises `PlanInvalid` without OpenDP.
    """
    dp = library("opendp.prelude")
    dp.enable_features("contrib")
    noisy = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l1_distance(T=dp.i64), scale=scale)
    return np.array(noisy(list(counts)), dtype=np.int64).view(np.uint64)
