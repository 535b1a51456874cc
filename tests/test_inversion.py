"""The fresh attacker: beats ignorance where features say something, does not where they say nothing."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import oneway
from oneway.attacks.access import BlackBox
from oneway.attacks.inversion import Inversion, invert, reconstruct
from oneway.data import Private, Test
from oneway.data.batches import to_pictures
from oneway.errors import DivergedError
from oneway.models.decoder import mirror
from oneway.runtime import launch

Invert = Callable[..., Inversion]
QUICK = oneway.InversionConfig(width=0.5, max_steps=60, check_every=10)


class KilledError(Exception):
    """Stands in for a kill."""


class Mute(nn.Module):
    """An encoder whose features do not depend on the picture: constant, or noise of another kind each time."""

    def __init__(self, *, noise: bool) -> None:
        super().__init__()
        self.noise = noise
        self.features = nn.Parameter(torch.linspace(-1, 1, 8 * 8 * 8).view(1, 8, 8, 8))

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features.expand(len(pictures), -1, -1, -1)
        return torch.randn_like(features) + 0 * features if self.noise else features


@pytest.fixture
def attack(pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path) -> Invert:
    """Attack the encoder that is cut at its first layer."""

    def make(config: oneway.InversionConfig, checkpoint: Path | None = None, seconds: float = 0) -> Inversion:
        seconds = math.inf if checkpoint is None else seconds
        fabric = launch(runtime)
        access = BlackBox(early.load().encoder, fabric)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            decoder = mirror(early.load().encoder, pack.size, width=config.width)
        return invert(
            access,
            pack.public,
            pack.validation,
            decoder,
            config,
            fabric=fabric,
            checkpoint=checkpoint or tmp_path / "none",
            checkpoint_seconds=seconds,
            progress=False,
        )

    return make


def assert_equal(one: Inversion, other: Inversion) -> None:
    assert (one.steps, one.converged, one.validation_error, one.queries) == (
        other.steps,
        other.converged,
        other.validation_error,
        other.queries,
    )
    ours, theirs = one.decoder.state_dict(), other.decoder.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(("cut", "share"), [("conv1", 0.4), ("layer2", 0.75)])
def test_an_unprotected_encoder_is_inverted(
    request: pytest.FixtureRequest,
    cut: str,
    share: float,
    runtime: oneway.RuntimeConfig,
    inversion: oneway.InversionConfig,
    tmp_path: Path,
) -> None:
    run = request.getfixturevalue("early" if cut == "conv1" else "unprotected")
    assert run.config.network.cut == cut
    results = oneway.attack(run, tmp_path / "attack", inversion, runtime=runtime, progress=False)
    ours, floor = results["attacks"]["inversion"]["mse"], results["floors"]["mean_face"]["mse"]
    assert ours["high"] < floor["low"]
    assert ours["value"] < share * floor["value"]


@pytest.mark.parametrize("noise", [False, True], ids=["constant", "noise"])
def test_features_that_say_nothing_give_nothing_away(
    noise: bool,
    pack: oneway.Pack,
    tiny: Callable[..., oneway.ProtectConfig],
    runtime: oneway.RuntimeConfig,
    tmp_path: Path,
) -> None:
    config = tiny({"network.cut": "output", "game.pixel": 0.0, "steps": 1})
    run = oneway.protect(pack, tmp_path / "run", config, network=Mute(noise=noise), progress=False)
    narrow = oneway.InversionConfig(width=0.25, max_steps=150, check_every=50)
    results = oneway.attack(run, None, narrow, network=Mute(noise=noise), runtime=runtime, progress=False)
    ours, floor = results["attacks"]["inversion"]["mse"], results["floors"]["mean_face"]["mse"]
    assert ours["value"] > 0.97 * floor["value"]
    assert ours["value"] < 1.5 * floor["value"], "the attacker must at least have learned the mean face"


def test_an_attack_is_the_same_to_the_bit_under_a_seed_and_another_under_another(attack: Invert) -> None:
    assert_equal(attack(QUICK), attack(QUICK))
    assert attack(replace(QUICK, seed=1)).validation_error != attack(QUICK).validation_error


def test_an_attack_that_its_budget_ends_says_so(attack: Invert) -> None:
    done = attack(replace(QUICK, max_steps=25))
    assert (done.steps, done.converged) == (25, False)


@pytest.mark.parametrize("drops", [0, 1, 3])
def test_an_attack_that_no_longer_gets_better_ends_after_its_last_fall(attack: Invert, drops: int) -> None:
    done = attack(replace(QUICK, learning_rate=1e-12, drops=drops, max_steps=1000))
    assert (done.steps, done.converged) == (10 * (drops + 2), True)


def test_the_queries_are_all_that_the_attacker_sent(attack: Invert, pack: oneway.Pack) -> None:
    done = attack(QUICK)
    trained = QUICK.max_steps * QUICK.batch_size + QUICK.max_steps // QUICK.check_every * len(pack.validation)
    assert 0 <= done.queries - trained <= len(pack.public)  # and at most once every picture, to see the scale


def test_the_kept_weights_have_the_error_that_is_reported(
    attack: Invert, pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig
) -> None:
    done = attack(replace(QUICK, learning_rate=0.05))  # high enough for the error to go up and down
    access = BlackBox(early.load().encoder, launch(runtime))
    drawn, pictures = reconstruct(access, done.decoder, pack.validation.images(slice(None)), launch(runtime))
    assert float((drawn - pictures).square().mean()) == pytest.approx(done.validation_error, rel=1e-4)


@pytest.mark.parametrize("queries", [300, 800, 1300])
def test_a_killed_attack_resumes_to_the_uninterrupted_one_to_the_bit(
    attack: Invert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queries: int
) -> None:
    ask, checkpoint = BlackBox.__call__, tmp_path / "checkpoint.safetensors"

    def dying(self: BlackBox, pictures: Tensor) -> Tensor:
        if self.queries > queries:
            raise KilledError
        return ask(self, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(BlackBox, "__call__", dying)
        with pytest.raises(KilledError):
            attack(QUICK, checkpoint)
    assert checkpoint.exists() == (queries > 300)
    assert_equal(attack(QUICK, checkpoint), attack(QUICK))


@pytest.mark.parametrize("learning_rate", [1e-12, 4e-3], ids=["converged", "out of budget"])
def test_an_attack_killed_after_its_last_step_ends_as_it_had(
    attack: Invert, tmp_path: Path, learning_rate: float
) -> None:
    config = replace(QUICK, learning_rate=learning_rate, drops=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    straight = attack(config, checkpoint)
    assert straight.converged == (learning_rate == 1e-12)
    assert_equal(attack(config, checkpoint), straight)


def test_an_attack_that_diverges_says_at_which_step(attack: Invert, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.Sigmoid, "forward", lambda _, x: x * torch.nan)
    with pytest.raises(DivergedError, match=r"not finite at step 10; lower its learning_rate"):
        attack(QUICK)


def test_the_attacker_never_sees_the_private_people_and_trains_without_the_test_people(
    attack: Invert, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(*_: object) -> None:
        raise AssertionError("a picture that the attacker must not see")

    for part in (Private, Test):
        monkeypatch.setattr(part, "images", seen, raising=False)
    assert attack(replace(QUICK, max_steps=10)).steps == 10


def test_reconstructions_stand_beside_their_pictures(
    early: oneway.Run, runtime: oneway.RuntimeConfig, pack: oneway.Pack
) -> None:
    fabric = launch(runtime)
    access = BlackBox(early.load().encoder, fabric)
    pixels = pack.validation.images(slice(0, 3))
    drawn, pictures = reconstruct(access, mirror(early.load().encoder, pack.size), pixels, fabric)
    assert torch.equal(pictures, to_pictures(pixels))
    assert drawn.shape == pictures.shape
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert not drawn.requires_grad


def test_the_checkpoint_time_is_kept(attack: Invert, tmp_path: Path) -> None:
    attack(QUICK, tmp_path / "checkpoint.safetensors", seconds=1e6)
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_whole_attack_keeps_its_checkpoint_at_the_runtimes_pace_and_resumes(
    early: oneway.Run, runtime: oneway.RuntimeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    straight = oneway.attack(early, tmp_path / "straight", QUICK, runtime=runtime, progress=False)
    ask = BlackBox.__call__

    def dying(self: BlackBox, pictures: Tensor) -> Tensor:
        if self.queries > 800:
            raise KilledError
        return ask(self, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(BlackBox, "__call__", dying)
        with pytest.raises(KilledError):
            oneway.attack(early, tmp_path / "killed", QUICK, runtime=runtime, progress=False)
    assert (tmp_path / "killed" / "checkpoint.safetensors").exists()
    assert not (tmp_path / "killed" / "results.json").exists()
    before = shutil.copytree(tmp_path / "killed", tmp_path / "copy")
    with pytest.raises(oneway.InputError, match="unfinished run; add --resume"):
        oneway.attack(early, before, QUICK, runtime=runtime, progress=False)
    resumed = oneway.attack(early, tmp_path / "killed", QUICK, runtime=runtime, resume=True, progress=False)
    assert resumed["attacks"] == straight["attacks"]
    assert resumed["floors"] == straight["floors"]
    assert (tmp_path / "killed" / "decoder.safetensors").read_bytes() == (
        tmp_path / "straight" / "decoder.safetensors"
    ).read_bytes()
    assert not (tmp_path / "killed" / "checkpoint.safetensors").exists()
