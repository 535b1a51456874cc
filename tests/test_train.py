"""Protect runs: the same to the bit under a seed and after a kill, and stopped with a reason when they diverge."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import oneway
from oneway import losses
from oneway.protection.train import Training, learning_rate
from oneway.storage.runs import read_tensors
from trees import noise_source

pytestmark = pytest.mark.whole

Protect = Callable[..., oneway.Run]


class KilledError(Exception):
    """Stands in for a kill."""


@pytest.fixture
def protect(pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path) -> Protect:
    def make(name: str, changes: dict[str, Any] | None = None, **options: Any) -> oneway.Run:
        return oneway.protect(pack, tmp_path / name, tiny(changes), progress=False, **options)

    return make


def weights(run: oneway.Run) -> dict[str, torch.Tensor]:
    return read_tensors(run.path / "protector.safetensors")[0]


def differing(one: oneway.Run, other: oneway.Run) -> list[str]:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return [name for name in ours if not torch.equal(ours[name], theirs[name])]


def kill_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the process die after so many steps."""
    play, played = Training.play, []

    def dying(self: Training) -> torch.Tensor:
        if len(played) == steps:
            raise KilledError
        played.append(self.step)
        return play(self)

    monkeypatch.setattr(Training, "play", dying)


def test_a_run_is_the_same_to_the_bit_under_a_seed(protect: Protect) -> None:
    one, again = protect("one"), protect("again")
    assert differing(one, again) == []
    assert (one.path / "log.csv").read_bytes() == (again.path / "log.csv").read_bytes()


def test_another_seed_gives_other_weights(protect: Protect) -> None:
    one, other = protect("one", {"steps": 2}), protect("other", {"steps": 2, "seed": 1})
    matrices = {name for name, weight in weights(one).items() if weight.ndim > 1}
    assert matrices <= set(differing(one, other))


def test_what_the_caller_drew_before_makes_no_difference(protect: Protect) -> None:
    torch.manual_seed(1)
    one = protect("one", {"steps": 2})
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    other = protect("other", {"steps": 2})
    assert differing(one, other) == []
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(("precision", "noise"), [("32", 0.0), ("bf16", 2.0)])
def test_a_killed_run_resumes_to_the_uninterrupted_one_to_the_bit(
    protect: Protect, monkeypatch: pytest.MonkeyPatch, precision: str, noise: float
) -> None:
    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 3)  # steps between two checkpoints
    changes = {"steps": 8, "runtime.precision": precision, "network.noise": noise}
    straight = protect("straight", changes)
    # Before the first checkpoint, in the middle of the game, and between the last checkpoint and the end.
    for already, steps in enumerate((2, 5, 4)):
        with monkeypatch.context() as patch:
            kill_after(patch, steps)
            with pytest.raises(KilledError):
                protect("killed", changes, resume=already > 0)
    resumed = protect("killed", changes, resume=True)
    assert differing(straight, resumed) == []
    assert (straight.path / "log.csv").read_bytes() == (resumed.path / "log.csv").read_bytes()
    results = [json.loads((run.path / "results.json").read_text())["utility"] for run in (straight, resumed)]
    assert results[0] == results[1]


