"""The attacker who has only the task's answers: the nearest public picture, by brute force and by law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneway.attacks.floors import nearest_by_output


def bits(seed: int, count: int, attributes: int) -> np.ndarray:
    return np.random.default_rng(seed).random((count, attributes)) < 0.5


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 20), st.integers(1, 12), st.integers(0, 9))
def test_no_public_picture_is_nearer(seed: int, victims: int, publics: int, attributes: int, choice: int) -> None:
    outputs, public = bits(seed, victims, attributes), bits(seed + 1, publics, attributes)
    chosen = nearest_by_output(outputs, public, seed=choice)
    distances = (outputs[:, None, :] ^ public[None, :, :]).sum(axis=2)
    assert chosen.shape == (victims,)
    assert np.array_equal(distances[np.arange(victims), chosen], distances.min(axis=1))


def test_many_victims_are_found_in_their_order() -> None:
    public = bits(0, 600, 30)
    victims = np.random.default_rng(1).permutation(600)
    assert len(np.unique(public, axis=0)) == 600
    assert np.array_equal(nearest_by_output(public[victims], public), victims)


def test_ties_are_drawn_by_the_seed_among_all_that_are_nearest() -> None:
    public = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=bool)
    outputs = np.zeros((1, 3), dtype=bool)
    drawn = [int(nearest_by_output(outputs, public, seed=seed)[0]) for seed in range(60)]
    assert set(drawn) == {1, 3, 4}
    assert min(drawn.count(index) for index in (1, 3, 4)) > 8
    assert drawn == [int(nearest_by_output(outputs, public, seed=seed)[0]) for seed in range(60)]


@pytest.mark.parametrize("victims", [1, 255, 256, 257, 512])
def test_every_victim_gets_one(victims: int) -> None:
    assert nearest_by_output(bits(0, victims, 5), bits(1, 40, 5)).shape == (victims,)
