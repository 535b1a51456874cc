"""Linkage: the rates are those of the ROC curve, guessing is worth chance, and the ways beat it on a bare encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score, roc_curve

import oneway
from oneway.attacks import linkage as linking
from oneway.attacks.access import BlackBox, FeatureDump
from oneway.attacks.linkage import Components, Cosine, First, LikelihoodRatio, normalise
from oneway.data.packed import Part
from oneway.metrics import linkage
from oneway.metrics.pairs import compare, thresholds
from oneway.runtime import launch

pytestmark = pytest.mark.whole

Vectors = NDArray[np.float32]
People = NDArray[np.int64]


def crowd(noise: float, *, num_people: int = 80, shots: int = 4, d: int = 16) -> tuple[Vectors, People]:
    """Unit vectors of which those of one person lie about a centre of its own, in a mixed order."""
    generator = np.random.default_rng(0)
    people = generator.permutation(np.repeat(np.arange(num_people), shots))
    centres = normalise(generator.normal(size=(num_people, d)))
    return normalise(centres[people] + noise * generator.normal(size=(len(people), d))), people


def one_hot() -> tuple[Vectors, People]:
    people = np.repeat(np.arange(40), 4)
    return np.eye(40, dtype=np.float32)[people], people


def rate(stolen: Vectors, photographs: Vectors, people: People, at: float) -> oneway.Estimate:
    compared = compare(stolen, photographs, people, [at])
    found = linkage.true_accept_rate(compared.accepted[0], compared.pairs, people)
    assert found is not None
    return found


def threshold(vectors: Vectors, people: People, false_accept_rate: float) -> float | None:
    return thresholds(vectors, vectors, people, [false_accept_rate])[0]


def met(vectors: Vectors, people: People, at: float) -> float:
    return float(compare(vectors, vectors, people, [at]).false_accept_rates[0])


def test_the_rates_lie_on_the_roc_curve() -> None:
    vectors, people = crowd(0.3)
    apart = ~np.eye(len(people), dtype=bool)
    same = people[:, None] == people[None, :]
    false, true, thresholds = roc_curve(same[apart], (vectors @ vectors.T)[apart], drop_intermediate=False)
    for false_accept_rate in (1e-2, 1e-1):
        at = threshold(vectors, people, false_accept_rate)
        assert at is not None
        place = np.flatnonzero(thresholds > at)[-1]
        assert rate(vectors, vectors, people, at).value == pytest.approx(true[place], abs=1e-6)
        reached = met(vectors, people, at)
        assert reached == pytest.approx(false[place], abs=1e-6)
        assert reached == pytest.approx(false_accept_rate, rel=0.01)


def test_a_hand_made_case() -> None:
    stolen = normalise(np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.2]]))
    people = np.array([0, 0, 1, 1])
    compared = compare(stolen, stolen, people, [0.9])
    assert compared.accepted.tolist() == [[1, 1, 0, 0]]
    assert compared.pairs.tolist() == [1, 1, 1, 1]
    assert rate(stolen, stolen, people, 0.9).value == 0.5
    assert met(stolen, people, 0.9) == 0.5
    first = linkage.identification(stolen, stolen, people, rank=1)
    assert first is not None
    assert (first.value, first.n) == (0.5, 2)


def test_people_who_are_all_alike_within_and_apart_without_are_linked_without_error() -> None:
    vectors, people = one_hot()
    assert rate(vectors, vectors, people, 0.5).value == 1
    assert met(vectors, people, 0.5) == 0
    first = linkage.identification(vectors, vectors, people, rank=1)
    assert first is not None
    assert first.value == 1
    assert first.low == pytest.approx(0.025 ** (1 / len(np.unique(people))))


def test_vectors_that_say_nothing_are_linked_by_chance() -> None:
    people = np.repeat(np.arange(100), 4)
    vectors = normalise(np.random.default_rng(3).normal(size=(400, 64)))
    at = threshold(vectors, people, 1e-2)
    assert at is not None
    by_chance = linkage.chance(100)
    found = rate(vectors, vectors, people, at)
    assert found.low <= by_chance["tar_at_far_1e-2"] <= found.high
    for rank in (1, 5):
        place = linkage.identification(vectors, vectors, people, rank=rank)
        assert place is not None
        assert place.low <= by_chance[f"rank_{rank}"] <= place.high


def test_a_constant_links_nobody() -> None:
    people = np.repeat(np.arange(40), 4)
    same = np.zeros((160, 8), dtype=np.float32)
    same[:, 0] = 1
    at = threshold(same, people, 1e-2)
    first = linkage.identification(same, same, people, rank=1)
    assert at is not None
    assert first is not None
    assert rate(same, same, people, at).value == first.value == 0


def test_more_noise_never_links_more() -> None:
    found = []
    for noise in (0.1, 0.2, 0.4, 0.8):
        vectors, people = crowd(noise)
        at = threshold(vectors, people, 1e-2)
        first = linkage.identification(vectors, vectors, people, rank=1)
        assert at is not None
        assert first is not None
        found.append((rate(vectors, vectors, people, at).value, first.value, -confusion(vectors, people)))
    for scores in zip(*found, strict=True):
        assert list(scores) == sorted(scores, reverse=True)


def test_neither_a_common_rotation_nor_the_order_matters_but_the_gallery_does() -> None:
    stolen, people = crowd(0.3)
    photographs = normalise(stolen + 0.1 * np.random.default_rng(5).normal(size=stolen.shape))
    rotation = np.linalg.qr(np.random.default_rng(6).normal(size=(16, 16)))[0].astype(np.float32)
    order = np.random.default_rng(7).permutation(len(people))
    expected = rate(stolen, photographs, people, 0.6).value
    assert rate(stolen @ rotation, photographs @ rotation, people, 0.6).value == pytest.approx(expected, abs=2e-3)
    assert rate(stolen[order], photographs[order], people[order], 0.6).value == pytest.approx(expected)
    assert rate(stolen, photographs, people, 0.6) != rate(stolen, stolen, people, 0.6)


def test_what_cannot_be_measured_is_not_made_up() -> None:
    vectors, people = crowd(0.3)
    alone = np.arange(len(people))
    compared = compare(vectors, vectors, alone, [0.5])
    assert linkage.true_accept_rate(compared.accepted[0], compared.pairs, alone) is None
    assert linkage.identification(vectors, vectors, alone, rank=1) is None
    assert threshold(vectors[:20], people[:20], 1e-3) is None
    assert threshold(vectors, np.zeros_like(people), 0.5) is None


def test_chance_is_a_share() -> None:
    assert linkage.chance(3)["rank_5"] == 1
    rates = {"tar_at_far_1e-2": 0.01, "tar_at_far_1e-3": 0.001, "tar_at_far_1e-4": 0.0001}
    assert linkage.chance(200) == rates | {"rank_1": 0.005, "rank_5": 0.025}


@pytest.fixture
def access(early: oneway.Run, pack: oneway.Pack, runtime: oneway.RuntimeConfig) -> BlackBox:
    return BlackBox(early.load().encoder, launch(runtime), pack.size)


def confusion(vectors: Vectors, people: People, photographs: Vectors | None = None) -> float:
    """The chance that a pair of different people lies nearer than a pair of one: 0.5 for no linkage at all."""
    upper = np.triu(np.ones((len(people), len(people)), dtype=bool), 1)
    same = people[:, None] == people[None, :]
    return 1 - float(roc_auc_score(same[upper], (vectors @ (vectors if photographs is None else photographs).T)[upper]))


def numbers_of(pack: oneway.Pack, *, d: int, within: float, noise: float = 0.0, seed: int = 0) -> FeatureDump:
    """Gaussian features of which those of one person lie about a centre of its own, in Gaussian noise."""
    generator, centres = (
        np.random.default_rng(seed),
        np.random.default_rng(1).normal(size=(int(pack.people.max()) + 1, d)),
    )
    stored: dict[str, NDArray[np.generic]] = {}
    for number, part in enumerate((pack.public, pack.validation, pack.test)):
        shots = centres[part.identities] + within * np.random.default_rng(2 + number).normal(size=(len(part), d))
        stored[part.split] = (shots + noise * generator.normal(size=shots.shape)).astype(np.float32)
    return FeatureDump(stored, torch.device("cpu"))


def scored(way: Cosine | First | LikelihoodRatio, part: Part) -> float:
    return confusion(way.stolen(part), part.identities, way.photographs(part))


def test_every_way_links_the_people_of_an_early_layer(access: BlackBox, pack: oneway.Pack) -> None:
    cosine = Cosine(access, access, pack.public)
    components = Components(cosine, pack.public, seed=0)
    for way in (cosine, First(components, 32)):
        vectors = way.stolen(pack.validation)
        assert vectors.shape[0] == len(pack.validation)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert scored(way, pack.validation) < 0.45
    assert scored(LikelihoodRatio(components, 128), pack.validation) < 0.45


def test_ways_are_the_same_to_the_bit_under_a_seed(access: BlackBox, pack: oneway.Pack) -> None:
    cosine = Cosine(access, access, pack.public)
    one, two = (LikelihoodRatio(Components(cosine, pack.public, seed=0), 64).stolen(pack.validation) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_the_likelihood_ratio_is_that_of_two_gaussians(pack: oneway.Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "SHRINKAGE", 0.0)
    access, gallery = (numbers_of(pack, d=6, within=0.5, noise=noise, seed=seed) for noise, seed in ((1, 3), (0.2, 4)))
    components = Components(Cosine(access, gallery, pack.public), pack.public, seed=0)
    way = LikelihoodRatio(components, 6)
    x, z = components.public - components.public.mean(axis=0), components.known - components.known.mean(axis=0)
    people = components.people
    same = (people[:, None] == people).astype(np.float64)
    between = x.T @ same @ z / same.sum()
    apart = np.block([[x.T @ x / len(x), np.zeros((6, 6))], [np.zeros((6, 6)), z.T @ z / len(z)]])
    together = apart + np.block([[np.zeros((6, 6)), between], [between.T, np.zeros((6, 6))]])
    mine = way.stolen(pack.test)[:20] @ way.photographs(pack.test)[:20].T
    stolen = components.of(pack.test, photographs=False)[:20] - components.public.mean(axis=0)
    known = components.of(pack.test, photographs=True)[:20] - components.known.mean(axis=0)
    pairs = np.concatenate([np.repeat(stolen, 20, axis=0), np.tile(known, (20, 1))], axis=1)
    zero = np.zeros(12)
    expected = multivariate_normal(zero, together).logpdf(pairs) - multivariate_normal(zero, apart).logpdf(pairs)
    difference = mine.reshape(-1) - expected  # but for the constant
    np.testing.assert_allclose(difference, difference.mean(), atol=2e-4)


def test_who_averages_answers_for_the_photographs_links_more(pack: oneway.Pack) -> None:
    access = numbers_of(pack, d=12, within=0.6, noise=1.0, seed=3)
    clean = numbers_of(pack, d=12, within=0.6)
    one = LikelihoodRatio(Components(Cosine(access, access, pack.public), pack.public, seed=0), 12)
    several = LikelihoodRatio(Components(Cosine(access, clean, pack.public), pack.public, seed=0), 12)
    assert scored(several, pack.test) < scored(one, pack.test) - 0.02


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_features_that_say_nothing_are_linked_by_chance(pack: oneway.Pack) -> None:
    same = {
        part.split: np.ones((len(part), 16), dtype=np.float32) for part in (pack.public, pack.validation, pack.test)
    }
    access = FeatureDump(same, torch.device("cpu"))
    components = Components(Cosine(access, access, pack.public), pack.public, seed=0)
    for way in (First(components, 8), LikelihoodRatio(components, 8)):
        assert scored(way, pack.test) == pytest.approx(0.5, abs=0.1)


def test_no_mixture_of_features_hides_a_person(pack: oneway.Pack) -> None:
    generator = np.random.default_rng(0)
    rotation = np.linalg.qr(generator.normal(size=(24, 24)))[0]
    told: dict[str, NDArray[np.generic]] = {}
    for part in (pack.public, pack.validation, pack.test):
        centres = np.random.default_rng(1).normal(size=(int(pack.people.max()) + 1, 12))
        numbers = np.concatenate([centres[part.identities], 300 * generator.normal(size=(len(part), 12))], axis=1)
        told[part.split] = (numbers @ rotation).astype(np.float32)  # what tells people apart is faint in every number
    access = FeatureDump(told, torch.device("cpu"))
    cosine = Cosine(access, access, pack.public)
    components = Components(cosine, pack.public, seed=0)
    assert components.number == 24
    assert scored(cosine, pack.validation) > 0.45
    assert scored(First(components, 24), pack.validation) < 0.3
    assert scored(LikelihoodRatio(components, 24), pack.validation) < 0.05
    # Components are told from the largest on, so the loud ones alone say nothing.
    assert scored(First(components, 8), pack.validation) > 0.45
