"""What a step computes and waits for, counted: counts do not depend on the machine or its mood."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

import oneway
from oneway.attacks.access import FeatureDump
from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.runtime import launch
from oneway.tasks.registry import task_of

WAITS = "aten._local_scalar_dense.default"
"""The operation by which a number leaves the device, for which a GPU has to end all that it was given."""


class Counted(TorchDispatchMode):
    """Counts the operations that are dispatched in a block."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations[str(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def training(pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path) -> Training:
    """The game in its middle, after a step that sets up the optimizers."""
    config = tiny({"game.decoder_steps": 4, "network.bottleneck": 8, "network.noise": 0.5})
    protector = build(config, size=pack.size, num_logits=len(pack.attributes))
    made = Training(launch(config.runtime), pack, task_of(pack), config, protector, tmp_path)
    made.step = made.warm_steps
    made.play()
    made.step += 1
    return made


def test_a_step_of_the_game_waits_for_no_number_and_dispatches_few_operations(training: Training) -> None:
    with Counted() as counted:
        training.play()
    assert counted.operations[WAITS] == 0
    assert counted.operations.total() < 1600  # a plain step, its optimizers one weight at a time, has 3,500


def test_a_step_of_the_game_asks_the_encoder_twice(training: Training) -> None:
    asked: list[int] = []
    training.protector.network.encoder.register_forward_hook(lambda _, pictures, __: asked.append(len(pictures[0])))
    training.play()
    game = training.config.game
    assert asked == [game.decoder_steps * game.decoder_batch_size, training.config.batch_size]


def test_the_decoder_is_held_fixed_at_two_thirds_of_its_cost(training: Training) -> None:
    def flops(learning: bool) -> int:
        pictures, _ = training.private(0)
        features = training.protector.network.encoder(pictures).detach().requires_grad_()
        decoder = training.adversary.network.requires_grad_(learning)
        with FlopCounterMode(display=False) as counter:
            decoder(features).sum().backward()
        decoder.requires_grad_(True)
        return int(counter.get_total_flops())

    assert flops(learning=False) == pytest.approx(2 / 3 * flops(learning=True), rel=0.05)


def test_an_attacker_on_recorded_features_waits_for_no_number_between_its_checks(
    pack: oneway.Pack, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    stored = {
        part.split: draw.random((len(part), 8, 4, 4), dtype=np.float32) for part in (pack.public, pack.validation)
    }
    access = FeatureDump(stored, torch.device("cpu"))
    config = InversionConfig(decoder="residual", width=0.25, batch_size=8, check_every=6, max_steps=6)
    place = Place(fabric=launch(runtime), checkpoint=tmp_path / "state", checkpoint_seconds=1e9, progress=False)

    def waits(steps: int) -> int:
        decoder: nn.Module = draw_decoder(config, access.shape, None, pack.size)
        with Counted() as counted:
            invert(access, pack.public, pack.validation, decoder, replace(config, max_steps=steps), place)
        return counted.operations[WAITS]

    assert waits(6) == waits(3)
