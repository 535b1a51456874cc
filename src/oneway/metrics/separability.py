"""How well features separate an attribute: what a picture of them can only suggest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, by_person, estimate, mean

NEIGHBOURS = 10
FOLDS = 5


def standardised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift and scale every number of features (n, d) to mean 0 and deviation 1; one that never varies becomes 0."""
    spread = features.std(axis=0)
    scaled: NDArray[np.float64] = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled


def separability(
    features: NDArray[np.float64], labels: NDArray[np.bool_], people: NDArray[np.int64]
) -> dict[str, Estimate]:
    """Say how well standardised features tell the images with an attribute from those without.

    Args:
        features: (n, d).
        labels: (n,).
        people: who is in each image, (n,); nobody is among the own neighbours.

    Returns:
        `accuracy`: balanced accuracy of a vote of the 10 nearest neighbours among other people's images (0.5 is
        chance), and `silhouette`: mean silhouette width of the two groups, -1..1 (0 is no separation; Rousseeuw
        1987). Both over people.

    Raises:
        InputError: if all labels are the same.

    """
    from sklearn.metrics import silhouette_samples
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier

    scaled = standardised(features)
    if labels.all() or not labels.any():
        raise InputError("all images have the same label of the attribute, so there is nothing to separate")
    voted = cross_val_predict(
        KNeighborsClassifier(min(NEIGHBOURS, len(labels) // 2), weights="distance"),
        scaled,
        labels,
        groups=people,
        cv=GroupKFold(min(FOLDS, len(np.unique(people)))),
        method="predict_proba",
    )[:, 1]
    # A rare attribute is seldom in the majority: called present where its share exceeds that among all images.
    right = (voted > labels.mean()) == labels
    counts = np.stack([right & labels, labels, right & ~labels, ~labels], axis=1).astype(np.float64)

    def balanced(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = 0.5 * (
            sums[:, 0] / np.maximum(sums[:, 1], 1) + sums[:, 2] / np.maximum(sums[:, 3], 1)
        )
        return found

    return {
        "accuracy": estimate(by_person(counts, people), balanced, unit="share"),
        "silhouette": mean(silhouette_samples(scaled, labels), people, unit="silhouette"),
    }
