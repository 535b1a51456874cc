"""The scatter of features by person: the one of analysis of variance, and nothing but chance for random features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_selection import f_classif

from oneway.metrics.scatter import chance, scatter


def drawn(seed: int, spread: float, *, num_people: int = 60, shots: int = 4, d: int = 6) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    """Draw features of which those of one person lie about a centre of its own, in a mixed order."""
    generator = np.random.default_rng(seed)
    people = generator.permutation(np.repeat(np.arange(num_people), shots)) + 100
    centres = spread * generator.normal(size=(num_people + 100, d))
    return centres[people] + generator.normal(size=(len(people), d)), people


def test_a_hand_made_case() -> None:
    features = np.array([[0.0], [2.0], [10.0], [12.0]])
    found = scatter(features, np.array([7, 7, 3, 3]))
    assert (found["between"].value, found["within"].value, found["lda_score"].value) == (25.0, 1.0, 25.0)


def test_the_score_is_the_f_statistic_but_for_the_degrees_of_freedom() -> None:
    features, people = drawn(0, 1.0, d=1)
    num_people, n = len(np.unique(people)), len(people)
    f = f_classif(features, people)[0][0]
    assert scatter(features, people)["lda_score"].value == pytest.approx(f * (num_people - 1) / (n - num_people))


def test_between_and_within_add_up_to_the_variance() -> None:
    features, people = drawn(1, 0.7)
    found = scatter(features, people)
    assert found["between"].value + found["within"].value == pytest.approx(features.var(axis=0).sum())


def test_the_score_changes_neither_with_rotation_nor_scale_nor_shift_nor_order() -> None:
    features, people = drawn(2, 1.0)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))[0]
    order = np.random.default_rng(4).permutation(len(people))
    expected = scatter(features, people)["lda_score"].value
    assert scatter(5 * features @ rotation + 3, people)["lda_score"].value == pytest.approx(expected)
    assert scatter(features[order], people[order])["lda_score"].value == pytest.approx(expected)


@pytest.mark.parametrize("shots", [2, 4])
def test_random_features_score_as_chance_does(shots: int) -> None:
    features, people = drawn(5, 0.0, num_people=200, shots=shots, d=16)
    score = scatter(features, people)["lda_score"].value
    assert score == pytest.approx(199 / (200 * (shots - 1)), rel=0.1)
    assert chance(features, people) == pytest.approx(score, rel=0.1)


def test_chance_is_the_same_however_far_people_lie_apart() -> None:
    shuffled = [chance(*drawn(6, spread, num_people=200)) for spread in (0.0, 3.0)]
    assert shuffled[1] == pytest.approx(shuffled[0], rel=0.15)


def test_people_further_apart_score_higher_and_the_value_lies_in_its_interval() -> None:
    scores = [scatter(*drawn(7, spread))["lda_score"] for spread in (0.0, 0.5, 1.0, 3.0)]
    assert [score.value for score in scores] == sorted(score.value for score in scores)
    assert all(score.low <= score.value <= score.high and score.n == 60 for score in scores)
    assert scores[0].high < scores[2].low


def test_who_is_seen_once_does_not_count() -> None:
    features, people = drawn(8, 1.0)
    more = np.concatenate([features, 100 * np.ones((3, 6))])
    found = scatter(more, np.concatenate([people, [1, 2, 3]]))
    assert found["lda_score"] == scatter(features, people)["lda_score"]
