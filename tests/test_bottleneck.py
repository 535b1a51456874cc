"""The bottleneck brings any features down to a vector, which the classifier reads as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import oneway
from oneway.config import override
from oneway.models.bottleneck import READ, Narrow, reader
from oneway.models.noise import Noisy
from oneway.models.split import features_shape
from oneway.protection.config import small
from oneway.protection.run import build

pytestmark = pytest.mark.whole


@pytest.mark.parametrize("shape", [(12,), (6, 4, 4), (3, 16, 16), (5, 7), (2, 4, 6)])
def test_features_of_any_shape_go_through_a_vector(shape: tuple[int, ...]) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, torch.Size(shape).numel()), nn.Unflatten(1, shape))
    pictures = torch.rand(3, 3, 4, 4)
    vectors = Narrow(encoder, shape, 9)(pictures)
    assert vectors.shape == (3, 9)
    assert reader(9)(vectors).shape == (3, READ)


def test_a_vector_is_linear_in_the_features_of_all_positions_once_these_are_normalised() -> None:
    torch.manual_seed(0)
    encoder = Narrow(nn.Identity(), (3, 8, 8), 5)
    features = torch.randn(4, 3, 8, 8)
    flat = features.flatten(1).double()
    flat = (flat - flat.mean(dim=1, keepdim=True)) / flat.std(dim=1, keepdim=True, correction=0)
    expected = flat @ encoder.mix.weight.double().T + encoder.mix.bias.double()
    torch.testing.assert_close(encoder(features).double(), expected, atol=1e-4, rtol=1e-4)


def test_the_classifier_reads_the_vector_and_leaves_out_the_rest_of_the_network(settings: dict[str, Any]) -> None:
    narrow, plain = (
        build(override(small(), settings | {"network.bottleneck": numbers}), size=32, num_logits=3).classifier
        for numbers in (10, 0)
    )
    assert not any(isinstance(module, nn.Conv2d) for module in narrow.modules())
    assert narrow(torch.rand(2, 10)).shape == (2, 3)
    assert settings["network.cut"] == "fc" or any(isinstance(module, nn.Conv2d) for module in plain.modules())


@pytest.mark.parametrize("minimised", [{"game.pixel": 3.0}, {"game.pixel": 0.0}, {"defence": "nopeek"}], ids=str)
def test_an_encoder_has_it_before_the_noise_whatever_is_minimised(
    settings: dict[str, Any], minimised: dict[str, Any]
) -> None:
    config = override(small(), settings | {"network.bottleneck": 10, "network.noise": 1.0} | minimised)
    protector = build(config, size=32, num_logits=3)
    assert isinstance(protector.encoder, Noisy)
    assert isinstance(protector.encoder.encoder, Narrow)
    assert features_shape(protector.encoder, 32) == (10,)
    assert "network.bottleneck = 10" in config.protection
    plain = build(override(config, {"network.bottleneck": 0, "network.noise": 0.0}), size=32, num_logits=3)
    assert not any(isinstance(module, Noisy | Narrow) for module in plain.modules())


def test_a_network_without_batch_statistics_stays_without(settings: dict[str, Any]) -> None:
    config = override(small(), settings | {"network.bottleneck": 10, "network.norm": "group"})
    modules = build(config, size=32, num_logits=3).modules()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in modules)


def test_the_game_is_played_through_it(pack: oneway.Pack, settings: dict[str, Any], tmp_path: Path) -> None:
    config = override(small(), settings | {"network.bottleneck": 10, "steps": 8})
    run = oneway.protect(pack, tmp_path / "run", config, progress=False)
    assert oneway.Run.open(run.path, run.pack).load().encoder(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_a_bottleneck_of_less_than_none_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(oneway.InputError, match=r"network\.bottleneck must be 0 or more, not -1"):
        override(small(), {"network.bottleneck": -1})
