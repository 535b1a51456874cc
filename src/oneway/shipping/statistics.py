"""What is measured of answers, pure functions of numbers, and how far the means of honest answers lie apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from oneway.config import NotNegative, Several, record
from oneway.shipping.contract import Floats, Numbers

MIXED: Final = 128
"""Numbers at most of which all products are kept; of more, as many mixtures."""
GROUPS: Final = 256
"""People are taken together in so many groups at most, so that a large part takes no more memory."""
RIDGE: Final = 1e-3
"""Share of the mean variance that is added to every variance."""
CELL: Final = 0.005
"""Least share of the numbers in a cell of neighbouring levels."""
_BLOCK: Final = 1024
Measured = Callable[[Floats], Floats]
"""Maps answers (n, numbers) to what is measured of each, (n, q)."""
People = NDArray[np.int64]
Means = NDArray[np.float64]


@record
@dataclass(frozen=True, kw_only=True)
class Moments:
    """What was measured of each picture, q numbers: their means, and how means of others lie about them.

    The mean over n pictures has the covariance S / n, where S is taken over people and so counts that pictures of one
    person are alike. Pictures that are compared may show each person as often as those of the reference do.

    Attributes:
        mean: (q,).
        trace: of S.
        freedom: trace(S)^2 / trace(S^2): so many independent directions of one size vary like S, 1..q.
        spread: variance over groups of people of their share of the trace, by the square of its mean: 2 / freedom for
            Gaussian numbers, more where some people stand out.
        groups: of people, by which S was estimated.

    """

    mean: Annotated[list[float], Field(min_length=1)]
    trace: NotNegative
    freedom: Annotated[float, Field(ge=1)]
    spread: NotNegative
    groups: Several


def moments(measured: Measured, vectors: Floats, people: People) -> Moments:
    """Find the moments of what is measured of answers (n, numbers) for pictures of people (n,)."""
    codes = np.unique(people, return_inverse=True)[1]
    groups = codes // -(-(codes.max() + 1) // GROUPS)  # of equally many people
    count = int(groups.max()) + 1
    member = (groups == np.arange(count)[:, None]).astype(np.float32)  # (groups, n)
    sums = sum(member[:, rows] @ measured(vectors[rows]) for rows in blocks(len(vectors))).astype(np.float64)
    mean = sums.sum(axis=0) / len(vectors)
    centred = sums - member.sum(axis=1, keepdims=True) * mean
    inner = centred @ centred.T / len(vectors)
    trace = float(np.trace(inner)) * count / (count - 1)
    squared = _unbiased(inner)
    freedom = trace**2 / squared if squared > 0 else 1.0
    return Moments(
        mean=[short(value) for value in mean],
        trace=short(trace),
        freedom=short(min(max(1.0, freedom), len(mean))),
        spread=short(float(np.diag(inner).var(ddof=1)) * (count / max(trace, 1e-12)) ** 2),
        groups=count,
    )


def _unbiased(inner: Means) -> float:
    """Estimate trace(S^2) of inner products (g, g) of what was summed over each of g groups.

    By the sum of squares off the diagonal, each row and column centred without it (Szekely and Rizzo 2014).
    """
    count = len(inner)
    off = inner - np.diag(np.diag(inner))
    rows = off.sum(axis=1) / (count - 2)
    centred = off - rows - rows[:, None] + off.sum() / ((count - 1) * (count - 2))
    np.fill_diagonal(centred, 0)
    return float(np.square(centred).sum() * count / (count - 3))


def mean_of(measured: Measured, vectors: Floats) -> Means:
    """Give the mean (q,) of what is measured of answers (n, numbers)."""
    sums = sum(measured(vectors[rows]).sum(axis=0, dtype=np.float64) for rows in blocks(len(vectors)))
    return np.asarray(sums / len(vectors))


@dataclass(frozen=True)
class White:
    """A fixed map of answers to numbers that people vary in equally, none more than another.

    Attributes:
        centre: (k,).
        whitening: (k, k).

    """

    centre: Floats
    whitening: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """Map answers (n, numbers) to (n, k)."""
        return np.asarray((_mixed(vectors) - self.centre) @ self.whitening)

    def products(self, vectors: Floats) -> Floats:
        """Give all products of two of these numbers, (n, k (k + 1) / 2).

        Those of two different ones are times the root of 2, so that squares add up to those of the whole matrix.
        """
        white = self(vectors)
        first, second = np.triu_indices(white.shape[1])
        scale = np.where(first == second, 1, math.sqrt(2)).astype(np.float32)
        return np.asarray(white[:, first] * white[:, second] * scale)


def white_of(vectors: Floats) -> White:
    """Find the map by which these answers (n, numbers) have the covariance 1, a little ridge apart."""
    mixtures = _mixed(vectors).astype(np.float64)
    centre = mixtures.mean(axis=0)
    covariance = np.atleast_2d(np.cov(mixtures, rowvar=False))
    ridge = RIDGE * max(1e-12, np.trace(covariance) / len(centre))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance + ridge * np.eye(len(centre))))
    return White(centre.astype(np.float32), whitening.astype(np.float32))


def _mixed(vectors: Floats) -> Floats:
    """Give the numbers (n, numbers) themselves, or 128 fixed mixtures (n, 128) of more."""
    numbers = vectors.shape[1]
    if numbers <= MIXED:
        return vectors
    signs = np.random.default_rng(0).choice([-1, 1], (numbers, MIXED)) / math.sqrt(numbers)
    return vectors @ signs.astype(np.float32)


def power(vectors: Floats) -> Floats:
    """Give the mean square (n, 1) of the numbers of each answer."""
    return np.asarray(np.square(vectors).mean(axis=1, keepdims=True))


def shares(cells: list[int] | NDArray[np.int64], share: Means, step: float, vectors: Floats) -> Floats:
    """Give the share (n, cells) of an answer's numbers in each cell, by the root of its mean `share`."""
    levels = np.rint(vectors / step).astype(np.int64)
    place = np.searchsorted(cells, levels, side="right") - 1
    rows = np.arange(len(vectors))[:, None] * len(cells)
    counted = np.bincount((rows + np.maximum(place, 0)).ravel(), minlength=len(vectors) * len(cells))
    found = counted.reshape(len(vectors), -1) / (levels.shape[1] * np.sqrt(share))
    return np.asarray(found.astype(np.float32))


