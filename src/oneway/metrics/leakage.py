"""Leakage: how much of what an unprotected encoder gives away is still given away."""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, Floats, by_person, estimate


class NoLeakError(InputError):
    """The control gives nothing away that its floor does not, so there is nothing to take a share of."""


def leakage(
    victim: NDArray[np.floating], control: NDArray[np.floating], floor: NDArray[np.floating], people: NDArray[np.int64]
) -> Estimate:
    """Estimate (victim - floor) / (control - floor), each summed over the test pictures.

    0: the attacker does as one who knows nothing; 1: as against no protection; it may lie below 0 or above 1. All
    three are resampled together, the same people in each, so what is common to them cancels.

    Args:
        victim: the score of each picture, (n,), higher for more given away.
        control: the same of the unprotected encoder.
        floor: the same of an attacker who knows nothing.
        people: (n,) codes.

    Raises:
        NoLeakError: if the control does not lie above the floor by its 95 % interval: its share of nothing would be
            a number that says nothing.

    """
    totals = by_person(np.stack([victim, control, floor, np.ones(len(people))], axis=1), people)
    excess = estimate(totals, lambda sums: (sums[:, 1] - sums[:, 2]) / sums[:, 3], unit="difference")
    share = estimate(totals, _share, unit="leakage") if excess.low > 0 else None
    if share is None or not (isfinite(share.low) and isfinite(share.high)):
        raise NoLeakError(
            f"the control is not above its floor (by {excess}), so there is nothing to take a share of; "
            "compare with a control that leaks"
        )
    return share


def _share(sums: Floats) -> Floats:
    above: Floats = sums[:, 1] - sums[:, 2]
    # Where a resample's control lies at the floor, its share has no bound, and an interval that it reaches is refused.
    share: Floats = (sums[:, 0] - sums[:, 2]) / np.where(above > 0, above, np.nan)
    return np.where(np.isnan(share), np.inf, share)
