"""Query access: features and nothing else come back, and every picture is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import oneway
from oneway.attacks.access import BlackBox, FeatureDump, Renoised
from oneway.data.batches import load
from oneway.models.noise import Noisy
from oneway.models.seeded import seeded
from oneway.runtime import launch


@pytest.fixture
def encoder() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()


@pytest.fixture
def access(encoder: nn.Module, runtime: oneway.RuntimeConfig) -> BlackBox:
    return BlackBox(encoder, launch(runtime), 8)


def test_every_picture_is_counted(access: BlackBox) -> None:
    assert access.queries == 0
    for count in (5, 1, 32):
        access(torch.rand(count, 3, 8, 8))
    assert access.queries == 38


def test_no_gradient_comes_back(access: BlackBox, encoder: nn.Module) -> None:
    pictures = torch.rand(2, 3, 8, 8, requires_grad=True)
    features = access(pictures)
    assert not features.requires_grad
    assert features.grad_fn is None
    with pytest.raises(RuntimeError, match="does not require grad"):
        features.sum().backward()
    assert pictures.grad is None
    assert all(weight.grad is None and not weight.requires_grad for weight in encoder.parameters())


def test_the_encoder_never_changes_and_answers_alike(access: BlackBox, encoder: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    pictures = torch.rand(6, 3, 8, 8)
    first, alone = access(pictures), access(pictures[:1])
    torch.testing.assert_close(access(pictures), first, rtol=0, atol=0)
    torch.testing.assert_close(first[:1], alone)  # what one victim sends depends on no other's picture
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_mixed_precision_gives_plain_numbers(encoder: nn.Module) -> None:
    access = BlackBox(encoder, launch(oneway.RuntimeConfig(device="cpu", precision="bf16")), 8)
    assert access(torch.rand(2, 3, 8, 8)).dtype == torch.float32


def test_the_average_of_several_answers_is_that_of_asking_several_times(runtime: oneway.RuntimeConfig) -> None:
    noisy = Noisy(nn.Conv2d(3, 4, 3), 1.0)
    once, often = (BlackBox(noisy, launch(runtime), 8, draws=draws) for draws in (1, 5))
    pictures = torch.rand(6, 3, 8, 8)
    with seeded(noisy, 3):
        answers = torch.stack([once(pictures) for _ in range(5)])
    with seeded(noisy, 3):
        torch.testing.assert_close(often(pictures), answers.mean(dim=0))
    assert often.queries == once.queries == 30
    assert answers.std(dim=0).mean() > 0.5


def test_an_average_is_of_all_that_is_drawn_anew_and_not_of_the_last_noise_alone(runtime: oneway.RuntimeConfig) -> None:
    class Own(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features + torch.randn_like(features)

    noisy = Noisy(nn.Sequential(nn.Conv2d(3, 4, 3), Own()), 1e-3)
    often, pictures = BlackBox(noisy, launch(runtime), 8, draws=64), torch.rand(6, 3, 8, 8)
    assert float((often(pictures) - often(pictures)).std()) < 0.5 * float((noisy(pictures) - noisy(pictures)).std())


def test_noise_on_what_is_kept_is_what_the_encoder_answers_and_new_each_time(
    pack: oneway.Pack, runtime: oneway.RuntimeConfig
) -> None:
    noisy = Noisy(nn.Conv2d(3, 4, 3), 0.5)
    asked = BlackBox(noisy, launch(runtime), pack.size)
    assert asked.noise_last is noisy
    clean = asked.clean(load(pack.public, slice(None))).numpy()
    kept = Renoised(noisy, FeatureDump({"public": clean}, asked.device, {"public": clean[:, ::-1].copy()}))
    index = np.arange(7, 19)
    answers = []
    for access in (asked, kept):
        with access.seeded(4):
            answers.append(torch.stack([access.features(pack.public, index) for _ in range(2)]))
    torch.testing.assert_close(answers[1], answers[0])
    assert float((answers[1][0] - answers[1][1]).std()) > 0.5
    unseeded = [kept.features(pack.public, index) for _ in range(2)]
    assert not torch.equal(*unseeded)
    assert kept.queries == 4 * len(index)
    mirrored = np.arange(12) % 2 == 0
    with kept.seeded(4):
        told = kept.features(pack.public, index, mirrored)
    noise = answers[1][0] - torch.from_numpy(clean[index])
    torch.testing.assert_close(told[0] - noise[0], torch.from_numpy(clean[:, ::-1][index[0]].copy()))
    torch.testing.assert_close(told[1], answers[1][0][1])