def cells_of(levels: Numbers) -> NDArray[np.int64]:
    """Choose the first levels of cells, each with at least `CELL` of the numbers."""
    present, counts = np.unique(levels, return_counts=True)
    firsts, held = [int(present[0])], 0
    for level, count in zip(present.tolist(), counts.tolist(), strict=True):
        if held >= CELL * levels.size:
            firsts.append(level)
            held = 0
        held += count
    if held < CELL * levels.size and len(firsts) > 1:
        firsts.pop()
    return np.array(firsts)


def within(vectors: Floats, pictures: People) -> tuple[float, int, Floats]:
    """Give the deviation of a number over answers for one picture, of how many free numbers, and what deviates.

    Args:
        vectors: (n, numbers).
        pictures: (n,) which each is an answer for.

    """
    _, codes, counts = np.unique(pictures, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, codes, vectors)
    differ = (vectors - sums[codes] / counts[codes, None]).astype(np.float32)
    free = (len(vectors) - len(counts)) * vectors.shape[1]
    return math.sqrt(float(np.square(differ, dtype=np.float64).sum()) / max(1, free)), free, differ


def alike(white: Floats, pictures: People, people: People) -> Means:
    """Give for each person with several pictures the mean cosine of answers for two of them: (people,).

    Args:
        white: (n, k) answers, by `White`.
        pictures: (n,) which each is an answer for.
        people: (n,) who is in it.

    """
    unit = white / np.maximum(np.linalg.norm(white, axis=1, keepdims=True), 1e-12)
    found = []
    for person in np.unique(people):
        own = np.flatnonzero(people == person)
        apart = pictures[own, None] != pictures[own]
        if apart.any():
            found.append(float((unit[own] @ unit[own].T)[apart].mean()))
    return np.array(found)


def blocks(count: int) -> Iterator[slice]:
    """Give slices of so many rows, some at a time."""
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def short(value: float) -> float:
    """Six digits are more than a mean of thousands has."""
    return float(f"{value:.6g}")
