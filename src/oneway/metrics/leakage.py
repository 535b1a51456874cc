"""Leakage: how much of what an unprotected encoder gives away is still given away."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, Floats, by_person, estimate, rarely


class NoLeakError(InputError):
    """The control gives nothing away that its floor does not, so there is nothing to take a share of."""


def excess(
    victim: NDArray[np.floating],
    control: NDArray[np.floating],
    decisions: NDArray[np.floating],
    people: NDArray[np.int64],
    *,
    cases: NDArray[np.floating] | None = None,
) -> Estimate:
    """Estimate (l - d) / (1 - d) of the leakage l and that of the task's decisions alone, d.

    0: features tell no more than the decisions that they are for; 1: as much as without protection. Since both
    leakages have one floor and one control, it is (victim - decisions) / (control - decisions): leakage whose floor is
    an attacker who has the decisions.

    Args:
        victim: the score of each picture, (n,), higher for more given away.
        control: the same of the unprotected encoder.
        decisions: the same of an attacker who has the task's decisions alone.
        people: (n,) codes.
        cases: see `leakage`.

    Raises:
        NoLeakError: if the control does not lie above the decisions by its 95 % interval, where d is near 1.

    """
    return leakage(victim, control, decisions, people, cases=cases, knows="what the task's decisions give away")


def leakage(
    victim: NDArray[np.floating],
    control: NDArray[np.floating],
    floor: NDArray[np.floating],
    people: NDArray[np.int64],
    *,
    cases: NDArray[np.floating] | None = None,
    knows: str = "its floor",
) -> Estimate:
    """Estimate (victim - floor) / (control - floor), each summed over the test pictures.

    0: the attacker does as one who knows nothing; 1: as against no protection; it may lie below 0 or above 1. All
    three are resampled together, the same people in each, so what is common to them cancels.

    Args:
        victim: the score of each picture, (n,), higher for more given away.
        control: the same of the unprotected encoder.
        floor: the same of an attacker who knows nothing.
        people: (n,) codes.
        cases: where the scores are numbers of cases that count, such as pairs that are linked, how many there are of
            each picture, (n,): people without any do not count, and what is rare gets the interval of
            `estimate.rarely`.
        knows: what the floor is, for errors.

    Raises:
        NoLeakError: if the control does not lie above the floor by its 95 % interval: its share of nothing would be
            a number that says nothing.

    """
    each = np.ones(len(people)) if cases is None else cases
    totals = by_person(np.stack([victim, control, floor, each], axis=1), people)
    totals = totals[totals[:, 3] > 0]
    above = estimate(totals, lambda sums: (sums[:, 1] - sums[:, 2]) / sums[:, 3], unit="difference")
    share = estimate(totals, _share, unit="leakage") if above.low > 0 else None
    if share is None or not (isfinite(share.low) and isfinite(share.high)):
        raise NoLeakError(
            f"the control is not above {knows} (by {above}), so there is nothing to take a share of; "
            "compare with a control that leaks"
        )
    if cases is None or (rare := rarely(totals[:, [0, 3]])) is None:
        return share
    _, most, least, number = totals.sum(axis=0)
    low, high = (float((end * number - least) / (most - least)) for end in rare)
    return replace(share, low=min(share.low, low), high=max(share.high, high))


def _share(sums: Floats) -> Floats:
    above: Floats = sums[:, 1] - sums[:, 2]
    # Where a resample's control lies at the floor, its share has no bound, and an interval that it reaches is refused.
    share: Floats = (sums[:, 0] - sums[:, 2]) / np.where(above > 0, above, np.nan)
    return np.where(np.isnan(share), np.inf, share)
