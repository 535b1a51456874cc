"""The game's two steps: each moves its own player, holds the other fixed to the bit, and minimises the stated loss."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from oneway import Pack, ProtectConfig
from oneway.losses import TARGETS, Target
from oneway.metrics.image import ssim
from oneway.protection.game import adversary_steps, frozen, protector_step
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.runtime import launch
from oneway.tasks.registry import task_of

pytestmark = pytest.mark.whole

Game = Callable[..., Training]


@pytest.fixture
def game(pack: Pack, tiny: Callable[..., ProtectConfig], tmp_path: Path) -> Game:
    def make(changes: dict[str, object] | None = None, network: nn.Module | None = None) -> Training:
        config = tiny(changes)
        protector = build(config, size=pack.size, num_logits=len(pack.attributes), network=network)
        return Training(launch(config.runtime), pack, task_of(pack), config, protector, tmp_path)

    return make


def public_batches(game: Training, count: int = 2) -> list[Tensor]:
    return [game.public(step)[0] for step in range(count)]


def decode(game: Training, count: int = 2) -> Tensor:
    return adversary_steps(game.fabric, game.protector, game.adversary, public_batches(game, count))


def protect(
    game: Training, *, pixel: float, target: Target = "away", mean_picture: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    pictures, labels = game.private(0)
    return protector_step(
        game.fabric,
        game.protector,
        game.adversary,
        pictures,
        labels,
        mean_picture=game.mean_picture if mean_picture is None else mean_picture,
        pixel=pixel,
        target=target,
    )


def state(network: nn.Module) -> dict[str, Tensor]:
    """Every parameter and every buffer."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def moved(before: dict[str, Tensor], network: nn.Module) -> list[str]:
    after = network.state_dict()
    assert before.keys() == after.keys()
    return [name for name in before if not torch.equal(before[name], after[name])]


def gradients(network: nn.Module) -> dict[str, Tensor | None]:
    return {name: weight.grad for name, weight in network.named_parameters()}


@contextmanager
def losses_of(game: Training) -> Iterator[list[float]]:
    """Listen to every loss that is differentiated."""
    heard: list[float] = []
    backward = game.fabric.backward

    def listen(loss: Tensor, *arguments: object, **options: object) -> None:
        heard.append(float(loss.detach()))
        backward(loss, *arguments, **options)

    game.fabric.backward = listen
    yield heard
    game.fabric.backward = backward


def test_the_adversarys_steps_leave_the_encoder_and_the_classifier_unchanged_to_the_bit(game: Game) -> None:
    played = game()
    protector, decoder = state(played.protector.network), state(played.adversary.network)
    decode(played)
    assert any("running_mean" in name for name in protector), "the network must have statistics that could move"
    assert moved(protector, played.protector.network) == []
    assert moved(decoder, played.adversary.network) != []


def test_the_adversarys_steps_make_no_gradient_for_the_protector(game: Game) -> None:
    played = game()
    decode(played)
    assert all(gradient is None for gradient in gradients(played.protector.network).values())
    assert all(gradient is not None for gradient in gradients(played.adversary.network).values())


def test_the_adversary_sees_detached_features_as_the_encoder_gives_them_in_use(game: Game) -> None:
    played = game()
    protect(played, pixel=0.0)  # so that the running statistics differ from the batch's
    wrapped, seen = played.adversary.wrapped, []

    def spy(features: Tensor) -> Tensor:
        seen.append(features)
        return wrapped(features)

    played.adversary.wrapped = spy
    decode(played)
    assert len(seen) == 2
    assert not any(features.requires_grad for features in seen)
    encoder = played.protector.network.encoder.eval()
    with torch.no_grad():
        for features, pictures in zip(seen, public_batches(played), strict=True):
            torch.testing.assert_close(features, encoder(pictures))


def test_the_adversary_minimises_the_error_that_it_reports(game: Game) -> None:
    played = game()
    with losses_of(played) as heard:
        first = decode(played)
    assert float(first) == pytest.approx(sum(heard) / 2)
    for _ in range(30):
        last = decode(played)
    assert float(last) < 0.7 * float(first)


def test_the_protectors_step_leaves_the_decoder_unchanged_and_moves_encoder_and_classifier(game: Game) -> None:
    played = game()
    protector, decoder = state(played.protector.network), state(played.adversary.network)
    protect(played, pixel=3.0)
    assert moved(decoder, played.adversary.network) == []
    went = moved(protector, played.protector.network)
    for name, _ in played.protector.network.named_parameters():
        assert name in went
    assert {name.split(".")[0] for name in went} == {"encoder", "classifier"}


def test_the_protectors_step_makes_no_gradient_for_the_decoder(game: Game) -> None:
    played = game()
    protect(played, pixel=3.0)
    assert all(gradient is None for gradient in gradients(played.adversary.network).values())
    assert all(gradient is not None for gradient in gradients(played.protector.network).values())


def test_both_players_can_learn_again_after_they_were_held_fixed(game: Game) -> None:
    played = game()
    decode(played)
    protect(played, pixel=3.0)
    for network in (played.protector.network, played.adversary.network):
        assert all(module.training for module in network.modules())
        assert all(weight.requires_grad for weight in network.parameters())


