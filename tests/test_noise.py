"""Noisy features have the power and the noise that are stated, and the noise is drawn by the seed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import oneway
from oneway.models.noise import Noisy

SHAPE = (4, 6, 6)


def pictures(seed: int = 0, count: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-2, 1e3), shift=st.floats(-1, 1, allow_subnormal=False))
def test_no_scale_outshouts_the_noise(scale: float, shift: float) -> None:
    class Louder(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scale * self.inner(x) + shift

        def __init__(self) -> None:
            super().__init__()
            self.inner = encoder()

    loud, plain = Noisy(Louder(), 0.5), Noisy(encoder(), 0.5)
    torch.testing.assert_close(loud(pictures()), plain(pictures()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_the_power_is_one_and_the_noise_as_stated(noise: float) -> None:
    noisy = Noisy(encoder(), noise)
    with torch.no_grad():
        first, second = noisy(pictures()), noisy(pictures())
    drawn = (first - second) / 2**0.5
    assert float(drawn.std()) == pytest.approx(noise, rel=0.05)
    with torch.no_grad():
        features = noisy.encoder(pictures())
    clean = torch.nn.functional.layer_norm(features, SHAPE)
    assert float(clean.square().mean()) == pytest.approx(1, rel=1e-3)
    assert float((first - clean).std()) == pytest.approx(noise, rel=0.05)
    assert abs(float((first - clean).mean())) < 0.05 * noise


def test_the_noise_is_new_in_each_call_and_the_same_after_a_restart() -> None:
    noisy = Noisy(encoder(), 1.0)
    noisy.restart((3, 1))
    first, second = noisy(pictures()), noisy(pictures())
    noisy.restart((3, 1))
    torch.testing.assert_close(noisy(pictures()), first, rtol=0, atol=0)
    assert not torch.equal(first, second)
    noisy.restart((3, 2))
    assert not torch.equal(noisy(pictures()), first)


def test_the_global_random_state_is_left_alone() -> None:
    noisy = Noisy(encoder(), 1.0)
    before = torch.random.get_rng_state()
    noisy(pictures())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_without_noise_and_the_control_are_runs_as_they_were(tiny: object, pack: oneway.Pack) -> None:
    from oneway.protection.run import build

    config = tiny({"game.noise": 0.0})  # type: ignore[operator]
    plain = build(config, size=pack.size, num_attributes=3)
    assert not isinstance(plain.encoder, Noisy)
    control = build(tiny({"game.noise": 1.0, "game.pixel": 0.0}), size=pack.size, num_attributes=3)  # type: ignore[operator]
    assert not isinstance(control.encoder, Noisy)
    noisy = build(tiny({"game.noise": 1.0}), size=pack.size, num_attributes=3)  # type: ignore[operator]
    assert isinstance(noisy.encoder, Noisy)
    ours, theirs = plain.encoder.state_dict(), noisy.encoder.encoder.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
