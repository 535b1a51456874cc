"""The change of a figure from one encoder to another, with its interval over people."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate, Floats, by_person, estimate


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A figure that is one sum over pictures divided by another.

    Attributes:
        parts: of each picture, (n,), such as its score, or how many of its pairs are accepted.
        wholes: of each picture, (n,): 1 for a mean, or its number of pairs.

    """

    parts: NDArray[np.float64]
    wholes: NDArray[np.float64]

    @classmethod
    def mean(cls, values: NDArray[np.generic]) -> Ratio:
        """Make the mean of one value a picture, (n,)."""
        return cls(parts=values.astype(np.float64), wholes=np.ones(len(values)))


def paired(before: Ratio, after: Ratio, people: NDArray[np.int64], *, unit: str) -> Estimate:
    """Estimate after - before over the same pictures: people are drawn anew once for both.

    Args:
        before: the figure of one encoder.
        after: the figure of the other, of the same pictures in the same order.
        people: whom the pictures show, (n,) codes.
        unit: of the figures.

    """
    totals = by_person(np.stack([before.parts, before.wholes, after.parts, after.wholes], axis=1), people)
    totals = totals[(totals[:, 1] > 0) | (totals[:, 3] > 0)]

    def change(sums: Floats) -> Floats:
        moved: Floats = sums[:, 2] / sums[:, 3] - sums[:, 0] / sums[:, 1]
        return moved

    return estimate(totals, change, unit=unit)


def unpaired(before: Estimate, after: Estimate) -> Estimate:
    """Estimate after - before from two estimates alone, as if they were of other people each.

    The distances of the ends from the values are added in quadrature (Newcombe, "Interval estimation for the difference
    between independent proportions", Statistics in Medicine 1998; Zou and Donner, the same 2008, for any figure). Where
    the same people make both figures rise or fall together, the interval is wider than it need be.
    """
    value = after.value - before.value
    return Estimate(
        value=value,
        low=value - hypot(after.value - after.low, before.high - before.value),
        high=value + hypot(after.high - after.value, before.value - before.low),
        n=min(before.n, after.n),
        unit=after.unit,
    )
