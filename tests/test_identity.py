from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oneway.metrics.identity import similarity, threshold


def unit(seed: int, n: int, d: int = 16) -> NDArray[np.float32]:
    features = np.random.default_rng(seed).normal(size=(n, d))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def people_of(n: int, shots: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of which those of one person are near each other, in a mixed order."""
    people = np.random.default_rng(0).permutation(np.arange(n) // shots) + 1000
    centres = unit(1, people.max() + 1)
    features = centres[people] + 0.5 * unit(2, n)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), people


def pairs_apart(features: NDArray[np.float32], people: NDArray[np.int64]) -> NDArray[np.float64]:
    """The similarities of all pairs of different people, by loops."""
    return np.array(
        [
            float(np.dot(features[i].astype(np.float64), features[j].astype(np.float64)))
            for i in range(len(people))
            for j in range(i)
            if people[i] != people[j]
        ]
    )


def test_similarity_is_the_cosine_of_each_pair() -> None:
    first, second = unit(0, 9), unit(1, 9)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    expected = [float(np.dot(a, b)) for a, b in zip(first, second, strict=True)] / norms
    np.testing.assert_allclose(similarity(first, second), expected, atol=1e-6)


def test_similarity_is_1_for_equals_minus_1_for_opposites_and_symmetric() -> None:
    first, second = unit(0, 9), unit(1, 9)
    np.testing.assert_allclose(similarity(first, first), 1, atol=1e-6)
    np.testing.assert_allclose(similarity(first, -first), -1, atol=1e-6)
    np.testing.assert_array_equal(similarity(first, second), similarity(second, first))


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
def test_the_share_of_wrongly_accepted_pairs_is_the_rate_asked(rate: float) -> None:
    features, people = people_of(180, 4)
    found = threshold(features, people, false_accept_rate=rate)
    apart = pairs_apart(features, people)
    assert found is not None
    assert (apart > found).mean() == pytest.approx(rate, abs=1.5 / len(apart))


def test_a_lower_rate_asks_for_more_similarity() -> None:
    features, people = people_of(180, 4)
    found = [threshold(features, people, false_accept_rate=rate) for rate in (0.001, 0.01, 0.1, 0.9)]
    assert found == sorted(found, reverse=True)  # type: ignore[type-var]
    assert len(set(found)) == 4


def test_neither_the_order_nor_pairs_of_one_person_matter() -> None:
    features, people = people_of(160, 4)
    found = threshold(features, people, false_accept_rate=0.01)
    order = np.random.default_rng(5).permutation(160)
    assert threshold(features[order], people[order], false_accept_rate=0.01) == pytest.approx(found, abs=1e-6)
    merged = features.copy()
    for person in np.unique(people):
        merged[people == person] = features[people == person][0]  # all alike within a person
    spread = pairs_apart(merged, people)
    expected = np.quantile(spread, 0.99)
    assert threshold(merged, people, false_accept_rate=0.01) == pytest.approx(expected, abs=1e-6)
    assert expected < 0.99  # although so many pairs are equal


def test_too_few_pairs_of_different_people_set_no_threshold() -> None:
    features, people = unit(0, 142), np.arange(142)
    assert 141 * 140 // 2 * 1e-3 < 10 <= 142 * 141 // 2 * 1e-3
    assert threshold(features, people, false_accept_rate=1e-3) is not None
    assert threshold(features[:141], people[:141], false_accept_rate=1e-3) is None
    assert threshold(features, np.zeros(142, dtype=np.int64), false_accept_rate=0.5) is None
