"""A configuration does what its fields say, and the control is what has no protection of any kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import oneway
from oneway.config import override, to_dict
from oneway.models.noise import Noisy
from oneway.protection.config import PRESETS, ProtectConfig, read, small
from oneway.protection.recipes import prescribe, recipes
from oneway.protection.run import build
from oneway.storage import runs

pytestmark = pytest.mark.whole


GONE = {
    "decoders": 1, "decoder_restart": 0, "decoder_width": 1.0, "decoder_gan": 0.0, "decoder_perceptual": 0.0,
    "probe_every": 0, "probe_steps": 200,
}  # fmt: skip
"""Settings of the game of 0.1.0 that are gone, at their defaults."""


def as_written_by_0_1_0(config: ProtectConfig, *, noise: float, bottleneck: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    for name in ("noise", "bottleneck"):
        del content["network"][name]
    content["game"] |= {"noise": noise, "bottleneck": bottleneck} | GONE
    if content["game"]["target"] == "mean_picture":
        content["game"]["target"] = "mean_face"
    return content


def test_a_defence_that_lists_no_strengths_takes_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(recipes()["noise"], strengths=())
    monkeypatch.setattr("oneway.protection.recipes.recipes", lambda: {"none": recipes()["none"], "noise": silent})
    made = prescribe(small(), "noise", 7.0)
    assert made.defence is not None
    assert made.defence.level == 7.0
    with pytest.raises(oneway.InputError, match="'none' has no strength"):
        prescribe(small(), "none", 5.0)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", recipes())
def test_only_the_control_is_without_protection(preset: str, name: str) -> None:
    config = prescribe(PRESETS[preset](), name)
    assert config.protects == (name != "none"), config.protection
    network = config.network
    assert (network.noise, network.bottleneck) == ((1.5, 128) if name == "recipe" else (0.0, 0))
    assert config.of_control() == prescribe(config, "none").of_control()


def test_the_default_is_the_recommended_recipe() -> None:
    assert ProtectConfig() == small() == prescribe(small(), "recipe")
    assert (small().network.cut, PRESETS["paper"]().network.cut) == ("layer2", "fc")
    by_hand = ProtectConfig(network=oneway.EncoderConfig(cut="fc"), game=oneway.GameConfig(pixel=0.0))
    assert by_hand.protection == ("network.bottleneck = 128", "network.noise = 1.5")
    assert isinstance(build(by_hand, size=32, num_logits=2).encoder, Noisy)


@pytest.mark.parametrize(
    ("weights", "counted"),
    [({"game.pixel": 0.0}, False), ({"game.pixel": 0.1}, True), ({"game.pixel": 0.0, "game.perceptual": 1.0}, True)],
)
def test_a_configuration_of_0_1_0_says_what_it_said(weights: dict[str, Any], counted: bool) -> None:
    config = override(small(), weights | {"game.perceptual_network": "vgg16", "seed": 5})
    expected = {"network.noise": 0.7 if counted else 0.0, "network.bottleneck": 9 if counted else 0}
    opened = read(as_written_by_0_1_0(config, noise=0.7, bottleneck=9))
    assert opened == override(config, expected)
    assert read(to_dict(opened)) == opened


@pytest.mark.parametrize("pixel", [0.0, 3.0])
def test_a_run_of_0_1_0_opens(make_run: Callable[..., oneway.Run], pixel: float, tmp_path: Path) -> None:
    changes = {"game.pixel": pixel, "steps": 2} | ({"network.noise": 1.0, "network.bottleneck": 8} if pixel else {})
    run = make_run(f"old-{pixel}", changes)
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    described = runs.read_json(old / runs.CONFIG)
    described["protect"] = as_written_by_0_1_0(run.config, noise=1.0, bottleneck=8)
    runs.write_json(old / runs.CONFIG, described)
    report = runs.read_json(old / runs.RESULTS)
    assert "probes" not in report
    runs.write_json(old / runs.RESULTS, report | {"probes": None})
    opened = oneway.Run.open(old, run.pack)
    assert opened.config == run.config
    assert opened.report == run.report
    ours, theirs = run.load().state_dict(), opened.load().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("setting", [*GONE, "target"])
def test_a_run_of_0_1_0_with_a_setting_that_is_gone_is_refused(
    make_run: Callable[..., oneway.Run], setting: str, tmp_path: Path
) -> None:
    run = make_run("old-3.0", {"game.pixel": 3.0, "steps": 2, "network.noise": 1.0, "network.bottleneck": 8})
    old = shutil.copytree(run.path, tmp_path / "old")
    described = runs.read_json(old / runs.CONFIG)
    described["protect"] = as_written_by_0_1_0(run.config, noise=1.0, bottleneck=8)
    described["protect"]["game"][setting] = "bounded" if setting == "target" else 3
    runs.write_json(old / runs.CONFIG, described)
    with pytest.raises(oneway.InputError, match=rf"config\.json: .*game\.{setting}.*; the run must be made again$"):
        oneway.Run.open(old, run.pack)


def test_a_control_with_noise_is_none_and_the_error_says_so(
    make_run: Callable[..., oneway.Run], protected: oneway.Run, tmp_path: Path
) -> None:
    noisy = make_run("noisy-alone", {"game.pixel": 0.0, "network.noise": 1.0, "steps": 2})
    config = oneway.InversionConfig(width=0.25, check_every=1, max_steps=1)
    control = tmp_path / "control"
    oneway.attack(noisy, control, config, runtime=noisy.config.runtime, progress=False)
    with pytest.raises(oneway.InputError, match=r"a protected run \(network\.noise = 1\)"):
        oneway.attack(protected, tmp_path / "attack", config, control=control, progress=False)
    assert not (tmp_path / "attack").exists()
