"""Pairs compared in blocks are those of the whole matrix, whatever the size of a block, in a fraction of its memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from oneway.metrics import linkage, pairs
from oneway.metrics.identity import pairs_of_people, threshold
from oneway.metrics.pairs import compare, num_apart, thresholds

RATES = (1e-4, 1e-3, 1e-2, 0.3, 0.999)
Vectors = NDArray[np.float32]
People = NDArray[np.int64]


def crowd(n: int, *, d: int = 8, shots: int = 5) -> tuple[Vectors, Vectors, People]:
    """Vectors whose numbers are sixteenths, so that every order of adding gives the same cosine, and ties occur."""
    generator = np.random.default_rng(0)
    people = generator.permutation(np.arange(n) // shots) + 100
    stolen, photographs = (
        (generator.integers(-16, 17, (n, d)) + 8 * generator.integers(-1, 2, (people.max() + 1, d))[people]) / 16
        for _ in range(2)
    )
    return stolen.astype(np.float32), photographs.astype(np.float32), people


@pytest.fixture(params=[1, 1000, 9001, 2**24])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Cosines at a time: a row, some rows, rows of which the last block has fewer, and all."""
    monkeypatch.setattr(pairs, "BLOCK", request.param)
    return int(request.param)


def test_thresholds_are_the_quantiles_of_all_pairs(block: int) -> None:
    stolen, photographs, people = crowd(400)
    cosines = (stolen @ photographs.T)[people[:, None] != people[None, :]]
    assert len(cosines) == 2 * num_apart(people)
    dtype = np.float64 if block < 400**2 else np.float32
    expected = [np.quantile(cosines.astype(dtype), 1 - rate) for rate in RATES[1:]]
    assert thresholds(stolen, photographs, people, RATES) == [None, *expected]


def test_the_threshold_of_a_judge_counts_a_pair_once(block: int) -> None:
    features, _, people = crowd(400)
    cosines = (features @ features.T)[people[:, None] < people[None, :]]
    dtype = np.float64 if block < 400**2 else np.float32
    for rate in RATES[1:]:
        assert threshold(features, people, false_accept_rate=rate) == np.quantile(cosines.astype(dtype), 1 - rate)


def test_what_thresholds_let_in_is_what_all_pairs_say(block: int) -> None:
    stolen, photographs, people = crowd(150)
    cosines, same = stolen @ photographs.T, people[:, None] == people[None, :]
    at = (0.5, 2.0, float(np.median(cosines)))
    found = compare(stolen, photographs, people, at)
    apart = same & ~np.eye(len(people), dtype=bool)
    np.testing.assert_array_equal(found.pairs, apart.sum(axis=1))
    for place, least in enumerate(at):
        np.testing.assert_array_equal(found.accepted[place], (apart & (cosines > least)).sum(axis=1))
        assert found.false_accept_rates[place] == (cosines > least)[~same].mean()


def test_pairs_of_people_are_those_of_the_whole_matrix(block: int) -> None:
    features, _, people = crowd(150)
    cosines, same = features @ features.T, people[:, None] == people[None, :]
    apart = same & ~np.eye(len(people), dtype=bool)
    found = pairs_of_people(features, people, [0.5, 1.0])
    if block == 2**24:  # one block: to the bit
        assert (found.same, found.different) == (float(cosines[apart].mean()), float(cosines[~same].mean()))
    assert found.same == pytest.approx(cosines[apart].mean(dtype=np.float64), rel=1e-5)
    assert found.different == pytest.approx(cosines[~same].mean(dtype=np.float64), rel=1e-5)
    np.testing.assert_array_equal(found.pairs, apart.sum(axis=1))
    np.testing.assert_array_equal(found.accepted, [(apart & (cosines > at)).sum(axis=1) for at in (0.5, 1.0)])


def test_people_of_one_picture_and_one_person_alone_have_no_mean() -> None:
    features, _, people = crowd(20)
    assert pairs_of_people(features, np.arange(20)).same is None
    assert pairs_of_people(features, np.zeros(20, dtype=np.int64)).different is None
    assert pairs_of_people(features, people).accepted.shape == (0, 20)


def test_the_place_in_a_gallery_does_not_depend_on_blocks(block: int) -> None:
    stolen, photographs, people = crowd(150)
    first = np.unique(people, return_index=True)[1]
    probes = np.setdiff1d(np.arange(150), first)
    cosines = stolen[probes] @ photographs[first].T
    own = np.array([row[people[first] == person] for row, person in zip(cosines, people[probes], strict=True)])
    places = (cosines > own).sum(axis=1) + ((cosines == own).sum(axis=1) - 1) / 2
    for rank in (1, 5):
        found = linkage.identification(stolen, photographs, people, rank=rank)
        assert found is not None
        assert found.value == (places < rank).mean()


def test_memory_is_that_of_a_block_and_of_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    n, d, block = 6000, 64, 2**18
    monkeypatch.setattr(pairs, "BLOCK", block)
    people = np.arange(n) // 20
    vectors = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for work in (
        lambda: thresholds(vectors, vectors, people, [1e-3, 1e-4]),
        lambda: threshold(vectors, people, false_accept_rate=1e-3),
        lambda: compare(vectors, vectors, people, [0.1, 0.5]),
        lambda: pairs_of_people(vectors, people, [0.1]),
        lambda: linkage.identification(vectors, vectors, people, rank=1),
    ):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * 4 * block + vectors.nbytes + 4 * n  # of all pairs the cosines alone would take 144 MB
