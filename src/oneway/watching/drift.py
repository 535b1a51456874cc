"""Checks of answers for unknown pictures: are they what honest devices send, and has each its own noise?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy import stats

from oneway.shipping.contract import Floats
from oneway.shipping.reference import Reference
from oneway.shipping.statistics import Means, Moments, mean_of
from oneway.watching.report import Check, check

DRIFTED: Final = (
    "Another camera, crop, encoder or kind of people, or noise that is not new or not as agreed: find out what changed "
    "on the devices, mend it, or audit anew with pictures as they are now"
)
REPLAYED: Final = (
    "An answer was sent twice, or noise was used twice: refuse replayed answers, and let devices draw noise from the "
    "operating system's entropy, anew for each answer"
)
SAID: Final = {
    "mean": "squared distance of the mean from the audited one, by what chance gives: {:.4g}",
    "covariance": "squared distance of the covariance from the audited one, by what chance gives: {:.4g}",
    "power": "mean square of the numbers: {:.4g}",
    "levels": "squared distance of the shares of the levels from the audited ones, by what chance gives: {:.4g}",
}
_BLOCK: Final = 2**22
"""Pairs that are compared at a time."""


def means_of(reference: Reference, vectors: Floats) -> dict[str, Means]:
    """Give the mean of everything that is measured of answers (n, numbers), by name: all that `drift` needs."""
    return {name: mean_of(measured, vectors) for name, (measured, _) in reference.measures().items()}


def drift(reference: Reference, means: Mapping[str, Means], count: int, rate: float) -> list[Check]:
    """Compare the means of what is measured of answers with the reference's.

    The squared distance of two means of n and m honest pictures is divided by its expected value, tr(S) (1/n + 1/m), of
    which tr(S) is estimated. Such a ratio is spread like F, with degrees that make the variance of either part right
    (Satterthwaite 1946; of means in high dimension, Chen and Qin 2010); for one number it is Student's t squared.

    Args:
        reference: of the bundle.
        means: of what was received, as `means_of` gives them.
        count: of how many answers.
        rate: at which each check may raise a false alarm.

    """
    checks = []
    for name, (_, moments) in reference.measures().items():
        found, expected = means[name], np.array(moments.mean)
        chance = max(1e-12, moments.trace * (1 / count + 1 / reference.pictures))
        most = float(stats.f.isf(rate, *_degrees(moments, count / reference.pictures)))
        if name == "power":
            figure, margin = float(found[0]), math.sqrt(most * chance)
            low, high = float(expected[0]) - margin, float(expected[0]) + margin
            checks.append(check(name, figure, SAID[name].format(figure), DRIFTED, low=low, high=high))
        else:
            figure = float(np.square(found - expected).sum()) / chance
            checks.append(check(name, figure, SAID[name].format(figure), DRIFTED, high=most))
    return checks


def _degrees(moments: Moments, share: float) -> tuple[float, float]:
    """Give the degrees of freedom of the two parts, for answers that are this share of the reference's pictures."""
    groups = moments.groups * share
    beyond = max(0.0, moments.spread - 2 / moments.freedom)  # Gaussian numbers would have
    return 2 / (2 / moments.freedom + beyond / groups), 2 * (moments.groups - 1) / max(moments.spread, 1e-12)


def duplicates(reference: Reference, vectors: Floats, rate: float) -> Check:
    """Look for two answers that are nearer than their noises allow, even if they were for one picture.

    The squared distance of two answers for one picture, by twice the noise's variance, is spread like chi-squared
    with `numbers` degrees; for different pictures it is larger. So the bound holds whoever sends what how often.

    Args:
        reference: of the bundle, with noise.
        vectors: (n, numbers) that were received.
        rate: at which it may raise a false alarm.

    """
    count, numbers = vectors.shape
    exact = vectors.astype(np.float64)
    nearest, squares = math.inf, np.square(exact).sum(axis=1)
    height = max(1, _BLOCK // count)
    for start in range(0, count - 1, height):
        rows, later = slice(start, start + height), slice(start + 1, count)
        apart = squares[rows, None] + squares[later] - 2 * (exact[rows] @ exact[later].T)
        nearest = min(nearest, float(apart[np.triu(np.ones(apart.shape, np.bool_))].min()))
    pairs = count * (count - 1) / 2
    low = reference.noise * math.sqrt(float(stats.chi2.ppf(rate / pairs, numbers)) / numbers)
    figure = math.sqrt(max(0.0, nearest) / (2 * numbers))
    return check("duplicates", figure, f"the two nearest answers differ like noise of {figure:.4g}", REPLAYED, low=low)
