"""Utility: Matthews correlation of predicted attributes, accuracies of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate, Floats, by_person, estimate


def confusion(predicted: NDArray[np.bool_], labels: NDArray[np.bool_]) -> Floats:
    """Say for each picture and attribute, (n, a), which of the four cases it is: (n, 4 * a), ordered TP TN FP FN."""
    cases = [predicted & labels, ~predicted & ~labels, predicted & ~labels, ~predicted & labels]
    return np.concatenate(cases, axis=1).astype(np.float64)


def mcc(counts: Floats) -> Floats:
    """Matthews correlation from counts (..., 4 * a) as `confusion` orders them: (..., a), in -1..1.

    A constant predictor, or labels of one kind only, give 0: such a predictor says nothing.
    """
    true_positive, true_negative, false_positive, false_negative = np.split(counts, 4, axis=-1)
    product = (
        (true_positive + false_positive)
        * (true_positive + false_negative)
        * (true_negative + false_positive)
        * (true_negative + false_negative)
    )
    covariance = true_positive * true_negative - false_positive * false_negative
    correlation: Floats = np.where(product > 0, covariance / np.sqrt(np.where(product > 0, product, 1)), 0.0)
    return correlation


def best_thresholds(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> Floats:
    """Find for each attribute the threshold above which calling it present has the highest Matthews correlation.

    A rare attribute is seldom more likely than not, so cutting at even odds says little of what is known about it.

    Args:
        scores: (n, a), logits or any other.
        labels: (n, a).

    Returns:
        (a,), halfway between two scores; 0 where no cut is better than a constant.

    """
    thresholds = np.zeros(scores.shape[1])
    for attribute in range(scores.shape[1]):
        order = np.argsort(-scores[:, attribute], kind="stable")
        ranked, held = scores[order, attribute].astype(np.float64), labels[order, attribute]
        hits, called = np.cumsum(held)[:-1], np.arange(1, len(held))
        present = held.sum()
        counts = [hits, len(held) - present - (called - hits), called - hits, present - hits]
        correlation = mcc(np.stack(counts, axis=1).astype(np.float64))[:, 0]
        correlation[ranked[:-1] == ranked[1:]] = 0  # equal scores cannot be told apart
        if len(correlation) and correlation.max() > 0:
            place = int(correlation.argmax())
            thresholds[attribute] = (ranked[place] + ranked[place + 1]) / 2
    return thresholds


def crossed_utility(scores: NDArray[np.floating], labels: NDArray[np.bool_], people: NDArray[np.int64]) -> float:
    """Give the mean MCC where each half of the people is decided on at the best thresholds of the other half.

    Args:
        scores: (n, a).
        labels: (n, a).
        people: (n,) codes.

    """
    half = np.unique(people, return_inverse=True)[1] % 2 == 0
    predicted = np.zeros(labels.shape, dtype=np.bool_)
    for chosen in (half, ~half):
        if chosen.any():
            predicted[~chosen] = scores[~chosen] > best_thresholds(scores[chosen], labels[chosen])
    return float(mcc(confusion(predicted, labels).sum(axis=0)).mean())


def utility(
    predicted: NDArray[np.bool_],
    labels: NDArray[np.bool_],
    people: NDArray[np.int64],
    attributes: tuple[str, ...],
) -> tuple[Estimate, dict[str, Estimate]]:
    """Estimate the mean MCC over attributes and each attribute's own.

    Args:
        predicted: (n, a).
        labels: (n, a).
        people: (n,) codes.
        attributes: the a names.

    """
    return correlations(confusion(predicted, labels), people, attributes)


def correlations(
    counts: Floats, people: NDArray[np.int64], attributes: Sequence[str]
) -> tuple[Estimate, dict[str, Estimate]]:
    """Estimate the same from the `confusion` of every picture, (n, 4 a)."""
    totals = by_person(counts, people)
    return estimate(totals, lambda sums: mcc(sums).mean(axis=1), unit="MCC"), each_mcc(totals, attributes)


def each_mcc(totals: Floats, attributes: Sequence[str]) -> dict[str, Estimate]:
    """Estimate the MCC of each attribute from the `confusion` of every person, (people, 4 a)."""
    return {
        name: estimate(totals[:, index :: len(attributes)], lambda sums: mcc(sums)[:, 0], unit="MCC")
        for index, name in enumerate(attributes)
    }


def recall(sums: Floats) -> Floats:
    """Give the share that is recognised of each class, from how many are, and how many there are: (..., 2 k) to (...).

    Of several classes the mean, over those that there are.
    """
    right, of = np.split(sums, 2, axis=-1)
    there = of > 0
    shares: Floats = np.where(there, right / np.where(there, of, 1), 0).sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)
    return shares


def balanced_accuracy(sums: Floats, *, above_chance: bool = False) -> Floats:
    """Give the mean `recall` of classes; above chance, 0 is what a constant reaches and 1 perfection.

    Where there is one class only, a constant is perfect, and nothing is above chance.
    """
    found = recall(sums)
    if not above_chance:
        return found
    there = (np.split(sums, 2, axis=-1)[1] > 0).sum(axis=-1)
    several = there > 1
    chance = 1 / np.maximum(there, 1)
    return np.where(several, (found - chance) / np.where(several, 1 - chance, 1), 0.0)


def accuracy(sums: Floats) -> Floats:
    """Give the share of all pictures that are recognised, from the same counts: (..., 2 k) to (...)."""
    right, of = np.split(sums, 2, axis=-1)
    share: Floats = right.sum(axis=-1) / np.maximum(of.sum(axis=-1), 1)
    return share
