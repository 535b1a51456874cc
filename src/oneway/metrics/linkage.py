"""Whether stolen features are linked to photographs of the same person: verification and identification.

Both compare `stolen` vectors with `photographs`, unit vectors (n, d) of the same n pictures in the same order, as
`metrics.pairs` does. Where the thief asks the encoder about photographs, the two are the same array.
"""

from __future__ import annotations

import numpy as np

from oneway.metrics.estimate import Estimate, by_person, share
from oneway.metrics.pairs import Counts, People, Vectors, blocks


def true_accept_rate(accepted: Counts, pairs: Counts, people: People) -> Estimate | None:
    """Estimate the share of pairs of one person that are accepted; nothing, if nobody appears twice."""
    if not pairs.any():
        return None
    totals = by_person(np.stack([accepted, pairs], axis=1), people)
    return share(totals[totals[:, 1] > 0])


def identification(stolen: Vectors, photographs: Vectors, people: People, *, rank: int) -> Estimate | None:
    """Estimate how often the person is among the `rank` nearest of the gallery: each person's first photograph.

    The other pictures are searched for; nothing, if nobody appears twice.
    """
    _, first, codes = np.unique(people, return_index=True, return_inverse=True)
    probes = np.setdiff1d(np.arange(len(people)), first)
    if not len(probes):
        return None
    better = np.empty(len(probes))
    for rows, scores in blocks(stolen[probes], photographs[first]):
        own = scores[np.arange(len(scores)), codes[probes[rows]], None]
        # A tie counts against the attacker's luck: equal scores are as good as a draw, so the place is their middle.
        better[rows] = (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2
    found = (better < rank).astype(np.float64)
    totals = by_person(np.stack([found, np.ones(len(probes))], axis=1), people[probes])
    return share(totals)


def chance(num_people: int) -> dict[str, float]:
    """Give what an attacker reaches by guessing, by the names that linkage has in `results.json`."""
    return {
        "tar_at_far_1e-2": 1e-2,
        "tar_at_far_1e-3": 1e-3,
        "tar_at_far_1e-4": 1e-4,
        "rank_1": 1 / num_people,
        "rank_5": min(1.0, 5 / num_people),
    }
