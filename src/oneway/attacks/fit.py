"""Train an attacker's network until people it was not trained on say that it gets no better."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Self, TypeVar

from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from oneway.attacks.access import Access
from oneway.config import Count, Positive, Whole, checked
from oneway.errors import DivergedError
from oneway.models.seeded import seeded
from oneway.progress import track
from oneway.runtime import lay_out
from oneway.storage import runs

DROP = 0.3
IMPROVEMENT = 0.01
Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[nn.Module, int], Tensor]
"""Gives the loss of step `step`, from the network to be trained and the step."""


@checked
@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When an attacker's learning rate falls and when it stops.

    Attributes:
        batch_size: public pictures in a batch.
        learning_rate: the first; it falls to 0.3 of itself whenever the error on the validation people has not
            improved by 1 % since the last check, and training ends when that happens after the last fall.
        drops: how often the learning rate falls.
        check_every: steps between two checks.
        max_steps: the budget; an attack that it ends says so, since a longer one might do better.
        seed: of the initial weights and of the order of the pictures.

    """

    batch_size: Count = 64
    learning_rate: Positive = 2e-3
    drops: Whole = 3
    check_every: Count = 100
    max_steps: Count = 2000
    seed: Whole = 0

    def within(self, steps: int | None) -> Self:
        """Give the same with another budget of steps, if there is one."""
        if steps is None:
            return self
        return replace(self, max_steps=steps, check_every=min(steps, self.check_every))


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an attack computes, and where it keeps its state.

    Attributes:
        fabric: where it runs.
        checkpoint: a file to go on from if it exists, and to keep the state in; it is left for the caller to delete.
        checkpoint_seconds: least time between two checkpoints.
        progress: show a bar.

    """

    fabric: Fabric
    checkpoint: Path
    checkpoint_seconds: float = 20.0
    progress: bool = True


@dataclass(frozen=True, kw_only=True)
class Fitted(Generic[Network]):
    """A trained network.

    Attributes:
        network: its best weights, in evaluation mode.
        steps: how many it was trained for.
        converged: whether its validation error had stopped improving; else the budget ended it.
        validation_error: the lowest error on the validation people.

    """

    network: Network
    steps: int
    converged: bool
    validation_error: float


def fit(
    network: Network,
    loss: Loss,
    validate: Callable[[Network], float],
    schedule: Schedule,
    place: Place,
    *,
    name: str,
    access: Access,
    others: Mapping[str, tuple[nn.Module, Optimizer | None]] | None = None,
    weight_decay: float = 0.0,
) -> Fitted[Network]:
    """Train `network` by AdamW until its validation error stops improving, or the budget ends it.

    Args:
        network: new weights, or others to go on from.
        loss: gives the loss of a step; whatever it trains beside (a discriminator) belongs to `others`.
        validate: the error on validation people, above 0, lower is better; decides the schedule and the weights kept.
        schedule: learning rate, checks and budget.
        place: where it runs and where its state is kept.
        name: of the attack, for the bar and for errors.
        access: whose count of queries is kept with the state. What an encoder that adds noise answers depends on the
            seed of the schedule, the name and the step alone, so training that goes on from a checkpoint is the
            uninterrupted one; every check has the same noise.
        others: networks and optimizers to keep in the checkpoint beside it.
        weight_decay: of AdamW.

    Raises:
        DivergedError: if the error is no longer finite.

    """
    state = _State(network, schedule, place.fabric, others or {}, name, access, weight_decay)
    if place.checkpoint.exists():
        state.restore(place.checkpoint)
    saved = time.monotonic()
    with track(name, schedule.max_steps, "steps", enabled=place.progress, before=state.step) as advance:
        while not state.converged and state.step < schedule.max_steps:
            until = min(state.step + schedule.check_every, schedule.max_steps)
            advanced = until - state.step
            for step in range(state.step, until):
                # What the network draws too, as dropout does: stored features seed nothing.
                with access.seeded(schedule.seed, name, step), seeded(state.network, schedule.seed, name, step):
                    state.learn(loss(state.wrapped, step))
            state.step = until
            state.network.eval()
            with access.seeded(schedule.seed, name, "check"):
                state.check(validate(state.network))
            state.network.train()
            advance(advanced, error=state.best)
            if time.monotonic() - saved > place.checkpoint_seconds:
                state.save(place.checkpoint)
                saved = time.monotonic()
    return Fitted(network=state.kept.eval(), steps=state.step, converged=state.converged, validation_error=state.best)


class _State(Generic[Network]):
    """The network while it is trained, its best weights so far, and where the schedule stands."""

    def __init__(
        self,
        network: Network,
        schedule: Schedule,
        fabric: Fabric,
        others: Mapping[str, tuple[nn.Module, Optimizer | None]],
        name: str,
        access: Access,
        weight_decay: float,
    ) -> None:
        self.schedule, self.fabric, self.others, self.name, self.access = schedule, fabric, others, name, access
        self.network = lay_out(network.train(), fabric.device)
        self.step, self.drops, self.best, self.converged = 0, 0, math.inf, False
        self.kept = copy.deepcopy(self.network)
        optimizer = AdamW(self.network.parameters(), lr=schedule.learning_rate, weight_decay=weight_decay, fused=True)
        self.wrapped, self.optimizer = fabric.setup(self.network, optimizer)

    def learn(self, loss: Tensor) -> None:
        """Take one step down a loss."""
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()

    def check(self, error: float) -> None:
        """Keep the weights if they are the best so far; lower the learning rate, or end, if they are hardly so."""
        if not math.isfinite(error):
            raise DivergedError(
                f"the {self.name}'s error is not finite at step {self.step}; lower its learning_rate "
                f"(now {self.schedule.learning_rate:g})"
            )
        improved = error < self.best * (1 - IMPROVEMENT)
        if error < self.best:
            self.best = error
            self.kept.load_state_dict(self.network.state_dict())
        if not improved:
            self.converged = self.drops == self.schedule.drops
            self.drops += 1
            self._set_learning_rate()

    def _set_learning_rate(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.learning_rate * DROP**self.drops

    def _trained(self) -> dict[str, tuple[nn.Module, Optimizer | None]]:
        return {"network": (self.network, self.optimizer), "kept": (self.kept, None), **self.others}

    def save(self, checkpoint: Path) -> None:
        """Write everything that the rest of the training depends on."""
        about = {"step": self.step, "drops": self.drops, "best": self.best, "converged": self.converged}
        about["queries"] = self.access.queries
        runs.save(checkpoint, self._trained(), about)

    def restore(self, checkpoint: Path) -> None:
        """Go back to the checkpoint."""
        about = runs.restore(checkpoint, self._trained())
        self.step, self.drops, self.best = about["step"], about["drops"], about["best"]
        self.converged, self.access.queries = about["converged"], about["queries"]
        self._set_learning_rate()
