"""Checks of answers for canaries: pictures that the provider knows, and lets devices answer several times."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from scipy import stats

from oneway.shipping.contract import Floats
from oneway.shipping.reference import Alike, Reference
from oneway.shipping.statistics import Means, People, within
from oneway.watching.report import Check, check

TOO_SMALL: Final = (
    "Noise is off or too small, so answers tell more than was audited: stop these devices, and give them the bundle's "
    "own client"
)
TOO_LARGE: Final = (
    "There is more noise than agreed, so decisions are worse than reported: compare the client of the devices with the "
    "bundle's"
)
ALIKE: Final = (
    "Devices draw the same noise, which can be taken off: let each draw from the operating system's entropy, with no "
    "seed, anew for each answer"
)
LINKED: Final = (
    "Pictures of one person can be linked more often than was audited: check the noise and the encoder of the devices, "
    "and audit the bundle anew with pictures as they are now"
)
_BLOCK: Final = 2**22


def noise(reference: Reference, agreed: float, vectors: Floats, pictures: People, rate: float) -> Check:
    """Hold the deviation of answers for one picture to the reference's, by an F test of two variances.

    Args:
        reference: of the bundle, with noise.
        agreed: the noise's deviation by the contract, before rounding.
        vectors: (n, numbers) of canaries.
        pictures: (n,) which each is an answer for; at least one has two.
        rate: at which it may raise a false alarm.

    """
    figure, free, _ = within(vectors, pictures)
    other = reference.pictures * reference.numbers
    low, high = (reference.noise * math.sqrt(stats.f.ppf(side, free, other)) for side in (rate / 2, 1 - rate / 2))
    said = f"deviation of answers for one canary, where {agreed:.4g} and rounding were agreed: {figure:.4g}"
    return check("noise", figure, said, TOO_SMALL if figure < low else TOO_LARGE, low=low, high=high)


def shared(vectors: Floats, pictures: People, rate: float) -> Check:
    """Look for two answers whose noises are alike, whatever pictures they were for and in whatever order.

    The noise of an answer is what it has beside the mean of all answers for its picture. The cosine r of two
    independent Gaussian noises of k numbers is such that r sqrt((k - 1) / (1 - r^2)) is Student's t with k - 1 degrees.

    Args:
        vectors: (n, numbers) of canaries, two numbers or more.
        pictures: (n,) which each is an answer for; at least one has two.
        rate: at which it may raise a false alarm.

    """
    _, codes, counts = np.unique(pictures, return_inverse=True, return_counts=True)
    differ = within(vectors, pictures)[2][counts[codes] > 1]
    length = np.linalg.norm(differ, axis=1, keepdims=True)
    unit, count, degrees = differ / np.maximum(length, 1e-12), len(differ), differ.shape[1] - 1
    figure, height = -1.0, max(1, _BLOCK // count)
    for start in range(0, count - 1, height):
        cosines = unit[start : start + height] @ unit[start + 1 :].T
        figure = max(figure, float(cosines[np.triu(np.ones(cosines.shape, np.bool_))].max()))
    if not length.all():
        figure = 1.0  # answers without any noise of their own
    most = float(stats.t.isf(rate / (count * (count - 1) / 2), degrees))
    high = most / math.sqrt(degrees + most**2)
    return check("shared noise", figure, f"largest cosine of the noises of two answers: {figure:.4g}", ALIKE, high=high)


def linkage(reference: Alike, found: Means, rate: float) -> Check:
    """Hold the mean cosine of pictures of one canary person to the reference's, by Welch's t test.

    Args:
        reference: of the bundle.
        found: (people,) by `statistics.alike`, of two people or more.
        rate: at which it may raise a false alarm.

    """
    figure = float(found.mean())
    ours, theirs = float(found.var(ddof=1)) / len(found), reference.deviation**2 / reference.people
    degrees = (ours + theirs) ** 2 / (ours**2 / (len(found) - 1) + theirs**2 / (reference.people - 1))
    high = reference.mean + float(stats.t.isf(rate, degrees)) * math.sqrt(ours + theirs)
    return check(
        "linkage", figure, f"mean cosine of two pictures of one canary person: {figure:.4g}", LINKED, high=high
    )
