"""How features gather by person: the scatter of linear discriminant analysis (Xiao et al. 2020, Table 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate, Floats, by_person, estimate

UNIT = "scatter"


def scatter(features: NDArray[np.floating], people: NDArray[np.int64]) -> dict[str, Estimate]:
    """Estimate `between`, `within` and `lda_score` = between / within of features whose classes are people.

    Both are traces of LDA's scatter matrices divided by the number of pictures: the mean squared distance of a
    picture's person's mean to the mean of all, and of a picture to its person's mean. In the intervals the mean of all
    is held fixed. The score grows with the scatter of a mean of few pictures, so compare it with `chance`. It is not
    finite where no person's pictures differ, and an end of its interval where only few people's do.

    Args:
        features: (n, d).
        people: (n,) codes; those with one picture are left out, since they have no scatter within.

    """
    features, people = _repeated(features, people)
    means, codes = _means(features, people)
    within = np.square(features - means[codes]).sum(axis=1, dtype=np.float64)
    within[_constant(features, codes)] = 0  # a mean of equal numbers may be rounded
    between = np.square(means[codes] - features.mean(axis=0)).sum(axis=1, dtype=np.float64)
    totals = by_person(np.stack([between, within, np.ones(len(people))], axis=1), people)
    with np.errstate(invalid="ignore"):  # between two infinite resamples nothing lies
        score = estimate(totals, _ratio, unit="ratio")
    return {
        "between": estimate(totals, lambda sums: sums[:, 0] / sums[:, 2], unit=UNIT),
        "within": estimate(totals, lambda sums: sums[:, 1] / sums[:, 2], unit=UNIT),
        "lda_score": score,
    }


def chance(features: NDArray[np.floating], people: NDArray[np.int64], *, seed: int = 0) -> float:
    """Give the score with the people shuffled: about 1 / (k - 1) where each has k pictures."""
    shuffled = np.random.default_rng(seed).permutation(people)
    return scatter(features, shuffled)["lda_score"].value


def _ratio(sums: Floats) -> Floats:
    ratio: Floats = sums[:, 0] / np.where(sums[:, 1] > 0, sums[:, 1], np.nan)
    return np.where(np.isnan(ratio), np.inf, ratio)


def _repeated(
    features: NDArray[np.floating], people: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    _, codes, counts = np.unique(people, return_inverse=True, return_counts=True)
    kept = counts[codes] > 1
    return features[kept], people[kept]


def _constant(features: NDArray[np.floating], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each picture whether all pictures of its person have the same features, (n,)."""
    first = np.unique(codes, return_index=True)[1]
    differs = (features != features[first[codes]]).any(axis=1)
    constant: NDArray[np.bool_] = np.bincount(codes, weights=differs)[codes] == 0
    return constant


def _means(features: NDArray[np.floating], people: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    _, codes, counts = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, codes, features)
    return sums / counts[:, None], codes