def test_the_log_has_a_row_of_averages_every_twenty_steps_and_at_the_end(protect: Protect) -> None:
    run = protect("run", {"steps": 50})
    with (run.path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [20, 40, 50]
    for row in rows:
        assert all(np.isfinite(float(value)) for value in row.values())
    pixel = [float(row["pixel_weight"]) for row in rows]
    assert pixel == sorted(pixel)
    assert pixel[0] < pixel[-1] == run.config.game.pixel
    assert list((run.path / "tensorboard").iterdir())


@pytest.mark.parametrize(
    "setting",
    [
        {"game.decoder_steps": 5},
        {"game.decoder_batch_size": 3},
        {"game.warmup": 0.0},
        {"game.ramp": 0.0},
        {"game.target": "away"},
        {"decoder_learning_rate": 1.0},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_the_unprotected_run_depends_on_nothing_of_the_decoder(protect: Protect, setting: dict[str, Any]) -> None:
    changes = {"game.pixel": 0.0, "steps": 4}
    assert differing(protect("one", changes), protect("other", changes | setting)) == []


@pytest.mark.parametrize("setting", [{"game.pixel": 1.0}, {"game.decoder_steps": 5}, {"game.target": "away"}])
def test_the_protected_run_depends_on_its_game(
    protect: Protect, protected: oneway.Run, setting: dict[str, Any]
) -> None:
    assert differing(protected, protect("other", {"game.pixel": 3.0} | setting)) != []


def test_a_game_through_a_perceptual_network_is_played_and_without_one_refused(
    protect: Protect, resnet_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {
        "game.perceptual_network": f"resnet10t:{resnet_file}",
        "game.pixel": 0.0,
        "game.perceptual": 1.0,
        "steps": 6,
    }
    blind = protect("blind", {"game.pixel": 0.0, "steps": 6, "network.noise": 0.0, "network.bottleneck": 0})
    alone = protect("alone", seen | {"network.noise": 0.0, "network.bottleneck": 0})
    assert alone.config.protects
    assert differing(blind, alone) != []
    both = protect("both", seen | {"game.pixel": 1.0})
    assert differing(both, protect("pixels", {"game.pixel": 1.0, "steps": 6})) != []
    relative = seen | {"game.pixel": 1.0, "game.perceptual_relative": True}
    assert differing(both, protect("relative", relative)) != []
    with pytest.raises(oneway.InputError, match=r"game\.perceptual_network must be given"):
        protect("none", {"game.perceptual": 1.0, "game.pixel": 1.0})
    with pytest.raises(oneway.InputError, match="nowhere"):
        protect("none", seen | {"game.perceptual_network": f"resnet10t:{tmp_path / 'nowhere'}"})
    assert not (tmp_path / "none").exists()
    monkeypatch.setattr("oneway.models.perceptual.losses.by_layer", lambda *_: torch.zeros(2, 3))
    with pytest.raises(oneway.InputError, match="sees no difference"):
        protect("none", relative)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("steps", [1, 7, 100, 1500])
def test_the_learning_rate_rises_over_a_tenth_and_falls_to_nearly_nothing(steps: int) -> None:
    rates = np.array([learning_rate(step, steps) for step in range(steps)])
    risen = -(-steps // 10)
    assert np.all(rates > 0)
    assert np.all(rates <= 1.001)
    assert np.all(np.diff(rates[:risen]) > 0)
    assert np.all(np.diff(rates[max(0, risen - 1) :]) < 0)
    assert rates[-1] <= 1e-3
    if steps >= 100:
        assert rates.max() >= 0.999
        assert rates[risen // 2] == pytest.approx(0.5, abs=0.2)
        assert rates[(steps + risen) // 2] == pytest.approx(0.5, abs=0.02)


def test_the_task_is_learned_on_drawn_faces(unprotected: oneway.Run) -> None:
    results = json.loads((unprotected.path / "results.json").read_text())
    value = results["utility"]["value"]
    assert value["low"] > 0.1
    assert set(results["utility"]["each"]) == set(unprotected.pack.attributes)
    assert results["utility"]["each"]["Black_Hair"]["low"] > 0.5


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    protect: Protect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    utility, asked = losses.utility, []

    def spoiled(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append(len(logits))
        return utility(logits, labels) * (torch.nan if len(asked) == 8 else 1)

    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 5)  # steps between two checkpoints
    with monkeypatch.context() as patch:
        patch.setattr(losses, "utility", spoiled)
        with pytest.raises(oneway.DivergedError, match=r"not finite at step 8 .*step 5 in .*lower learning_rate"):
            protect("run", {"steps": 10})
    tensors, about = read_tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert about["step"] == 5
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / "run" / "results.json").exists()
    assert not (tmp_path / "run" / "protector.safetensors").exists()
    assert "nan" not in (tmp_path / "run" / "log.csv").read_text()
    with pytest.raises(oneway.InputError, match=r"unfinished run.*--resume"):
        oneway.Run.open(tmp_path / "run")
    assert differing(protect("run", {"steps": 10}, resume=True), protect("straight", {"steps": 10})) == []


def test_weights_that_are_not_finite_never_become_the_good_checkpoint(
    protect: Protect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    utility, asked = losses.utility, []

    def steep(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """A finite loss at step 10, whose gradient is not: the weights that follow are lost."""
        asked.append(len(logits))
        loss = utility(logits, labels)
        return loss + torch.sqrt(loss - loss.detach()) if len(asked) == 10 else loss

    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 5)
    monkeypatch.setattr(losses, "utility", steep)
    with pytest.raises(oneway.DivergedError):
        protect("run", {"steps": 15})
    tensors, _ = read_tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_run_whose_last_step_ruins_the_weights_is_not_finished(
    protect: Protect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    utility, asked = losses.utility, []

    def steep(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        asked.append(len(logits))
        loss = utility(logits, labels)
        return loss + torch.sqrt(loss - loss.detach()) if len(asked) == 7 else loss

    monkeypatch.setattr(losses, "utility", steep)
    with pytest.raises(oneway.DivergedError):
        protect("run", {"steps": 7})
    assert not (tmp_path / "run" / "results.json").exists()


def test_an_absurd_learning_rate_is_named(protect: Protect) -> None:
    with pytest.raises(oneway.DivergedError, match=r"lower learning_rate \(now 1e\+38\)"):
        protect("run", {"learning_rate": 1e38, "game.pixel": 0.0})


def test_a_task_of_some_attributes_in_the_callers_order(protect: Protect) -> None:
    run = protect("run", {"task": ("Smiling", "Bald"), "steps": 2})
    results = json.loads((run.path / "results.json").read_text())
    assert list(results["utility"]["each"]) == ["Smiling", "Bald"]
    assert run.attributes == ("Smiling", "Bald")
    reopened = oneway.Run.open(run.path, run.pack)
    assert reopened.attributes == ("Smiling", "Bald")
    assert reopened.load()(torch.zeros(1, 3, 32, 32))[1].shape == (1, 2)


def test_an_unknown_attribute_offers_the_nearest_and_leaves_nothing(protect: Protect, tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="'Smilling' does not exist; did you mean 'Smiling'"):
        protect("run", {"task": ("Smilling",)})
    assert not (tmp_path / "run").exists()


def test_a_pack_without_attributes_has_no_task(tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path) -> None:
    bare = oneway.prepare(noise_source(60, attributes=0), tmp_path / "bare", size=32, jobs=1, progress=False)
    with pytest.raises(oneway.InputError, match="no attributes, so there is no task"):
        oneway.protect(bare, tmp_path / "run", tiny(), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_with_other_options_does_not_resume(protect: Protect, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        kill_after(patch, 1)
        with pytest.raises(KilledError):
            protect("run")
    with pytest.raises(oneway.InputError, match=r"started with protect.seed = 0, not 1; resume with the options"):
        protect("run", {"seed": 1}, resume=True)
    # Where it runs is no part of the question, so it may change.
    protect("run", {"runtime.checkpoint_seconds": 100.0}, resume=True)


def test_a_finished_run_is_opened_with_the_configuration_it_was_made_with(unprotected: oneway.Run) -> None:
    made = json.loads((unprotected.path / "config.json").read_text())
    assert made["data"]["hash"] == unprotected.pack.hash
    assert unprotected.config == oneway.Run.open(unprotected.path).config
    assert isinstance(unprotected.config.task, tuple)
