"""Linkability is what the densities say, 0 for equal and 1 for disjoint ones, and a floor says what few scores do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from oneway.metrics import unlinkability as unlinkable
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.metrics.unlinkability import MEASURES, Scores, histograms, local, measure, of_one_person, unlinkability

SHOTS = 40
Floats = NDArray[np.float64]


def scored(mated: Floats, other: Floats) -> Scores:
    """Scores of which each person has 40 mated ones, and as many times more of others as there are."""
    people = len(mated) // SHOTS
    return Scores(
        mated=mated,
        mated_people=np.repeat(np.arange(people), SHOTS),
        other=other,
        other_people=np.repeat(np.arange(people), len(other) // people),
    )


def gaussians(apart: float, *, people: int = 250) -> Scores:
    generator = np.random.default_rng(0)
    return scored(apart + generator.normal(size=SHOTS * people), generator.normal(size=5 * SHOTS * people))


def measured(scores: Scores) -> dict[str, Estimate]:
    found = {name: one for name, one in measure(scores).items() if one is not None}
    assert list(found) == list(MEASURES)
    assert all(0 <= one.low <= one.value <= one.high <= 1 for one in found.values())
    return found


def crowd(noise: float, *, num_people: int = 60, shots: int = 4) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    people = generator.permutation(np.repeat(np.arange(num_people), shots)) + 7
    vectors = generator.normal(size=(num_people + 7, 16))[people] + noise * generator.normal(size=(len(people), 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), people


def test_the_local_measure_is_that_of_the_paper() -> None:
    mated, other = np.array([0.2, 0.5, 0.3, 0.0, 0.0]), np.array([0.4, 0.25, 0.0, 0.35, 0.0])
    for prior in (1.0, 0.3, 5.0):
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = prior * mated / other
            expected = np.where(ratio > 1, 2 * ratio / (1 + ratio) - 1, 0)
        expected[2] = 1  # only pairs of one person have that score
        np.testing.assert_allclose(local(mated, other, prior=prior), expected, atol=1e-15)
        np.testing.assert_allclose(local(7 * mated, 7 * other, prior=prior), expected, atol=1e-15)


@pytest.mark.parametrize("apart", [0.5, 1.0, 2.0, 3.0, -1.0])
def test_two_gaussians_have_what_integration_gives(apart: float) -> None:
    def density(score: float) -> float:
        mated, other = stats.norm.pdf(score - apart), stats.norm.pdf(score)
        return float(mated * max(0.0, (mated - other) / (mated + other)))

    found = measured(gaussians(apart))
    whole = integrate.quad(density, -9, 9, limit=200)[0]
    assert found["d_sys"].value == pytest.approx(whole, abs=0.012)
    overlap = 2 * stats.norm.cdf(-abs(apart) / 2)  # of the two densities
    assert found["maximal_linkability"].value == pytest.approx(np.log2(2 - overlap), abs=0.012)


def test_equal_distributions_lie_near_0_and_disjoint_ones_at_1() -> None:
    assert measured(gaussians(0))["d_sys"].value < 0.02
    generator = np.random.default_rng(1)
    mated, other = generator.random(400), generator.random(4000)
    for shift in (2.0, -2.0):
        for found in measured(scored(mated + shift, other)).values():
            assert found.low == pytest.approx(1, abs=1e-12)
    for found in measured(scored(np.ones(400), np.ones(4000))).values():
        assert found.low == found.value == found.high == 0


def test_neither_the_scale_of_scores_nor_their_order_matters_and_noise_never_links_more() -> None:
    scores = gaussians(1.0, people=30)
    found = measured(scores)
    bent = replace(scores, mated=np.exp(3 * scores.mated), other=np.exp(3 * scores.other))
    assert measured(bent) == found
    order = np.random.default_rng(2).permutation(len(scores.mated))
    mixed = replace(scores, mated=scores.mated[order], mated_people=scores.mated_people[order])
    assert measured(mixed) == found
    rising = [measured(gaussians(apart, people=30)) for apart in (0.5, 1.0, 1.5)]
    for name in MEASURES:
        assert rising[0][name].high < rising[1][name].low < rising[1][name].high < rising[2][name].low


def test_histograms_count_every_score_once_for_its_person() -> None:
    scores = gaussians(1.0, people=3)
    counts = histograms(scores)
    assert counts.shape == (3, 2 * 6)  # 120 mated scores, 20 a bin
    np.testing.assert_array_equal(counts[:, :6].sum(axis=1), SHOTS)
    np.testing.assert_array_equal(counts[:, 6:].sum(axis=1), 5 * SHOTS)
    shares = counts[:, :6].sum(axis=0) / 120 + counts[:, 6:].sum(axis=0) / 600
    np.testing.assert_allclose(shares, 1 / 3, atol=0.01)


def test_too_few_scores_give_no_figure() -> None:
    enough = scored(np.arange(40.0), np.arange(40.0))
    assert None not in measure(enough).values()
    one_less = replace(enough, mated=enough.mated[1:], mated_people=enough.mated_people[1:])
    assert measure(one_less) == dict.fromkeys(MEASURES)
    vectors, people = crowd(1.0)
    for nobody in (np.arange(len(people)), np.zeros_like(people)):
        assert unlinkability(vectors, vectors, nobody) == (dict.fromkeys(MEASURES), {})


def test_people_are_linked_where_they_gather_and_lie_at_the_floor_where_they_do_not() -> None:
    linked, least = unlinkability(*2 * crowd(0.3)[:1], crowd(0.3)[1])
    for name in MEASURES:
        assert linked[name].low > 0.9 > 0.3 > least[name] > 0
        assert (linked[name].n, linked[name].unit) == (60, metrics()[name].unit)
    noise, people = crowd(1e6)
    nothing, least = unlinkability(noise, noise, people)
    for name in MEASURES:
        assert nothing[name].low <= 1.5 * least[name] <= 2.5 * nothing[name].high
    assert unlinkability(noise, noise, people) == (nothing, least)  # under a seed


def test_pairs_of_one_person_are_all_of_them_or_as_many_as_asked_of_everyone(monkeypatch: pytest.MonkeyPatch) -> None:
    people = np.array([5, 9, 5, 5, 7, 9, 9, 9])
    row, column = of_one_person(people, np.random.default_rng(0))
    every = {(i, j) for i in range(8) for j in range(8) if i != j and people[i] == people[j]}
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == every
    assert len(row) == len(every)
    monkeypatch.setattr(unlinkable, "PAIRS", 14)
    row, column = of_one_person(people, np.random.default_rng(0))
    found = set(zip(row.tolist(), column.tolist(), strict=True))
    assert found < every
    assert len(found) == len(row) == 14  # each picture with two others of its person
    assert of_one_person(np.arange(4), np.random.default_rng(0))[0].shape == (0,)
    assert of_one_person(np.arange(0), np.random.default_rng(0))[0].shape == (0,)


def test_many_pictures_are_compared_by_a_sample_of_their_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, people = crowd(1.0)
    whole, _ = unlinkability(vectors, vectors, people)
    monkeypatch.setattr(unlinkable, "PAIRS", 4000)
    some, _ = unlinkability(vectors, vectors, people)
    assert some["d_sys"] != whole["d_sys"]
    assert some["d_sys"].value == pytest.approx(whole["d_sys"].value, abs=0.05)
