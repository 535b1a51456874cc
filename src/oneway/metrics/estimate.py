"""An estimate: a value with its 95 % interval over people, since pictures of one person are not independent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from oneway.config import record
from oneway.errors import InputError

RESAMPLES = 1000
RARE = 10
"""Effective cases that count, or that do not, below which resampling alone makes too little of what is rare."""
Floats = NDArray[np.float64]


@record
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured quantity.

    Attributes:
        value: the point estimate.
        low: lower end of the 95 % interval (percentile bootstrap over people).
        high: its upper end.
        n: number of people it rests on.
        unit: what it counts: `MCC`, `cosine`, `dB`, `SSIM`, `MSE`, `share`.

    """

    value: float
    low: float
    high: float
    n: int
    unit: str

    def __str__(self) -> str:
        digits = 1 if self.unit == "dB" else 3
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def in_percent(self, digits: int = 1) -> str:
        """Write a share in percent, with its interval."""
        low, high = (f"{100 * end:.{digits}f}" for end in (self.low, self.high))
        return f"{percent(self.value, digits)} [{low}, {high}]"


def spanning(best: Estimate, others: Iterable[Estimate]) -> Estimate:
    """Give the best of several trainings of one attacker, with an interval that reaches over those of all of them."""
    every = [best, *others]
    return replace(best, low=min(each.low for each in every), high=max(each.high for each in every))


def percent(share: float, digits: int = 1) -> str:
    """Write a share in percent."""
    return f"{100 * share:.{digits}f} %"


def by_person(values: NDArray[np.floating], people: NDArray[np.int64]) -> Floats:
    """Add up the rows of `values`, (n, k), that belong to one person: (num_people, k)."""
    codes = np.unique(people, return_inverse=True)[1]
    totals = np.zeros((codes.max() + 1, values.shape[1]))
    np.add.at(totals, codes, values)
    return totals


def estimate(totals: Floats, statistic: Callable[[Floats], Floats], *, unit: str, seed: int = 0) -> Estimate:
    """Estimate `statistic` of sums over people, with an interval from drawing the people anew.

    Args:
        totals: sufficient statistics, one row a person: (num_people, k).
        statistic: maps summed statistics (resamples, k) to values (resamples,).
        unit: see `Estimate`.
        seed: of the resampling; one seed draws the same people for every estimate over the same people.

    Raises:
        InputError: if there is no person.

    """
    num_people = len(totals)
    if num_people == 0:
        raise InputError("an estimate needs at least one person, and the test split has 0; prepare more images")
    low, high = np.quantile(statistic(_draws(num_people, seed) @ totals), (0.025, 0.975))
    value = statistic(totals.sum(axis=0, keepdims=True))[0]
    return Estimate(value=float(value), low=float(low), high=float(high), n=num_people, unit=unit)


@lru_cache(maxsize=2)
def _draws(num_people: int, seed: int) -> NDArray[np.int64]:
    """Draw people anew: how often each of them is in each resample, (RESAMPLES, num_people).

    An audit estimates a hundred figures over the same people, and drawing takes longer than the rest of each.
    """
    return np.random.default_rng(seed).multinomial(num_people, np.full(num_people, 1 / num_people), size=RESAMPLES)


def mean(values: NDArray[np.floating], people: NDArray[np.int64], *, unit: str, seed: int = 0) -> Estimate:
    """Estimate the mean of one value a picture, (n,), whose people are (n,) codes; a `share` as `share` does."""
    totals = by_person(np.stack([values.astype(np.float64), np.ones(len(values))], axis=1), people)
    return share(totals, seed=seed) if unit == "share" else estimate(totals, _ratio, unit=unit, seed=seed)


def share(totals: Floats, *, seed: int = 0) -> Estimate:
    """Estimate the share of cases that count, in an interval that says something of what was never seen too.

    Args:
        totals: how many cases count and how many there are, one row a person: (num_people, 2).
        seed: of the resampling.

    """
    found = estimate(totals, _ratio, unit="share", seed=seed)
    low, high = rarely(totals) or (found.low, found.high)
    return replace(found, low=min(low, found.low), high=max(high, found.high))


def rarely(totals: Floats) -> tuple[float, float] | None:
    """Give the ends of a 95 % interval of a share that is too near 0 or 1 for resampling, or nothing where it is not.

    Of people none of whom was recognised resampling draws nobody who is. This is the exact binomial interval (Clopper
    and Pearson) for the effective number of cases, p (1 - p) / variance over people (Korn and Graubard, Survey
    Methodology 1998, without their degrees of freedom); the number of people where there is no variance.

    Args:
        totals: see `share`.

    """
    (counted, cases), number = totals.sum(axis=0), len(totals)
    part = counted / cases
    variance = np.square(totals[:, 0] - part * totals[:, 1]).sum() / cases**2 * number / max(number - 1, 1)
    effective = min(part * (1 - part) / variance, cases) if variance > 0 else number
    if min(part, 1 - part) * effective >= RARE:
        return None
    hits, misses = part * effective, (1 - part) * effective
    low = float(betaincinv(hits, misses + 1, 0.025)) if part > 0 else 0.0
    return low, float(betaincinv(hits + 1, misses, 0.975)) if part < 1 else 1.0


def _ratio(sums: Floats) -> Floats:
    ratio: Floats = sums[:, 0] / sums[:, 1]
    return ratio
