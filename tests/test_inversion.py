"""The fresh attacker: beats ignorance where features say something, does not where they say nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import oneway
from conftest import Attacked
from oneway import losses
from oneway.attacks.access import BlackBox
from oneway.attacks.fit import Fitted, Place
from oneway.attacks.inversion import AnyDecoder, draw_decoder, invert, reconstruct
from oneway.attacks.panel import attackers
from oneway.data.batches import load, mean_picture
from oneway.data.packed import Private, Test
from oneway.errors import DivergedError
from oneway.models.decoder import Decoder, Stage, mirror, stages_of, stages_of_shape
from oneway.models.discriminator import Discriminator
from oneway.models.perceptual import Perceptual
from oneway.models.residual import ResidualDecoder
from oneway.models.transformer import TransformerDecoder
from oneway.runtime import launch

pytestmark = pytest.mark.whole


@dataclass(frozen=True)
class Inversion:
    """What an attack came to, and what it asked of the encoder."""

    fitted: Fitted[AnyDecoder]
    queries: int


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


@pytest.fixture(scope="module")
def attack(
    pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path_factory: pytest.TempPathFactory
) -> Invert:
    """Attack the encoder that is cut at its first layer."""
    nowhere = tmp_path_factory.mktemp("inversion") / "none"

    def make(
        config: oneway.InversionConfig,
        checkpoint: Path | None = None,
        seconds: float = 0,
        perceptual: Perceptual | None = None,
    ) -> Inversion:
        place = Place(
            fabric=launch(runtime),
            checkpoint=checkpoint or nowhere,
            checkpoint_seconds=math.inf if checkpoint is None else seconds,
            progress=False,
        )
        encoder = early.load().encoder
        access = BlackBox(encoder, place.fabric, pack.size)
        decoder = draw_decoder(config, access.shape, stages_of(encoder, pack.size), pack.size)
        fitted = invert(access, pack.public, pack.validation, decoder, config, place, perceptual=perceptual)
        return Inversion(fitted, access.queries)

    return make


@pytest.fixture(scope="module")
def straight(attack: Invert) -> Inversion:
    """The quick attack, which nothing interrupts."""
    return attack(QUICK)


def assert_equal(one: Inversion, other: Inversion) -> None:
    ours, theirs = one.fitted, other.fitted
    assert (ours.steps, ours.converged, ours.validation_error, one.queries) == (
        theirs.steps,
        theirs.converged,
        theirs.validation_error,
        other.queries,
    )
    weights, others = ours.network.state_dict(), theirs.network.state_dict()
    assert weights.keys() == others.keys()
    assert [name for name in weights if not torch.equal(weights[name], others[name])] == []


def test_an_unprotected_encoder_is_inverted(
    early: oneway.Run, control: Attacked, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    assert early.config.network.cut == "conv1"
    quick = oneway.InversionConfig(width=1.0, max_steps=100, check_every=50)
    first = oneway.attack(early, tmp_path / "attack", quick, runtime=runtime, progress=False)
    for report, share in ((first, 0.4), (control.report, 0.75)):
        ours, floor = report.attacks["inversion"].scores["mse"], report.floors["mean_picture"]["mse"]
        assert ours.high < floor.low
        assert ours.value < share * floor.value


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
    narrow = oneway.InversionConfig(width=0.25, max_steps=90, check_every=30)
    given = {"network": Mute(noise=noise), "runtime": runtime, "progress": False}
    if not noise:
        with pytest.raises(oneway.InputError, match="gives the same features for all of"):
            oneway.attack(run, None, narrow, **given)
        return
    report = oneway.attack(run, None, narrow, **given)
    ours, floor = report.attacks["inversion"].scores["mse"], report.floors["mean_picture"]["mse"]
    assert ours.value > 0.97 * floor.value
    assert ours.value < 1.5 * floor.value, "the attacker must at least have learned the mean face"


def test_an_attack_is_the_same_to_the_bit_under_a_seed_and_another_under_another(
    attack: Invert, straight: Inversion
) -> None:
    assert_equal(attack(QUICK), straight)
    assert attack(replace(QUICK, seed=1)).fitted.validation_error != straight.fitted.validation_error


def test_an_attack_that_its_budget_ends_says_so(attack: Invert) -> None:
    done = attack(replace(QUICK, max_steps=25)).fitted
    assert (done.steps, done.converged) == (25, False)


@pytest.mark.parametrize("drops", [0, 1, 3])
def test_an_attack_that_no_longer_gets_better_ends_after_its_last_fall(attack: Invert, drops: int) -> None:
    done = attack(replace(QUICK, learning_rate=1e-12, drops=drops, max_steps=1000)).fitted
    assert (done.steps, done.converged) == (10 * (drops + 2), True)


def test_the_queries_are_all_that_the_attacker_sent(straight: Inversion, pack: oneway.Pack) -> None:
    trained = QUICK.max_steps * QUICK.batch_size + QUICK.max_steps // QUICK.check_every * len(pack.validation)
    assert 0 <= straight.queries - trained <= len(pack.public)  # and at most once every picture, to see the scale


def test_the_kept_weights_have_the_error_that_is_reported(
    attack: Invert, pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    done = attack(replace(QUICK, learning_rate=0.05)).fitted  # high enough for the error to go up and down
    place = Place(fabric=launch(runtime), checkpoint=tmp_path / "none", progress=False)
    access = BlackBox(early.load().encoder, place.fabric, pack.size)
    drawn, pictures = reconstruct(access, done.network, pack.validation, slice(None), place)
    assert float((drawn - pictures).square().mean()) == pytest.approx(done.validation_error, rel=1e-4)


@pytest.mark.parametrize("queries", [300, 800, 1300])
def test_a_killed_attack_resumes_to_the_uninterrupted_one_to_the_bit(
    attack: Invert, straight: Inversion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queries: int
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
    assert_equal(attack(QUICK, checkpoint), straight)


@pytest.mark.parametrize("learning_rate", [1e-12, 4e-3], ids=["converged", "out of budget"])
def test_an_attack_killed_after_its_last_step_ends_as_it_had(
    attack: Invert, tmp_path: Path, learning_rate: float
) -> None:
    config = replace(QUICK, learning_rate=learning_rate, drops=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    straight = attack(config, checkpoint)
    assert straight.fitted.converged == (learning_rate == 1e-12)
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
    assert attack(replace(QUICK, max_steps=10)).fitted.steps == 10


def test_reconstructions_stand_beside_their_pictures(
    early: oneway.Run, runtime: oneway.RuntimeConfig, pack: oneway.Pack, tmp_path: Path
) -> None:
    place = Place(fabric=launch(runtime), checkpoint=tmp_path / "none", progress=False)
    access, index = BlackBox(early.load().encoder, place.fabric, pack.size), np.array([4, 0, 9])
    drawn, pictures = reconstruct(access, mirror(early.load().encoder, pack.size), pack.validation, index, place)
    assert torch.equal(pictures, load(pack.validation, index))
    assert drawn.shape == pictures.shape
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    assert not drawn.requires_grad


def test_the_checkpoint_time_is_kept(attack: Invert, tmp_path: Path) -> None:
    attack(QUICK, tmp_path / "checkpoint.safetensors", seconds=1e6)
    assert not (tmp_path / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("decoder", "kind"), [("mirror", Decoder), ("residual", ResidualDecoder), ("transformer", TransformerDecoder)]
)
def test_every_decoder_inverts_an_encoder_that_is_cut_early_the_same_to_the_bit(
    decoder: str, kind: type, attack: Invert, pack: oneway.Pack
) -> None:
    config = attackers()[decoder].config
    assert config is not None
    config = replace(config, width=0.7, max_steps=100, check_every=50)
    done = attack(config)
    assert type(done.fitted.network) is kind
    face = mean_picture(pack.public, torch.device("cpu"))
    ignorance = float((load(pack.validation, slice(None)) - face).square().mean())
    assert done.fitted.validation_error < 0.8 * ignorance
    assert_equal(attack(config), done)


def test_weights_are_drawn_by_the_seed_alone() -> None:
    for config in filter(None, (attacker.config for attacker in attackers().values())):
        drawn = []
        for seed, disturbance in ((0, 1), (0, 2), (1, 1)):
            torch.manual_seed(disturbance)
            state = torch.get_rng_state()
            drawn.append(draw_decoder(replace(config, width=0.5, seed=seed), (6, 4, 4), None, 16).state_dict())
            assert torch.equal(torch.get_rng_state(), state)
        first, again, other = drawn
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_mirror_is_of_the_encoders_stages_or_else_of_its_features_shape() -> None:
    shape, size = (64, 4, 4), 32
    guessed = draw_decoder(QUICK, shape, None, size).state_dict()
    for stages, alike in ((stages_of_shape(shape, size), True), ([Stage(4, 96, 2), Stage(8, 32, 2)], False)):
        known = draw_decoder(QUICK, shape, stages, size)
        assert known(torch.rand(2, *shape)).shape == (2, 3, size, size)
        weights = known.state_dict()
        same = guessed.keys() == weights.keys() and all(torch.equal(guessed[name], weights[name]) for name in guessed)
        assert same is alike


@pytest.fixture
def network() -> Perceptual:
    """A network that sees nothing but the brightness of quarters of a picture, and doubles it."""

    class Brightness(nn.Module):
        def forward(self, pictures: Tensor) -> list[Tensor]:
            return [2 * nn.functional.adaptive_avg_pool2d(pictures, 2)]

    return Perceptual(Brightness(), "brightness", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_a_discriminator_and_a_perceptual_network_weigh_in(
    attack: Invert, network: Perceptual, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[float]] = {"deception": [], "discrimination": [], "reconstruction": [], "perceptual": []}

    def watch(name: str) -> None:
        plain = getattr(losses, name)

        def watched(*arguments: Any) -> Tensor:
            loss: Tensor = plain(*arguments)
            if loss.requires_grad:
                given[name].append(float(loss.detach().mean()))
            return loss

        monkeypatch.setattr(losses, name, watched)

    totals: list[float] = []
    backward = Fabric.backward

    def watched(self: Fabric, tensor: Tensor) -> None:
        totals.append(float(tensor.detach()))
        backward(self, tensor)

    for name in given:
        watch(name)
    monkeypatch.setattr(Fabric, "backward", watched)
    attack(replace(QUICK, gan=0.5, perceptual=0.25, max_steps=8, check_every=8), perceptual=network)
    assert all(len(values) == 8 for values in given.values())
    rivals, decoders = totals[::2], totals[1::2]  # the discriminator's step comes first
    assert rivals == pytest.approx(given["discrimination"])
    expected = [
        error + 0.5 * deception + 0.25 * distance
        for error, deception, distance in zip(
            given["reconstruction"], given["deception"], given["perceptual"], strict=True
        )
    ]
    assert decoders == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_what_has_no_weight_changes_nothing(
    attack: Invert, straight: Inversion, network: Perceptual, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Discriminator, "forward", lambda *_: pytest.fail("nobody asked for an opinion"))
    assert_equal(attack(QUICK, perceptual=network), straight)


def test_a_killed_attack_with_every_loss_resumes_to_the_bit(
    attack: Invert, network: Perceptual, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, checkpoint, ask = (
        replace(QUICK, max_steps=30, gan=0.01, perceptual=0.1),
        tmp_path / "checkpoint.safetensors",
        BlackBox.__call__,
    )

    def dying(self: BlackBox, pictures: Tensor) -> Tensor:
        if self.queries > 700:
            raise KilledError
        return ask(self, pictures)

    with monkeypatch.context() as patch:
        patch.setattr(BlackBox, "__call__", dying)
        with pytest.raises(KilledError):
            attack(config, checkpoint, perceptual=network)
    assert checkpoint.exists()
    resumed, straight = attack(config, checkpoint, perceptual=network), attack(config, perceptual=network)
    assert_equal(resumed, straight)
    assert straight.fitted.validation_error != attack(replace(QUICK, max_steps=30)).fitted.validation_error


def test_the_error_that_decides_counts_the_perceptual_distance_and_not_the_discriminator(
    attack: Invert,
    network: Perceptual,
    pack: oneway.Pack,
    early: oneway.Run,
    runtime: oneway.RuntimeConfig,
    tmp_path: Path,
) -> None:
    done = attack(replace(QUICK, max_steps=10, gan=0.1, perceptual=3.0), perceptual=network).fitted
    place = Place(fabric=launch(runtime), checkpoint=tmp_path / "none", progress=False)
    access = BlackBox(early.load().encoder, place.fabric, pack.size)
    drawn, pictures = reconstruct(access, done.network, pack.validation, slice(None), place)
    quarters = [nn.functional.adaptive_avg_pool2d(given, 2) for given in (drawn, pictures)]
    expected = (drawn - pictures).square().mean() + 3.0 * 4 * (quarters[0] - quarters[1]).square().mean()
    assert done.validation_error == pytest.approx(float(expected), rel=1e-4)


def test_a_perceptual_weight_without_a_network_is_refused(attack: Invert) -> None:
    with pytest.raises(oneway.InputError, match=r"perceptual = 0\.1 weighs a distance in a network that was not given"):
        attack(replace(QUICK, perceptual=0.1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decoder": "mirorr"}, "decoder = 'mirorr' does not exist; did you mean 'mirror'"),
        ({"gan": -0.1}, "gan must be 0 or more, not -0.1"),
        ({"perceptual": float("nan")}, "perceptual must be a finite number, not nan"),
        ({"width": 0.0}, "width must be positive"),
    ],
)
def test_a_field_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        oneway.InversionConfig(**fields)
