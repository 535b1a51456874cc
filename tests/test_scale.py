"""The scale of features: nothing is hidden by it, neither in a channel nor in a mixture of channels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from oneway.models.scale import Standardise, Whiten, pictures_needed

SHAPES = [((5,), 1), ((7, 5), 2), ((5, 4, 3), 1)]
"""Shapes of features and the axis of their batches along which channels lie: the last of (tokens, channels)."""


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_each_channel_is_standardised_by_what_was_observed(shape: tuple[int, ...], channels: int) -> None:
    generator = np.random.default_rng(0)
    seen, given = (generator.normal(3, 2, (count, *shape)).astype(np.float32) for count in (64, 11))
    standardise = Standardise(shape)
    np.testing.assert_array_equal(standardise(torch.from_numpy(given)).numpy(), given)  # nothing was observed yet
    standardise.observe(torch.from_numpy(seen))
    others = tuple(axis for axis in range(seen.ndim) if axis != channels)
    expected = (given - seen.mean(axis=others, keepdims=True)[:1]) / seen.std(axis=others, keepdims=True)[:1]
    np.testing.assert_allclose(standardise(torch.from_numpy(given)).numpy(), expected, atol=1e-5)


def mixed(shape: tuple[int, ...], count: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Draw independent channels, and a mixture of them in which most hardly show: 1e-4 of the largest's deviation."""
    torch.manual_seed(0)
    hidden = torch.randn(count, *shape, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(hidden.shape[channels], hidden.shape[channels], dtype=torch.float64)).Q
    mixture = rotation * 10.0 ** -torch.linspace(0, 4, len(rotation), dtype=torch.float64)
    shown = (hidden.movedim(channels, -1) @ mixture.T).movedim(-1, channels) + 3
    return hidden, shown.float()


@pytest.mark.parametrize(("shape", "channels"), SHAPES)
def test_nothing_is_hidden_by_its_scale_in_any_mixture_of_channels(shape: tuple[int, ...], channels: int) -> None:
    hidden, shown = mixed(shape, 512, channels)
    whiten = Whiten(shape)
    assert torch.equal(whiten(shown), shown)  # nothing was observed yet
    whiten.observe(shown)
    seen = whiten(shown).double().movedim(channels, -1).flatten(0, -2)
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(5).double(), atol=1e-2, rtol=0)
    torch.testing.assert_close(torch.cov(seen.T), torch.eye(5).double(), atol=2e-2, rtol=0)
    flat = hidden.movedim(channels, -1).flatten(0, -2)
    recovered = seen @ torch.linalg.lstsq(seen, flat).solution
    assert (recovered - flat).square().mean() < 0.01  # what float32 left of it is all there


@pytest.mark.parametrize("scale", [Standardise, Whiten])
@pytest.mark.parametrize("faint", [1e-8, 1e-20, 1e20])
def test_no_channel_is_hidden_by_its_power_beside_the_others(scale: type[Standardise | Whiten], faint: float) -> None:
    torch.manual_seed(0)
    seen = torch.randn(512, 6) * torch.tensor([1.0] * 3 + [faint] * 3)
    made = scale((6,))
    made.observe(seen)
    torch.testing.assert_close(made(seen).std(dim=0), torch.ones(6), atol=1e-2, rtol=0)


def test_whitening_is_that_of_scikit_learn_up_to_a_rotation() -> None:
    _, shown = mixed((6,), 600)
    whiten = Whiten((6,))
    whiten.observe(shown)
    theirs = PCA(whiten=True).fit_transform(shown.double().numpy()) * np.sqrt(600 / 599)
    ours = whiten(shown).double().numpy()
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=0.3)  # of lengths squared of about 6


def test_directions_that_were_hardly_seen_are_not_blown_up() -> None:
    torch.manual_seed(0)
    whiten = Whiten((64,))
    whiten.observe(torch.randn(32, 64))  # 32 pictures cannot tell 64 directions
    assert whiten(torch.randn(256, 64)).std() < 2


def test_many_channels_are_each_scaled_alone() -> None:
    torch.manual_seed(0)
    features = torch.randn(64, 2049) * torch.linspace(0.1, 9, 2049)
    whiten, standardise = Whiten((2049,)), Standardise((2049,))
    whiten.observe(features)
    standardise.observe(features)
    torch.testing.assert_close(whiten(features), standardise(features), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("shape", "needed"), [((8, 4, 4), 512), ((128,), 1280), ((2048,), 20_480)])
def test_a_covariance_needs_ten_numbers_a_channel(shape: tuple[int, ...], needed: int) -> None:
    assert pictures_needed(shape) == needed


@pytest.mark.parametrize("scale", [Standardise, Whiten])
def test_the_last_observation_counts_alone_and_is_kept_with_the_weights(scale: type[Standardise | Whiten]) -> None:
    torch.manual_seed(0)
    first, second = torch.randn(64, 4), 5 * torch.randn(64, 4) - 3
    one, other = scale((4,)), scale((4,))
    one.observe(first)
    one.observe(second)
    other.observe(second)
    assert torch.equal(one(first), other(first))
    loaded = scale((4,))
    loaded.load_state_dict(one.state_dict())
    assert torch.equal(loaded(first), other(first))
    assert not list(one.parameters())  # they are told, not learned


@pytest.mark.parametrize("scale", [Standardise, Whiten])
def test_a_channel_that_never_varies_becomes_0(scale: type[Standardise | Whiten]) -> None:
    standardise = scale((2,))
    features = torch.stack([torch.full((64,), 0.1), torch.linspace(0, 1, 64)], dim=1)
    standardise.observe(features)
    standardised: Tensor = standardise(features)
    torch.testing.assert_close(standardised[:, 0], torch.zeros(64), atol=1e-5, rtol=0)
    assert standardised[:, 1].std() > 0.9
