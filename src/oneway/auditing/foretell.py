"""How long an audit will take on this machine: a few steps of each attacker, timed before any of them is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks import feature, kernel
from oneway.attacks.access import Access
from oneway.attacks.context import Context
from oneway.attacks.fit import Place
from oneway.attacks.inversion import draw_decoder
from oneway.attacks.pairs import Pairs
from oneway.attacks.panel import Attacker, attackers
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.reconstruction import networks_of
from oneway.data.batches import load
from oneway.data.packed import Pack, Part, Public, Validation
from oneway.judges.surrogate import Points, Surrogate
from oneway.judges.verifier import Verifier
from oneway.models.decoder import Stage

TIMED = 2
"""Steps of each kind that are timed, after one that is not."""
_PUBLIC = 64
"""Public pictures of which batches are drawn meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Times attackers on one encoder.

    Attributes:
        access: the encoder.
        pack: the people.
        config: the budgets.
        fabric: where it runs.
        stages: the encoder's resolutions, if they are known.
        noisy: whether it answers differently each time.
        surrogates: verifiers that attackers train with, by name.

    """

    access: Access
    pack: Pack
    config: AuditConfig
    fabric: Fabric
    stages: list[Stage] | None
    noisy: bool = False
    surrogates: dict[str, Surrogate] | None = None

    def training(self, panel: Iterable[Attacker]) -> float:
        """Give the seconds that the training of some inversion attackers takes, if each lasts as long as its budget.

        Whichever is the strongest is trained again, if several seeds are asked for, so no other takes longer than the
        longest.
        """
        seconds = [self._drawing(attacker) for attacker in panel]
        return sum(seconds) + (self.config.seeds - 1) * max(seconds, default=0.0)

    def predicting(self) -> float:
        """Give the seconds that a network takes that predicts a judge's features, likewise."""
        public, few = self._parts
        known = {part.split: np.ones((len(part), 512), dtype=np.float32) for part in (public, few)}
        pairs = Pairs(access=self.access, fitted_on=self.access, public=public, noisy=self.noisy)
        solved = feature.solve(kernel.regress, pairs, few, known).network

        def learn(steps: int, place: Place) -> None:
            config = replace(self.config.feature, max_steps=steps, check_every=steps)
            feature.learn(self.access, public, few, known, solved, config, place)

        return self._seconds(learn, self.config.feature.max_steps)

    def _drawing(self, attacker: Attacker) -> float:
        if attacker.budget is None:
            return 0.0
        public, few = self._parts
        perceptual, generator = networks_of(attacker, self.config, self.pack.size, self.fabric.device)
        known = self.surrogates or {}
        start = self._start(attacker)

        def fit(steps: int, place: Place) -> None:
            context = Context(
                access=self.access,
                fitted_on=self.access,
                public=public,
                validation=few,
                place=place,
                stages=self.stages,
                seed=attacker.seed,
                steps=steps,
                perceptual=perceptual,
                generator=generator,
                surrogates=tuple(_Unasked(known[name]) for name in attacker.trains_with),  # type: ignore[misc]
                start=start,
                noisy=self.noisy,
            )
            attacker.fit(context)

        return self._seconds(fit, attacker.budget)

    def _start(self, attacker: Attacker) -> nn.Module | None:
        """Give new weights of the decoder that an attacker goes on from."""
        shape = self.access.shape
        if attacker.start is None or not attacker.goes_on(shape):
            return None
        config = attackers()[attacker.start].config
        return None if config is None else draw_decoder(config, shape, self.stages, self.pack.size)

    def _seconds(self, train: Callable[[int, Place], None], budget: int) -> float:
        """Time steps by the difference of two short trainings."""
        took = []
        for steps in (1, 1 + TIMED):
            with TemporaryDirectory() as folder:
                place = Place(fabric=self.fabric, checkpoint=Path(folder) / "attack.safetensors", progress=False)
                begun = time.perf_counter()
                train(steps, place)
                took.append(time.perf_counter() - begun)
        most = budget if self.config.steps is None else min(self.config.steps, budget)
        return most * max(0.0, took[1] - took[0]) / TIMED

    @property
    def _parts(self) -> tuple[Public, Validation]:
        pack = self.pack
        return (
            Public(pack=pack, rows=_first(pack.public, _PUBLIC)),
            Validation(pack=pack, rows=_first(pack.validation, 1)),
        )


class _Unasked:
    """A surrogate whose features of real pictures nobody waits for."""

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate, self.name = surrogate, surrogate.name

    def __call__(self, pictures: Tensor, points: Points | None, mirrored: NDArray[np.bool_] | None = None) -> Tensor:
        return self._surrogate(pictures, points, mirrored)

    def known(self, part: Part, device: torch.device) -> Tensor:
        pictures = load(part, slice(0, 1), device=device)
        with torch.no_grad():
            seen = self._surrogate(pictures, part.landmarks(slice(0, 1)))
        return F.normalize(torch.ones(len(part), seen.shape[1], device=device), dim=1)


def judging(verifier: Verifier, pack: Pack) -> float:
    """Give the seconds that a verifier takes for what one attacker drew of validation and test people."""
    pictures, landmarks = load(pack.test, slice(0, 16)), pack.test.landmarks(slice(0, 16))
    verifier(pictures[:1], None if landmarks is None else landmarks[:1])  # what is done once is not counted
    begun = time.perf_counter()
    verifier(pictures, landmarks)
    return (time.perf_counter() - begun) / len(pictures) * (len(pack.validation) + len(pack.test))


def foretell(context: AuditContext, panel: dict[str, Attacker]) -> float:
    """Give the seconds that the attackers of an audit, and those who judge them, take at most.

    What is solved, linked and put together comes on top, some minutes.

    Args:
        context: the audit.
        panel: its inversion attackers by label, those that are not finished.

    """
    config = context.config
    rehearsal = Rehearsal(
        access=context.stolen.access,
        pack=context.pack,
        config=config,
        fabric=context.steps.fabric,
        stages=context.victim.stages,
        noisy=context.stolen.noisy,
        surrogates=context.surrogates.networks,
    )
    with context.seeded("foretell"):
        drawn = rehearsal.training(panel.values())
        predicted = rehearsal.predicting() if config.alone is None else 0.0
    verifiers = [judge.verifier for judge in context.judges if judge.verifier is not None]
    judged = sum(judging(verifier, context.pack) for verifier in verifiers)
    return drawn + len(verifiers) * predicted + (len(panel) + config.seeds - 1) * judged


def _first(part: Part, count: int) -> slice:
    return slice(part.rows.start, min(part.rows.start + count, part.rows.stop))
