"""The bottleneck brings any features down to a vector and back to their shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import oneway
from oneway.config import override
from oneway.models.bottleneck import Narrow, Widen
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
    assert Widen(shape, 9, nn.BatchNorm2d)(vectors).shape == (3, *shape)


def test_its_rank_is_its_length() -> None:
    torch.manual_seed(0)
    encoder = Narrow(nn.Sequential(nn.Conv2d(3, 8, 3)), (8, 6, 6), 5)
    wide = Widen((8, 6, 6), 5, nn.BatchNorm2d).unmix
    with torch.no_grad():
        sent = wide(encoder(torch.rand(64, 3, 8, 8)))
    assert int(torch.linalg.matrix_rank((sent - sent.mean(dim=0)).double(), rtol=1e-5)) == 5


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