def test_holding_a_network_fixed_puts_back_what_its_owner_froze() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)).train()
    network[0].requires_grad_(False)
    network[1].eval()
    with frozen(network) as held:
        assert not any(weight.requires_grad for weight in held.parameters())
        assert not any(module.training for module in held.modules())
    assert not network[0].weight.requires_grad
    assert network[2].weight.requires_grad
    assert (network.training, network[1].training, network[2].training) == (True, False, True)


def test_without_weight_the_decoder_is_never_asked(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    played = game({"game.pixel": 0.0})

    def asked(*_: object) -> Tensor:
        raise AssertionError("the decoder was asked")

    monkeypatch.setattr(type(played.adversary.network), "forward", asked)
    decoder = state(played.adversary.network)
    for _ in range(3):
        played.play()
        played.step += 1
    assert moved(decoder, played.adversary.network) == []
    assert not played.adversary.optimizer.state


@pytest.mark.parametrize("target", TARGETS)
def test_the_protectors_loss_is_the_utility_and_the_weighted_pixel_term(game: Game, target: Target) -> None:
    played = game()
    protector = copy.deepcopy(played.protector.network)
    decoder = copy.deepcopy(played.adversary.network).eval()
    pictures, labels = played.private(0)
    with losses_of(played) as heard:
        utility, error = protect(played, pixel=2.5, target=target)

    with torch.no_grad():
        features, logits = protector.train()(pictures)
        reconstructed = decoder(features)
    chance = torch.sigmoid(logits.double())
    cross_entropy = -(labels * chance.log() + ~labels * (1 - chance).log()).mean()
    mean_picture = played.mean_picture.expand_as(pictures)
    errors = (reconstructed - pictures).square().flatten(1).mean(dim=1)
    term = {
        "away": -errors.mean(),
        "mean_picture": (reconstructed - mean_picture).square().mean(),
        "ssim": torch.tensor(ssim(reconstructed, pictures).mean()),
    }[target]
    assert float(utility) == pytest.approx(float(cross_entropy), rel=1e-5)
    assert float(error) == pytest.approx(float(errors.mean()), rel=1e-5)
    assert heard == [pytest.approx(float(cross_entropy + 2.5 * term), rel=1e-4 if target == "ssim" else 1e-5)]


@pytest.mark.parametrize("target", TARGETS)
def test_the_weight_changes_the_encoders_gradient_and_not_the_classifiers(game: Game, target: Target) -> None:
    protected, plain = game(), game()
    protect(protected, pixel=3.0, target=target)
    protect(plain, pixel=0.0)
    ours, theirs = gradients(protected.protector.network), gradients(plain.protector.network)
    same = {name for name in theirs if torch.equal(ours[name], theirs[name])}
    assert same == {name for name in theirs if name.startswith("classifier.")}


def test_the_protector_spoils_the_pictures_of_a_decoder_that_stands_still(game: Game) -> None:
    settled = game()
    for _ in range(40):  # the decoder learns the features of the statistics in use, which must have settled
        protect(settled, pixel=0.0)
        decode(settled)
    for target in TARGETS:
        played = game()
        played.protector.network.load_state_dict(settled.protector.network.state_dict())
        played.adversary.network.load_state_dict(settled.adversary.network.state_dict())
        errors = [float(protect(played, pixel=100.0, target=target)[1]) for _ in range(10)]
        assert errors[-1] > 1.2 * errors[0], target


def other_distance(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """Stands in for a perceptual network's distance."""
    return (reconstructed.mean(dim=1) - pictures.mean(dim=1)).abs().flatten(1).mean(dim=1)


@pytest.mark.parametrize("target", TARGETS)
def test_the_perceptual_term_is_the_pixel_term_through_other_eyes(game: Game, target: Target) -> None:
    played = game()
    protector = copy.deepcopy(played.protector.network)
    decoder = copy.deepcopy(played.adversary.network).eval()
    pictures, labels = played.private(0)
    with losses_of(played) as heard:
        protector_step(
            played.fabric,
            played.protector,
            played.adversary,
            pictures,
            labels,
            mean_picture=played.mean_picture,
            pixel=0.0,
            target=target,
            perceptual=2.0,
            distance=other_distance,  # type: ignore[arg-type]
        )
    with torch.no_grad():
        features, logits = protector.train()(pictures)
        drawn = decoder(features).mean(dim=1)
    grey, mean = pictures.mean(dim=1), played.mean_picture.mean(dim=1)
    term = (drawn - mean).abs() if target == "mean_picture" else -(drawn - grey).abs()
    utility = nn.functional.binary_cross_entropy_with_logits(logits, labels.float())
    assert heard == [pytest.approx(float(utility + 2.0 * term.mean()), rel=1e-5)]


def test_the_game_sees_neither_validation_nor_test_people(game: Game, monkeypatch: pytest.MonkeyPatch) -> None:
    from oneway.data.packed import Test, Validation

    def seen(*_: object) -> None:
        raise AssertionError("a picture of a person who must not be seen")

    for part in (Validation, Test):
        monkeypatch.setattr(part, "images", seen, raising=False)
    played = game({"steps": 4})
    played.run(progress=False)
    assert played.step == 4
