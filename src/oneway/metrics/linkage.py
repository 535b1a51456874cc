"""Whether stolen features are linked to photographs of the same person: verification and identification.

Both compare `stolen` vectors with `photographs`, unit vectors (n, d) of the same n pictures in the same order; a
picture is never compared with itself. Where the thief asks the encoder about photographs, the two are the same array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate, by_person, estimate

Vectors = NDArray[np.float32]
People = NDArray[np.int64]
Counts = NDArray[np.float64]
LEAST_ACCEPTED = 10
"""Pairs of different people that must exceed a threshold for it to be measured."""


def threshold(stolen: Vectors, photographs: Vectors, people: People, *, false_accept_rate: float) -> float | None:
    """Find the cosine that a share `false_accept_rate` of the pairs of different people exceeds.

    Returns:
        nothing, if fewer than ten pairs would exceed it: too few to measure.

    """
    different = people[:, None] != people[None, :]
    if different.sum() / 2 * false_accept_rate < LEAST_ACCEPTED:
        return None
    return float(np.quantile((stolen @ photographs.T)[different], 1 - false_accept_rate))


def accepted(stolen: Vectors, photographs: Vectors, people: People, at: float) -> tuple[Counts, Counts]:
    """Count for each stolen picture the other pictures of its person, and those of them above the threshold `at`.

    Returns:
        the accepted and all pairs, (n,) each.

    """
    same = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
    above = stolen @ photographs.T > at
    return (same & above).sum(axis=1).astype(np.float64), same.sum(axis=1).astype(np.float64)


def true_accept_rate(accepted: Counts, pairs: Counts, people: People) -> Estimate | None:
    """Estimate the share of pairs of one person that are accepted; nothing, if nobody appears twice."""
    if not pairs.any():
        return None
    totals = by_person(np.stack([accepted, pairs], axis=1), people)
    return estimate(totals[totals[:, 1] > 0], lambda sums: sums[:, 0] / sums[:, 1], unit="share")


def false_accept_rate(stolen: Vectors, photographs: Vectors, people: People, at: float) -> float:
    """Give the share of pairs of different people above the threshold `at`: what it really is on these people."""
    different = people[:, None] != people[None, :]
    return float((stolen @ photographs.T > at)[different].mean())


def identification(stolen: Vectors, photographs: Vectors, people: People, *, rank: int) -> Estimate | None:
    """Estimate how often the person is among the `rank` nearest of the gallery: each person's first photograph.

    The other pictures are searched for; nothing, if nobody appears twice.
    """
    _, first, codes = np.unique(people, return_index=True, return_inverse=True)
    probes = np.setdiff1d(np.arange(len(people)), first)
    if not len(probes):
        return None
    scores = stolen[probes] @ photographs[first].T
    own = scores[np.arange(len(probes)), codes[probes]]
    # A tie counts against the attacker's luck: all equal scores are as good as a draw, so the place is their middle.
    better = (scores > own[:, None]).sum(axis=1) + ((scores == own[:, None]).sum(axis=1) - 1) / 2
    found = (better < rank).astype(np.float64)
    totals = by_person(np.stack([found, np.ones(len(probes))], axis=1), people[probes])
    return estimate(totals, lambda sums: sums[:, 0] / sums[:, 1], unit="share")


def chance(num_people: int) -> dict[str, float]:
    """Give what an attacker reaches by guessing, by the names that linkage has in `results.json`."""
    return {
        "tar_at_far_1e-2": 1e-2,
        "tar_at_far_1e-3": 1e-3,
        "rank_1": 1 / num_people,
        "rank_5": min(1.0, 5 / num_people),
    }
