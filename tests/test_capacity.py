"""The most bits that noisy features carry: what theory says, for whatever is sent, however the guess was made."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

import oneway
from oneway.auditing.attack_results import _capacity
from oneway.auditing.capacity import passed
from oneway.metrics.capacity import SHRINKAGES, Guess, power_bits
from oneway.models.noise import Noisy
from test_fisher import Unknown, context, network


def spread(count: int, numbers: int, seed: int) -> Tensor:
    """Draw features that lie differently in every direction."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(numbers, numbers, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return torch.randn(count, numbers, generator=generator, dtype=torch.float64) @ mixed / numbers**0.5 + 3


@pytest.mark.parametrize("count", [200, 7], ids=["many pictures", "fewer pictures than numbers"])
@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0])
def test_a_picture_adds_its_divergence_from_the_guess(count: int, shrinkage: float) -> None:
    made, new, noise = spread(count, 12, 0), spread(5, 12, 1), 0.7
    covariance = torch.from_numpy(np.cov(made.T.numpy(), bias=True))
    alike = covariance.trace() / 12 * torch.eye(12, dtype=torch.float64)
    whole = (1 - shrinkage) * covariance + shrinkage * alike + noise**2 * torch.eye(12, dtype=torch.float64)
    sent = MultivariateNormal(new, noise**2 * torch.eye(12, dtype=torch.float64))
    expected = kl_divergence(sent, MultivariateNormal(made.mean(dim=0), whole)) / math.log(2)
    guess = Guess.of(made)
    found = guess.most_bits(guess.distances(new), noise, shrinkage=shrinkage)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-8)


def test_of_gaussian_features_it_is_their_information() -> None:
    eigenvalues = torch.linalg.eigvalsh(torch.from_numpy(np.cov(spread(200_000, 12, 0).T.numpy())))
    for noise in (0.5, 2.0):
        truth = float((1 + eigenvalues / noise**2).log2().sum()) / 2
        guess = Guess.of(spread(5000, 12, 1))
        found = guess.most_bits(guess.distances(spread(5000, 12, 2)), noise, shrinkage=0.0).mean()
        assert found == pytest.approx(truth, rel=0.02)


@settings(max_examples=30, deadline=None)
@given(
    apart=st.floats(0.1, 6.0),
    share=st.floats(0.05, 0.95),
    noise=st.floats(0.3, 3.0),
    guessed=st.integers(2, 50),
    shrinkage=st.sampled_from(SHRINKAGES),
)
def test_it_is_never_below_the_information_whatever_was_guessed(
    apart: float, share: float, noise: float, guessed: int, shrinkage: float
) -> None:
    """One of two pictures is sent, so the information is known: the entropy of a mixture less the noise's."""
    grid = np.linspace(-apart - 8 * noise, 2 * apart + 8 * noise, 20_001)
    step = grid[1] - grid[0]

    def density(middle: float) -> np.ndarray:
        return np.asarray(np.exp(-((grid - middle) ** 2) / (2 * noise**2)) / (noise * math.sqrt(2 * math.pi)))

    mixed = (1 - share) * density(0) + share * density(apart)
    entropy = -np.sum(mixed * np.log2(np.maximum(mixed, 1e-300))) * step
    truth = entropy - 0.5 * math.log2(2 * math.pi * math.e * noise**2)
    guess = Guess.of(torch.from_numpy(np.random.default_rng(guessed).normal(1, 1, (guessed, 1))))
    each = guess.most_bits(guess.distances(torch.tensor([[0.0], [apart]])), noise, shrinkage=shrinkage)
    assert (each >= 0).all()
    assert (1 - share) * each[0] + share * each[1] >= truth - 1e-4


def test_features_that_never_vary_say_nothing() -> None:
    same = torch.ones(20, 6)
    guess = Guess.of(same)
    np.testing.assert_allclose(guess.most_bits(guess.distances(same), 0.5, shrinkage=0.0), 0, atol=1e-9)


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_an_audit_bounds_what_passes_by_pictures_of_other_people(
    noise: float, people: oneway.Pack, tmp_path: Path
) -> None:
    made = context(Noisy(network(), noise), people, tmp_path, noisy=True, white=False)
    step = made.steps.take("capacity", lambda place: passed(made, place))
    found = _capacity(step, people, made.judge)
    one, several = found.scores["most_bits"], found.scores["most_bits_averaged"]
    assert one is not None
    assert several is not None
    assert found.facts["by_power"] == power_bits(int(found.facts["numbers"]), noise)
    assert 0 < one.low < one.value < one.high < float(found.facts["by_power"])
    assert one.value < several.value < 16 * one.value, "answers share what they tell"
    assert one.n == people.test.num_people


@pytest.mark.parametrize(
    ("encoder", "noisy", "reason"),
    [
        (network(), False, "the encoder is deterministic"),
        (Noisy(network(), 0.0), False, "the encoder is deterministic"),
        (Unknown(), True, "the encoder adds noise, but not as its last step in a way that is known"),
        (None, False, "stored features do not say what noise they carry"),
    ],
)
def test_where_the_noise_is_unknown_there_is_no_bound(
    encoder: nn.Module | None, noisy: bool, reason: str, pack: oneway.Pack, tmp_path: Path
) -> None:
    made = context(encoder, pack, tmp_path, noisy=noisy)
    refusal = made.steps.take("capacity", lambda place: passed(made, place)).refusal
    assert refusal is not None
    assert refusal.refused == f"no bound: {reason}"
