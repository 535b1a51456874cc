"""The scatter of features by person: the one of analysis of variance, and nothing but chance for random features."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.feature_selection import f_classif

from oneway.attacks.access import FeatureDump
from oneway.auditing.inference import scattered
from oneway.auditing.steps import StepResult
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


@pytest.mark.parametrize("shots", [2, 3, 7])
def test_templates_that_all_pictures_of_a_person_share_have_no_scatter_within(shots: int) -> None:
    _, people = drawn(9, 0.0, shots=shots)
    templates = np.random.default_rng(10).random((200, 6), dtype=np.float32)[people]
    found = scatter(templates, people)
    assert (found["within"].value, found["within"].low, found["within"].high) == (0, 0, 0)
    assert found["between"].value == pytest.approx(templates.var(axis=0).sum(), rel=1e-5)


def step(features: NDArray[Any], people: NDArray[np.int64]) -> StepResult:
    test = SimpleNamespace(split="test", identities=people, num_people=len(np.unique(people)))
    part: Any = type("Part", (SimpleNamespace,), {"__len__": lambda _: len(people)})(**vars(test))
    access = FeatureDump({"test": features.astype(np.float32)}, torch.device("cpu"))
    context: Any = SimpleNamespace(
        pack=SimpleNamespace(test=part), stolen=SimpleNamespace(access=access), config=SimpleNamespace(seed=0)
    )
    return scattered(context, context)


def test_a_step_without_a_finite_score_is_refused_and_every_other_has_one() -> None:
    features, people = drawn(11, 1.0)
    templates = features[np.unique(people, return_index=True)[1]][np.unique(people, return_inverse=True)[1]]
    shared, constant = step(templates, people).facts, step(np.full_like(features, 0.1), people).facts
    assert shared.refused == constant.refused
    assert (
        shared.refused
        == "all pictures of each test person have the same features, so there is no scatter within a person"
    )
    few, many = templates.copy(), templates.copy()
    few[people == 100] = features[people == 100]
    many[people < 130] = features[people < 130]
    assert step(few, people).facts.refused == (
        "too few test people have pictures with different features to say how far these scatter"
    )
    score = step(many, people).facts.scores["lda_score"]
    assert score is not None
    assert np.isfinite([score.low, score.value, score.high]).all()
