"""Whether a picture still shows the person, by a face verifier's features (unit vectors of d numbers)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]


def similarity(first: Features, second: Features) -> NDArray[np.float64]:
    """Cosine similarity of each row of two sets of unit vectors, (n, d) each: (n,), in -1..1."""
    cosine: NDArray[np.float64] = np.einsum("nd,nd->n", first, second, dtype=np.float64)
    return cosine


def threshold(features: Features, people: NDArray[np.int64], *, false_accept_rate: float) -> float | None:
    """Find the similarity that a share `false_accept_rate` of the pairs of different people exceeds.

    Args:
        features: (n, d) of photographs, n at most a few thousand: all n * n pairs are made.
        people: (n,) codes.
        false_accept_rate: in 0..1, such as 1e-3.

    Returns:
        nothing, if fewer than ten pairs of different people would exceed it: too few to measure.

    """
    different = people[:, None] < people[None, :]
    pairs = int(different.sum())
    if pairs * false_accept_rate < 10:
        return None
    return float(np.quantile((features @ features.T)[different], 1 - false_accept_rate))
