"""How much features say about the picture they are of: a lower bound on mutual information, per picture, in bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Floats


def info_nce(scores: NDArray[np.floating]) -> Floats:
    """Say what each picture adds to the bound on the bits its features carry (van den Oord et al. 2018, eq. 4 and 5).

    A critic is shown one picture and the features of all n, and bets on whose are its own: a picture's contribution
    is log2 n, what the bet costs without features, less what it costs the critic. The mean over pictures is, in
    expectation, at most the mutual information of picture and features (Poole et al. 2019, eq. 10), whatever the
    critic, as long as it was chosen without the scored pictures. Where pictures are not independent, since people
    appear more than once, it is at most what a picture has in common with all n features together.

    It is no upper bound: a low figure means that features say little or that the critic is weak, and no critic can
    show more than `ceiling(n)`.

    Args:
        scores: (n, n), the critic's value of picture i with features j in row i and column j; in nats, so that its
            best value is the logarithm of how much likelier the two are together than apart.

    Returns:
        (n,) in bits, at most log2 n; negative where the critic bets worse than blindly.

    """
    assert scores.shape == (len(scores), len(scores)), scores.shape
    values = scores.astype(np.float64)
    bits: Floats = (np.diag(values) - np.logaddexp.reduce(values, axis=1)) / np.log(2) + np.log2(len(values))
    return bits


def ceiling(num_pictures: int) -> float:
    """Give the most that `info_nce` can show with so many pictures: log2 of their number, in bits."""
    return float(np.log2(num_pictures))
