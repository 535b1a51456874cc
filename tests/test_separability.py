from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from oneway.errors import InputError
from oneway.metrics.separability import separability


def groups(shift: float, *, each: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Two groups of features, some deviations apart; two images a person."""
    generator = np.random.default_rng(0)
    labels = np.repeat([False, True], each)
    features = generator.normal(size=(2 * each, 4))
    features[labels, 0] += shift
    return features, labels, np.repeat(np.arange(each), 2)


def test_groups_that_lie_apart_are_told_apart_and_noise_is_not() -> None:
    apart, alike = separability(*groups(20.0)), separability(*groups(0.0))
    assert apart["accuracy"].value == 1
    assert apart["silhouette"].value > 0.2
    assert alike["accuracy"].low < 0.5 < alike["accuracy"].high
    assert abs(alike["silhouette"].value) < 0.05


def test_the_silhouette_is_scikit_learns() -> None:
    features, labels, people = groups(2.0)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    found = separability(features, labels, people)["silhouette"]
    assert found.value == pytest.approx(silhouette_score(scaled, labels))


def test_a_rare_attribute_is_not_called_absent_by_majority() -> None:
    features, labels, people = groups(3.0, each=100)
    kept = ~labels | (np.cumsum(labels) <= 12)  # 12 of 112 images have it
    found = separability(features[kept], labels[kept], people[kept])["accuracy"]
    assert found.value > 0.85


def test_the_scale_of_a_feature_does_not_matter_and_a_constant_one_is_ignored() -> None:
    features, labels, people = groups(2.0)
    other = np.concatenate([features * [1e-3, 1.0, 1e4, 7.0], np.ones((len(features), 1))], axis=1)
    ours, theirs = separability(features, labels, people), separability(other, labels, people)
    assert ours["accuracy"].value == theirs["accuracy"].value
    assert ours["silhouette"].value == pytest.approx(theirs["silhouette"].value)


def test_one_label_for_all_cannot_be_separated() -> None:
    features, _, people = groups(2.0)
    with pytest.raises(InputError, match="the same label"):
        separability(features, np.ones(len(features), dtype=bool), people)
