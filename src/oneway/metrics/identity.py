"""Whether a picture still shows the person, by a face verifier's features (unit vectors of d numbers)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneway.metrics import pairs
from oneway.metrics.pairs import Counts, People

Features = NDArray[np.float32]


def similarity(first: Features, second: Features) -> NDArray[np.float64]:
    """Cosine similarity of each row of two sets of unit vectors, (n, d) each: (n,), in -1..1."""
    cosine: NDArray[np.float64] = np.einsum("nd,nd->n", first, second, dtype=np.float64)
    return cosine


def found_first(seen: Features, known: Features, rows: People) -> NDArray[np.float64]:
    """Say of each seen picture whether, of all known ones, the most similar is the one that it is of: (n,), 0 or 1.

    Args:
        seen: (n, d) unit vectors.
        known: (m, d) of the m pictures that are searched.
        rows: (n,) which of these each is of.

    """
    first: NDArray[np.float64] = np.zeros(len(seen))
    for part, cosines in pairs.blocks(seen, known):
        first[part] = cosines.argmax(axis=1) == rows[part]
    return first


def threshold(features: Features, people: People, *, false_accept_rate: float) -> float | None:
    """Find the similarity that a share `false_accept_rate` of the pairs of different people exceeds.

    Args:
        features: (n, d) of photographs.
        people: (n,) codes.
        false_accept_rate: in 0..1, such as 1e-3.

    Returns:
        nothing, if fewer than ten pairs of different people would exceed it: too few to measure.

    """
    return pairs.thresholds(features, features, people, [false_accept_rate], once=True)[0]


@dataclass(frozen=True, kw_only=True)
class PairsOfPeople:
    """How alike pictures of one person are, and of different people.

    Attributes:
        same: mean cosine of two pictures of one person; none where nobody appears twice.
        different: of two pictures of different people; none where there is one person.
        accepted: for each picture the other pictures of its person above each of k thresholds, (k, n).
        pairs: all other pictures of its person, (n,).

    """

    same: float | None
    different: float | None
    accepted: Counts
    pairs: Counts


def pairs_of_people(features: Features, people: People, at: Sequence[float] = ()) -> PairsOfPeople:
    """Compare every picture with every other, in blocks of rows (`metrics.pairs`), none with itself.

    From `accepted` and `pairs`, summed by person, follows the true accept rate at each threshold.

    Args:
        features: (n, d) unit vectors.
        people: (n,) codes.
        at: the k thresholds, such as `threshold` finds on other people; those that are none must be left out.

    """
    of_one: list[tuple[float, int]] = []
    apart: list[tuple[float, int]] = []
    accepted = np.zeros((len(at), len(people)))
    for rows, cosines in pairs.blocks(features, features):
        one = people[rows, None] == people
        apart.append(_mean(cosines[~one]))
        one[np.arange(len(cosines)), np.arange(len(people))[rows]] = False
        own, row = cosines[one], np.nonzero(one)[0]
        of_one.append(_mean(own))
        for place, least in enumerate(at):
            accepted[place, rows] = np.bincount(row[own > least], minlength=len(cosines))
    return PairsOfPeople(
        same=_weighted(of_one), different=_weighted(apart), accepted=accepted, pairs=pairs.others(people)
    )


def _mean(values: Features) -> tuple[float, int]:
    return (float(values.mean()) if len(values) else 0.0), len(values)


def _weighted(means: list[tuple[float, int]]) -> float | None:
    """Give the mean of all from the means of parts and how many they are of; of one part its own to the bit."""
    number = sum(count for _, count in means)
    return sum(mean * count for mean, count in means) / number if number else None
