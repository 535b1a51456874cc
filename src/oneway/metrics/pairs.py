"""All pairs of many pictures, compared in blocks of rows, so that no matrix of all of them is ever in memory.

Two sets of unit vectors (n, d) of the same n pictures in the same order are compared by their cosines; a picture is
never compared with itself. Up to `BLOCK` pairs are one block, and give the same bits as the whole matrix does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
People = NDArray[np.int64]
Counts = NDArray[np.float64]
BLOCK = 2**24
"""Cosines in memory at a time: 64 MiB."""
LEAST_ACCEPTED = 10
"""Pairs of different people that must exceed a threshold for it to be measured."""


def blocks(first: Vectors, second: Vectors) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Give the cosines of all rows (n, d) with all rows (m, d), some rows of the first at a time: (k, m)."""
    height = max(1, BLOCK // max(1, len(second)))
    for start in range(0, len(first), height):
        rows = slice(start, start + height)
        yield rows, first[rows] @ second.T


def num_apart(people: People) -> int:
    """Count the pairs of pictures of different people, either order of two being one pair."""
    shots = np.unique(people, return_counts=True)[1]
    return (len(people) ** 2 - int(np.square(shots).sum())) // 2


def people_needed(people: People, false_accept_rate: float) -> int:
    """Give how many people, with as many pictures each as these have, would do for `thresholds` to measure a rate."""
    shots = np.unique(people, return_counts=True)[1]
    several, squared = float(shots.mean()), float(np.square(shots).mean())
    # So many pairs of different people: p people have (p^2 several^2 - p squared) / 2 of them.
    wanted = 2 * LEAST_ACCEPTED / false_accept_rate
    return math.ceil((squared + math.sqrt(squared**2 + 4 * several**2 * wanted)) / (2 * several**2))


def others(people: People) -> Counts:
    """Count for each picture the other pictures of its person: (n,)."""
    _, codes, shots = np.unique(people, return_inverse=True, return_counts=True)
    return (shots[codes] - 1).astype(np.float64)


def thresholds(
    first: Vectors, second: Vectors, people: People, false_accept_rates: Sequence[float], *, once: bool = False
) -> list[float | None]:
    """Find for each rate the cosine that this share of the pairs of different people exceeds.

    It is the quantile at 1 - rate, linear between the two cosines next to it, as `numpy.quantile` has it. Beyond one
    block only the largest cosines are kept, so memory grows with the highest rate.

    Args:
        first: (n, d).
        second: (n, d).
        people: (n,) codes.
        false_accept_rates: in 0..1, such as 1e-3.
        once: take either order of two pictures as one pair, where both sets are the same.

    Returns:
        nothing for a rate, if fewer than ten pairs of two pictures would exceed its threshold: too few to measure.

    """
    wanted = [rate for rate in false_accept_rates if num_apart(people) * rate >= LEAST_ACCEPTED]
    if not wanted:
        return [None] * len(false_accept_rates)
    pairs = num_apart(people) * (1 if once else 2)
    if len(first) * len(second) <= BLOCK:
        cosines = np.concatenate(list(_apart(first, second, people, once=once)))
        found = {rate: float(np.quantile(cosines, 1 - rate)) for rate in wanted}
    else:
        places = {rate: (pairs - 1) * (1 - rate) for rate in wanted}
        number = pairs - int(min(places.values()))
        largest = _largest(_apart(first, second, people, once=once), number)
        found = {rate: _between(largest, place - (pairs - number)) for rate, place in places.items()}
    return [found.get(rate) for rate in false_accept_rates]


def _apart(first: Vectors, second: Vectors, people: People, *, once: bool) -> Iterator[NDArray[np.float32]]:
    """Give the cosines of pairs of different people, block by block."""
    for rows, cosines in blocks(first, second):
        yield cosines[(people[rows, None] < people) if once else (people[rows, None] != people)]


def _largest(parts: Iterator[NDArray[np.float32]], number: int) -> NDArray[np.float32]:
    """Give the `number` largest of all values, in rising order."""
    kept = np.empty(0, dtype=np.float32)
    least = np.float32(-np.inf)
    for values in parts:
        kept = np.concatenate([kept, values[values > least]])
        if len(kept) > number:
            kept = np.partition(kept, len(kept) - number)[len(kept) - number :]
            least = kept[0]
    return np.sort(kept)


def _between(rising: NDArray[np.float32], place: float) -> float:
    """Interpolate linearly between the two values next to a place, counted from 0; to the bit as numpy does."""
    lower = int(place)
    low, high = float(rising[lower]), float(rising[min(lower + 1, len(rising) - 1)])
    above = place - lower
    return low + (high - low) * above if above < 0.5 else high - (high - low) * (1 - above)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What k thresholds let in of all pairs.

    Attributes:
        accepted: for each picture of the first set the other pictures of its person above each threshold, (k, n).
        pairs: all other pictures of its person, (n,).
        false_accept_rates: the share of pairs of different people above each threshold, (k,).

    """

    accepted: Counts
    pairs: Counts
    false_accept_rates: NDArray[np.float64]


def compare(first: Vectors, second: Vectors, people: People, at: Sequence[float]) -> Compared:
    """Count the pairs of one person, and of different people, whose cosine exceeds each of the thresholds `at`.

    Args:
        first: (n, d).
        second: (n, d).
        people: (n,) codes.
        at: the k thresholds.

    """
    accepted, wrongly = np.zeros((len(at), len(people))), np.zeros(len(at))
    for rows, cosines in blocks(first, second):
        row, column = np.nonzero(people[rows, None] == people)
        own, other = cosines[row, column], row + rows.start != column
        for place, least in enumerate(at):
            wrongly[place] += np.count_nonzero(cosines > least) - np.count_nonzero(own > least)
            right = row[other & (own > least)]
            accepted[place, rows] = np.bincount(right, minlength=len(cosines))
    met = wrongly / max(1, 2 * num_apart(people))
    return Compared(accepted=accepted, pairs=others(people), false_accept_rates=met)
