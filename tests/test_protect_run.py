"""A finished run: opened, loaded and attacked, also around a module of the user's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oneway
from oneway.config import to_dict
from oneway.data.batches import to_pictures
from oneway.metrics.classification import utility
from oneway.storage.runs import read_tensors

pytestmark = pytest.mark.whole


class Own(nn.Module):
    """A network of the user's, with a skip connection inside its encoder."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(channels, 16, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        early = self.body[0](pictures)
        return self.head(self.body[3](self.body[2](self.body[1](early) + early)))


def own(seed: int = 0) -> Own:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Own()


@pytest.fixture(scope="module")
def of_own(
    once: Callable[..., Path], pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]
) -> tuple[oneway.Run, Own]:
    """A run of the user's module, cut at a layer within a layer, and the module as training left it."""
    network = own()
    made = tiny({"network.cut": "body.2", "steps": 20})
    path = once("own", lambda path: oneway.protect(pack, path, made, network=network, progress=False))
    return oneway.Run.open(path), network


def test_a_loaded_run_has_the_utility_that_it_reports(unprotected: oneway.Run) -> None:
    test = unprotected.pack.test
    with torch.no_grad():
        logits = unprotected.load()(to_pictures(test.images(slice(None))))[1]
    mean_mcc, each = utility((logits > 0).numpy(), test.labels(), test.identities, unprotected.attributes)
    reported = json.loads((unprotected.path / "results.json").read_text())["utility"]
    assert reported["value"] == pytest.approx(to_dict(mean_mcc))
    assert reported["each"].keys() == each.keys()


def test_a_loaded_run_is_ready_for_use(unprotected: oneway.Run) -> None:
    protector = unprotected.load()
    assert not any(module.training for module in protector.modules())
    pictures = to_pictures(unprotected.pack.test.images(slice(0, 2)))
    features, logits = protector(pictures)
    assert features.shape == (2, 16, 8, 8)  # an eighth of ResNet-18's 128 channels, after a stem without pooling
    assert torch.equal(protector.classifier(protector.encoder(pictures)), logits)


def test_a_module_of_ones_own_needs_itself_to_be_loaded(of_own: tuple[oneway.Run, Own]) -> None:
    run, _ = of_own
    with pytest.raises(oneway.InputError, match=r"protects a network of your own \(Own\).*network=\.\.\."):
        run.load()


def test_a_module_of_ones_own_is_loaded_into_a_new_one(of_own: tuple[oneway.Run, Own]) -> None:
    run, _ = of_own
    kept, _ = read_tensors(run.path / "protector.safetensors")
    protector = run.load(own(seed=1))
    pictures = to_pictures(run.pack.test.images(slice(0, 4)))
    assert protector(pictures)[0].shape == (4, 8, 8, 8)
    assert all(torch.equal(kept[name], tensor) for name, tensor in protector.state_dict().items())
    assert protector.state_dict().keys() == kept.keys()
    assert any(
        not torch.equal(kept[f"encoder.{name}"], tensor) for name, tensor in own().body[:3].named_parameters("body")
    )


def test_a_module_that_does_not_fit_is_refused(of_own: tuple[oneway.Run, Own]) -> None:
    with pytest.raises(oneway.InputError, match=r"protector\.safetensors does not fit the network"):
        of_own[0].load(Own(channels=16))


def test_a_module_of_ones_own_is_attacked(
    of_own: tuple[oneway.Run, Own], runtime: oneway.RuntimeConfig, inversion: oneway.InversionConfig, tmp_path: Path
) -> None:
    run, _ = of_own
    options: dict[str, Any] = {"runtime": runtime, "progress": False}
    with pytest.raises(oneway.InputError, match="network of your own"):
        oneway.attack(run, tmp_path / "attack", inversion, **options)
    assert not (tmp_path / "attack").exists()
    report = oneway.attack(run, tmp_path / "attack", inversion, network=own(seed=1), **options)
    assert report.attacks["inversion"].scores["mse"].high < report.floors["mean_picture"]["mse"].low


def test_weights_that_the_user_froze_stay(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    network = own()
    network.body[0].requires_grad_(False)
    before = network.body[0].weight.detach().clone()
    config = tiny({"network.cut": "body.2", "steps": 4, "game.warmup": 0.0})
    run = oneway.protect(pack, tmp_path / "run", config, network=network, progress=False)
    loaded = run.load(own(seed=1))
    assert torch.equal(loaded.encoder.get_parameter("body.0.weight"), before)
    assert not torch.equal(loaded.encoder.get_parameter("body.2.weight"), own().body[2].weight)


def test_an_encoder_without_weights_can_be_protected_and_attacked(
    pack: oneway.Pack,
    tiny: Callable[..., oneway.ProtectConfig],
    runtime: oneway.RuntimeConfig,
    tmp_path: Path,
) -> None:
    def fixed() -> nn.Module:
        return nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 8, 3))

    run = oneway.protect(
        pack, tmp_path / "run", tiny({"network.cut": "0", "steps": 2}), network=fixed(), progress=False
    )
    config = oneway.InversionConfig(width=0.25, max_steps=4, check_every=2)
    report = oneway.attack(run, config=config, runtime=runtime, network=fixed(), progress=False)
    assert np.isfinite(report.attacks["inversion"].scores["mse"].value)


def test_a_run_is_opened_where_its_pack_has_moved(unprotected: oneway.Run, tmp_path: Path) -> None:
    moved = shutil.copytree(unprotected.pack.path, tmp_path / "moved")
    run = shutil.copytree(unprotected.path, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    config["data"]["path"] = "../gone"
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(oneway.InputError, match=r"not where .*run says, at .*gone; name the pack with --data"):
        oneway.Run.open(run)
    assert oneway.Run.open(run, oneway.Pack.open(moved)).load() is not None


def test_a_run_is_a_value(unprotected: oneway.Run) -> None:
    with pytest.raises(AttributeError):
        unprotected.path = Path()  # type: ignore[misc]
    assert replace(unprotected, path=Path("elsewhere")).pack is unprotected.pack


class Activated(nn.Module):
    """A network of the user's whose activations write over their input, or do not."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 8, 3, stride=4, padding=1),
                nn.Dropout(0.1, inplace=inplace),
                nn.ReLU(inplace=inplace),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.LeakyReLU(inplace=inplace),
            )

    def forward(self, pictures: Tensor) -> Tensor:
        answer: Tensor = self.layers(pictures)
        return answer


@pytest.mark.parametrize(
    "changes",
    [
        {"game.pixel": 3.0},
        {"game.pixel": 0.0, "defence": "nopeek"},
        {"game.pixel": 3.0, "network.bottleneck": 12, "network.noise": 0.3},
    ],
    ids=["game", "nopeek", "recipe"],
)
def test_activations_in_place_or_not_train_the_same_weights(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], changes: dict[str, Any], tmp_path: Path
) -> None:
    made = tiny({"network.cut": "layers.0", "steps": 4, "game.warmup": 0.0} | changes)
    weights = []
    for name, network in (("in", Activated(inplace=True)), ("not", Activated(inplace=False))):
        oneway.protect(pack, tmp_path / name, made, network=network, progress=False)
        weights.append(read_tensors(tmp_path / name / "protector.safetensors")[0])
    ours, theirs = weights
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
