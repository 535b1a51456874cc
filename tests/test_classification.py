from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, matthews_corrcoef

from oneway.metrics.classification import best_thresholds, confusion, crossed_utility, mcc, utility

Bools = NDArray[np.bool_]
PAIRS = st.tuples(st.integers(1, 40), st.integers(1, 4)).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


def scores(predicted: Bools, labels: Bools) -> NDArray[np.float64]:
    return mcc(confusion(predicted, labels).sum(axis=0))


def correlation(ours: Bools, theirs: Bools) -> float:
    """The correlation of the numbers 0 and 1, which is that of Matthews; 0 where one of them never varies."""
    return float(np.corrcoef(ours, theirs)[0, 1]) if ours.std() and theirs.std() else 0.0


def drawn(seed: int, n: int = 300, attributes: int = 4) -> tuple[Bools, Bools]:
    """Labels, and predictions that are right more often the further the attribute."""
    generator = np.random.default_rng(seed)
    labels = generator.random((n, attributes)) < np.linspace(0.1, 0.6, attributes)
    wrong = generator.random((n, attributes)) < np.linspace(0.4, 0.05, attributes)
    return labels ^ wrong, labels


@pytest.mark.filterwarnings("ignore:A single label:UserWarning")
@settings(deadline=None)
@given(PAIRS)
def test_it_is_the_correlation_of_scikit_learn(pair: tuple[Bools, Bools]) -> None:
    predicted, labels = pair
    expected = [matthews_corrcoef(labels[:, place], predicted[:, place]) for place in range(labels.shape[1])]
    np.testing.assert_allclose(scores(predicted, labels), expected, atol=1e-12)


@settings(deadline=None)
@given(PAIRS)
def test_it_is_the_correlation_of_the_numbers_0_and_1(pair: tuple[Bools, Bools]) -> None:
    predicted, labels = pair
    for place, found in enumerate(scores(predicted, labels)):
        assert found == pytest.approx(correlation(predicted[:, place], labels[:, place]), abs=1e-9)


@settings(deadline=None)
@given(PAIRS)
def test_swaps_of_labels(pair: tuple[Bools, Bools]) -> None:
    predicted, labels = pair
    found = scores(predicted, labels)
    np.testing.assert_allclose(scores(~predicted, ~labels), found, atol=1e-12)
    np.testing.assert_allclose(scores(labels, predicted), found, atol=1e-12)
    np.testing.assert_allclose(scores(~predicted, labels), -found, atol=1e-12)
    assert (np.abs(found) <= 1 + 1e-12).all()


def test_a_constant_predictor_says_nothing_and_a_perfect_one_everything() -> None:
    _, labels = drawn(0)
    for constant in (True, False):
        assert scores(np.full_like(labels, constant), labels).tolist() == [0.0] * 4
        assert scores(labels, np.full_like(labels, constant)).tolist() == [0.0] * 4
    np.testing.assert_allclose(scores(labels, labels), 1)
    np.testing.assert_allclose(scores(~labels, labels), -1)


def test_many_counts_at_once_do_not_overflow() -> None:
    counts = np.array([[40_000.0, 150_000.0, 2_000.0, 8_000.0], [9.0, 1.0, 0.0, 2.0]])
    tp, tn, fp, fn = (int(count) for count in counts[0])
    exact = (tp * tn - fp * fn) / float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    assert mcc(counts)[0, 0] == pytest.approx(exact)
    np.testing.assert_allclose(mcc(counts)[1], mcc(counts[1]))


def test_each_picture_is_one_case_of_each_attribute() -> None:
    predicted, labels = drawn(1)
    cases = confusion(predicted, labels)
    assert cases.shape == (300, 16)
    np.testing.assert_array_equal(cases.reshape(300, 4, 4).sum(axis=1), 1)
    for place in range(4):
        tn, fp, fn, tp = confusion_matrix(labels[:, place], predicted[:, place]).ravel()
        assert cases.sum(axis=0)[place::4].tolist() == [tp, tn, fp, fn]


def test_utility_is_the_mean_over_attributes_and_each_alone() -> None:
    predicted, labels = drawn(2)
    people = np.arange(300) // 3
    names = ("a", "b", "c", "d")
    whole, each = utility(predicted, labels, people, names)
    expected = [matthews_corrcoef(labels[:, place], predicted[:, place]) for place in range(4)]
    assert tuple(each) == names
    np.testing.assert_allclose([each[name].value for name in names], expected)
    assert whole.value == pytest.approx(np.mean(expected))
    for found in (whole, *each.values()):
        assert found.low < found.value < found.high
        assert (found.n, found.unit) == (100, "MCC")
    spread = [each[name].high - each[name].low for name in names]
    assert whole.high - whole.low < np.mean(spread)  # attributes err independently here


def test_utility_by_people_is_wider_than_by_pictures_where_their_pictures_are_equal() -> None:
    predicted, labels = (np.repeat(array, 8, axis=0) for array in drawn(3, n=100))
    by_people, _ = utility(predicted, labels, np.repeat(np.arange(100), 8), ("a", "b", "c", "d"))
    by_pictures, _ = utility(predicted, labels, np.arange(800), ("a", "b", "c", "d"))
    assert by_people.value == pytest.approx(by_pictures.value)
    assert by_people.high - by_people.low > 2 * (by_pictures.high - by_pictures.low)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 30), st.booleans())
@example(381, 12, True)  # the best of all cuts is 0 but for rounding
def test_the_best_threshold_is_the_best_of_all_cuts(seed: int, n: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.random((n, 3)) < 0.3
    given_ = labels + generator.normal(0, 1, (n, 3))
    given_ = np.round(given_) if ties else given_
    found = best_thresholds(given_, labels)
    for attribute in range(3):
        cuts = [*np.unique(given_[:, attribute]), -np.inf]
        best = max(correlation(labels[:, attribute], given_[:, attribute] > cut) for cut in cuts)
        reached = float(scores(given_[:, [attribute]] > found[attribute], labels[:, [attribute]])[0])
        assert reached == pytest.approx(max(best, 0.0), abs=1e-9) or (best <= 1e-9 and found[attribute] == 0)


def test_a_label_that_never_varies_is_cut_at_even_odds() -> None:
    assert best_thresholds(np.arange(4.0)[:, None] + 5, np.ones((4, 1), dtype=np.bool_)).tolist() == [0.0]


def test_crossed_utility_decides_each_half_by_the_other() -> None:
    generator = np.random.default_rng(5)
    people = np.repeat(np.arange(60), 3)
    labels = generator.random((180, 2)) < 0.4
    given_ = labels + generator.normal(3, 0.5, (180, 2))  # all are above 0
    even = people % 2 == 0
    predicted = np.empty((180, 2), dtype=np.bool_)
    predicted[~even] = given_[~even] > best_thresholds(given_[even], labels[even])
    predicted[even] = given_[even] > best_thresholds(given_[~even], labels[~even])
    found = crossed_utility(given_, labels, people)
    assert found == pytest.approx(scores(predicted, labels).mean())
    assert found > 0.5
    assert crossed_utility(generator.normal(size=(180, 2)), labels, people) < 0.2
