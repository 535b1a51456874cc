"""The black-box inversion attack: a decoder trained from scratch on public pictures and their features (eq. 1)."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from oneway import losses, runs
from oneway.attacks.access import BlackBox
from oneway.data.batches import Batches, to_pictures
from oneway.data.packed import Part, Public, Validation
from oneway.errors import DivergedError, InputError
from oneway.models.decoder import Decoder
from oneway.progress import track

DROP = 0.3
IMPROVEMENT = 0.01
SAMPLE = 512
"""Public pictures whose features tell the decoder their scale."""


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """The attacker's decoder and how long it is trained.

    Attributes:
        width: factor on the channels of the encoder's mirror.
        batch_size: public pictures in a batch.
        learning_rate: the first; it falls to 0.3 of itself whenever the error on the validation people has not
            improved by 1 % since the last check, and training ends when that happens after the last fall.
        drops: how often the learning rate falls.
        check_every: steps between two checks.
        max_steps: the budget; an attack that it ends says so, since a longer one might do better.
        seed: of the initial weights and of the order of the pictures.

    """

    width: float = 2.0
    batch_size: int = 16
    learning_rate: float = 4e-3
    drops: int = 3
    check_every: int = 200
    max_steps: int = 6000
    seed: int = 0

    def __post_init__(self) -> None:
        laws = {
            "width": self.width > 0,
            "batch_size": self.batch_size >= 1,
            "learning_rate": self.learning_rate > 0,
            "check_every": self.check_every >= 1,
            "max_steps": self.max_steps >= 1,
        }
        for name, holds in laws.items():
            if not holds:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if self.drops < 0 or self.seed < 0:
            raise InputError(f"drops and seed must be 0 or more, not {self.drops} and {self.seed}")


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """A trained attack.

    Attributes:
        decoder: maps features to pictures.
        steps: how many it was trained for.
        converged: whether its validation error had stopped improving; else the budget ended it.
        validation_error: mean squared error on the validation people, pixel values in 0..1.
        queries: pictures it sent to the encoder.

    """

    decoder: nn.Module
    steps: int
    converged: bool
    validation_error: float
    queries: int


def invert(
    access: BlackBox,
    public: Public,
    validation: Validation,
    decoder: Decoder,
    config: InversionConfig,
    *,
    fabric: Fabric,
    checkpoint: Path,
    checkpoint_seconds: float = 20.0,
    progress: bool = True,
) -> Inversion:
    """Train `decoder` to undo the encoder, until it stops getting better on people it was not trained on.

    Args:
        access: the victim.
        public: the attacker's pictures.
        validation: other people, who decide when to stop and which weights are kept.
        decoder: new weights, from features to pictures; it is told the scale of the features first.
        config: the schedule.
        fabric: where it runs.
        checkpoint: a file to go on from if it exists, and to keep the state in.
        checkpoint_seconds: least time between two checkpoints.
        progress: show a bar.

    Raises:
        DivergedError: if the error is no longer finite.

    """
    state = _State(config, decoder, fabric)
    batches = Batches(public, batch_size=config.batch_size, seed=config.seed, device=fabric.device)
    if checkpoint.exists():
        access.queries = state.restore(checkpoint)
    else:
        sample = public.images(np.sort(np.random.default_rng(config.seed).permutation(len(public))[:SAMPLE]))
        decoder.standardise.observe(access(to_pictures(sample, fabric.device)))
    saved = time.monotonic()
    with track("attack", config.max_steps, "steps", enabled=progress, before=state.step) as advance:
        while not state.converged and state.step < config.max_steps:
            until = min(state.step + config.check_every, config.max_steps)
            advanced = until - state.step
            for step in range(state.step, until):
                pictures, _ = batches(step)
                state.learn(access(pictures), pictures)
            state.step = until
            state.check(_error(access, state.decoder, validation, fabric))
            advance(advanced, error=state.best)
            if time.monotonic() - saved > checkpoint_seconds:
                state.save(checkpoint, access.queries)
                saved = time.monotonic()
    return state.finish(access.queries)


@torch.no_grad()
def reconstruct(
    access: BlackBox, decoder: nn.Module, pixels: NDArray[np.uint8], fabric: Fabric
) -> tuple[Tensor, Tensor]:
    """Send pictures, (n, size, size, 3) in 0..255, and decode their features.

    Returns:
        the reconstructions and the pictures, both (n, 3, size, size) in 0..1.

    """
    pictures = to_pictures(pixels, fabric.device)
    with fabric.autocast():
        reconstructed = decoder(access(pictures)).float()
    return reconstructed, pictures


def _error(access: BlackBox, decoder: nn.Module, part: Part, fabric: Fabric) -> float:
    """Measure the mean squared error over a part, pixel values in 0..1."""
    total = 0.0
    for start in range(0, len(part), 256):
        total += float(
            losses.reconstruction(*reconstruct(access, decoder, part.images(slice(start, start + 256)), fabric)).sum()
        )
    return total / len(part)


class _State:
    """The decoder while it is trained, its best weights so far, and where the schedule stands."""

    def __init__(self, config: InversionConfig, decoder: nn.Module, fabric: Fabric) -> None:
        self.config, self.fabric = config, fabric
        self.decoder = decoder.to(device=fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step, self.drops, self.best, self.converged = 0, 0, math.inf, False
        self.kept = copy.deepcopy(self.decoder)
        optimizer = AdamW(self.decoder.parameters(), lr=config.learning_rate, weight_decay=0.0, fused=True)
        self.wrapped, self.optimizer = fabric.setup(self.decoder, optimizer)

    def learn(self, features: Tensor, pictures: Tensor) -> None:
        """Take one step on a batch."""
        loss = losses.reconstruction(self.wrapped(features), pictures).mean()
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()

    def check(self, error: float) -> None:
        """Keep the weights if they are the best so far; lower the learning rate, or end, if they are hardly so."""
        if not math.isfinite(error):
            raise DivergedError(
                f"the attack's error is not finite at step {self.step}; lower its learning_rate "
                f"(now {self.config.learning_rate:g})"
            )
        improved = error < self.best * (1 - IMPROVEMENT)
        if error < self.best:
            self.best = error
            self.kept.load_state_dict(self.decoder.state_dict())
        if not improved:
            self.converged = self.drops == self.config.drops
            self.drops += 1
            self._set_learning_rate()

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * DROP**self.drops

    def _trained(self) -> dict[str, tuple[nn.Module, Optimizer | None]]:
        return {"decoder": (self.decoder, self.optimizer), "kept": (self.kept, None)}

    def save(self, checkpoint: Path, queries: int) -> None:
        """Write everything that the rest of the attack depends on."""
        about = {"step": self.step, "drops": self.drops, "best": self.best, "converged": self.converged}
        about["queries"] = queries
        runs.save(checkpoint, self._trained(), about)

    def restore(self, checkpoint: Path) -> int:
        """Go back to the checkpoint; gives the queries that led to it."""
        about = runs.restore(checkpoint, self._trained())
        self.step, self.drops, self.best = about["step"], about["drops"], about["best"]
        self.converged = about["converged"]
        self._set_learning_rate()
        return int(about["queries"])

    def finish(self, queries: int) -> Inversion:
        """Give the attack with its best weights."""
        return Inversion(
            decoder=self.kept.eval(),
            steps=self.step,
            converged=self.converged,
            validation_error=self.best,
            queries=queries,
        )
