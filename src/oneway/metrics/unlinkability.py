"""Unlinkability as ISO/IEC 24745 asks for it: what a score of two templates says of whether they are of one person.

Scores of pairs of one person are called mated, those of different people non-mated. Of both, histograms are compared
whose bins hold equal shares of the two together, each kind counted as a half: so nothing depends on the scale of the
scores, and no bin is empty, which makes smoothing needless. Merging scores into bins can only lower both measures;
that bins hold few scores raises them, so compare them with `floors`.

Sources: Gomez-Barrero, Galbally, Rathgeb and Busch, General Framework to Evaluate Unlinkability in Biometric Template
Protection Systems, IEEE TIFS 2018; Otroshi Shahreza, Shkel and Marcel, Measuring Linkability of Protected Biometric
Templates Using Maximal Leakage, IEEE TIFS 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate, Floats, estimate
from oneway.metrics.pairs import People, Vectors

Measure = Callable[[Floats, Floats], Floats]
PAIRS = 2**18
"""Pairs of each kind that are scored at most, drawn by the seed."""
PER_BIN = 20
"""Mated scores for each bin, which limits how far few of them raise the measures."""
BINS = 50
"""At most, and an even number."""
SHUFFLES = 4
"""Of the people, over which the floors are a mean."""


def local(mated: Floats, other: Floats, *, prior: float = 1.0) -> Floats:
    """Give the local linkability of scores of given densities: D = 2 w LR / (1 + w LR) - 1 where w LR > 1, else 0.

    Args:
        mated: density or probability of scores of pairs of one person, any shape.
        other: the same of pairs of different people; LR is `mated / other`.
        prior: w, how much likelier a pair is to be of one person than of two before its score is known.

    Returns:
        of that shape, in 0..1: 1 where only pairs of one person have such scores.

    """
    both = prior * mated + other
    linked: Floats = np.maximum(prior * mated - other, 0) / np.where(both > 0, both, 1)
    return linked


def d_sys(mated: Floats, other: Floats) -> Floats:
    """Give the global linkability: the mean of `local` (w = 1) over mated scores, 0 (unlinkable) to 1 (fully linkable).

    Args:
        mated: probability of each of b bins, (..., b).
        other: the same of pairs of different people.

    """
    total: Floats = (mated * local(mated, other)).sum(axis=-1)
    return np.minimum(total, 1)  # by rounding, a sum of shares may exceed 1


def maximal_linkability(mated: Floats, other: Floats) -> Floats:
    """Give the maximal leakage from a score about whether it is mated, in bits: log2 of the sum of the larger.

    Args:
        mated: probability of each of b bins, (..., b).
        other: the same of pairs of different people.

    Returns:
        (...), 0 where the two are alike, to 1 where no score is had by both.

    """
    bits: Floats = np.log2(np.clip(np.maximum(mated, other).sum(axis=-1), 1, 2))
    return bits


MEASURES: dict[str, tuple[Measure, str]] = {
    "d_sys": (d_sys, "D_sys"),
    "maximal_linkability": (maximal_linkability, "bits"),
}
"""By their names in results, with their units."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of pairs, (m,) mated and (k,) others, and for each the person of its first picture, as codes."""

    mated: Floats
    mated_people: People
    other: Floats
    other_people: People

    def enough(self) -> bool:
        """Say whether there are two bins' worth of mated scores, and any others."""
        return len(self.mated) >= 2 * PER_BIN and len(self.other) > 0


def histograms(scores: Scores) -> Floats:
    """Count the scores of every person in bins of equal mass: (num_people, 2 b), those of mated pairs first.

    There is a bin for every 20 mated scores, an even number, at most 50; fewer where scores are equal, since equal ones
    share a bin.
    """
    m, k = len(scores.mated), len(scores.other)
    pooled = np.concatenate([scores.mated, scores.other])
    order = np.argsort(pooled)
    mass = np.cumsum(np.where(order < m, k, m))  # whole numbers, so that equal shares are exactly so
    number = min(BINS, 2 * (m // (2 * PER_BIN)))
    edges = np.unique(pooled[order][np.searchsorted(mass, -(-2 * m * k * np.arange(1, number) // number))])
    bins = np.searchsorted(edges, pooled) + np.repeat([0, len(edges) + 1], [m, k])
    _, codes = np.unique(np.concatenate([scores.mated_people, scores.other_people]), return_inverse=True)
    width = 2 * (len(edges) + 1)
    counts = np.bincount(codes * width + bins, minlength=(codes.max() + 1) * width)
    return counts.reshape(-1, width).astype(np.float64)


def measure(scores: Scores) -> dict[str, Estimate | None]:
    """Estimate each of `MEASURES`, with intervals over the people of the first pictures; none of too few scores.

    The bins stay as they are while people are drawn anew. Drawing raises the measures once more, since some scores are
    then had several times, so an interval that would not hold its own value is widened to do so.
    """
    if not scores.enough():
        return dict.fromkeys(MEASURES)
    counts = histograms(scores)
    found: dict[str, Estimate | None] = {}
    for name, (measured, unit) in MEASURES.items():
        drawn = estimate(counts, partial(_of, measured), unit=unit)
        found[name] = replace(drawn, low=min(drawn.low, drawn.value), high=max(drawn.high, drawn.value))
    return found


def unlinkability(
    stolen: Vectors, photographs: Vectors, people: People, *, seed: int = 0
) -> tuple[dict[str, Estimate | None], dict[str, float]]:
    """Measure how far stolen features can be linked to photographs, by their cosines.

    Args:
        stolen: unit vectors (n, d).
        photographs: of the same n pictures in the same order; a picture is never compared with itself.
        people: (n,) codes; of those with one picture only the photograph is used, to be another's.
        seed: draws the pairs where there are more than `PAIRS` of a kind, and shuffles the people.

    Returns:
        each of `MEASURES`, none where there are too few pairs; and what each says where there is nothing to link: its
        mean over shuffled people.

    """
    generator = np.random.default_rng(seed)
    n = len(people)
    # A picture is compared with those so many places behind it: with all of them, where these pairs are few enough.
    behind = 1 + generator.permutation(n - 1)[: max(1, PAIRS // n)]
    first = np.tile(np.arange(n), len(behind))
    second = (first + np.repeat(behind, n)) % n
    cosines = _cosines(stolen, photographs, first, second)

    def scored(people: People) -> Scores:
        row, column = of_one_person(people, generator)
        several = np.isin(people, people[row])
        apart = (people[first] != people[second]) & several[first]
        return Scores(
            mated=_cosines(stolen, photographs, row, column),
            mated_people=people[row],
            other=cosines[apart],
            other_people=people[first[apart]],
        )

    scores = scored(people)
    if not scores.enough():
        return dict.fromkeys(MEASURES), {}
    shuffled = [histograms(scored(generator.permutation(people))).sum(axis=0, keepdims=True) for _ in range(SHUFFLES)]
    floors = {
        name: float(np.mean([_of(measured, counts) for counts in shuffled])) for name, (measured, _) in MEASURES.items()
    }
    return measure(scores), floors


def of_one_person(people: People, generator: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the places of all ordered pairs of two pictures of one person: (m,) first and (m,) second.

    Where they are more than `PAIRS`, each picture is paired with so many others of its person, drawn, as keep to that.
    """
    order = np.lexsort((generator.random(len(people)), people))
    _, start, codes, shots = np.unique(people[order], return_index=True, return_inverse=True, return_counts=True)
    size, start = shots[codes], start[codes]
    paired = np.cumsum([np.count_nonzero(size > behind) for behind in range(1, int(size.max(initial=1)))])
    furthest = max(1, int(np.searchsorted(paired, PAIRS, side="right")))
    first, second = [], []
    for behind in range(1, min(furthest, len(paired)) + 1):
        place = np.flatnonzero(size > behind)
        first.append(order[place])
        second.append(order[start[place] + (place - start[place] + behind) % size[place]])
    none = np.empty(0, dtype=np.int64)
    return np.concatenate([none, *first]), np.concatenate([none, *second])


def _cosines(stolen: Vectors, photographs: Vectors, first: NDArray[np.int64], second: NDArray[np.int64]) -> Floats:
    """Give the cosine of each pair, (m,), some thousand at a time."""
    parts = [slice(start, start + 2**14) for start in range(0, len(first), 2**14)]
    cosines = [np.einsum("nd,nd->n", stolen[first[part]], photographs[second[part]]) for part in parts]
    return np.concatenate([np.empty(0), *cosines])


def _of(measured: Measure, counts: Floats) -> Floats:
    """Measure counts as `histograms` orders them, (..., 2 b): (...)."""
    mated, other = (part / np.maximum(part.sum(axis=-1, keepdims=True), 1) for part in np.split(counts, 2, axis=-1))
    return measured(mated, other)
