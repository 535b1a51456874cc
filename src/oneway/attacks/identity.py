"""The identity attack: draw what a face verifier takes for the person, not what has the smallest error.

Whoever trains a decoder through a face verifier needs no picture to be right, only the person. From a vector of
features a small network corrects what a kernel ridge regression draws; from a map the residual decoder, trained for
pixels before, goes on for the person. (Otroshi Shahreza and Marcel, TIFS 2024, train on pixels, structure and identity
at once; from a vector we aim at what can be predicted of the picture and of the verifier's features, which has the same
mean as the true ones and less that only the public people have.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks import feature, kernel
from oneway.attacks.components import ComponentDecoder, draw
from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted, Schedule, fit
from oneway.attacks.linear import PICTURES
from oneway.config import Count, NotNegative, Positive, Whole, checked
from oneway.data.batches import Batches, load, spread

Index = NDArray[np.int64]
Mirrored = NDArray[np.bool_]
Aims = Callable[[Tensor, Index, Mirrored, int], tuple[Tensor, Tensor]]
"""Gives the pictures (n, 3, size, size) and the verifier's features (n, d) that drawings are drawn to: of features, of
which public pictures, which of them mirrored, by which surrogate."""
VALIDATED = 512
"""Validation pictures by which it is decided when to stop."""


@checked
@dataclass(frozen=True, kw_only=True)
class IdentityConfig(Schedule):
    """What the attacker minimises, and how long.

    Attributes:
        identity: weight of 1 - cosine of a verifier's features.
        pixels: weight of the mean squared error of pixels in 0..1.
        width: hidden units of the network that corrects a regression.

    """

    identity: Positive = 1.0
    pixels: NotNegative = 5.0
    width: Count = 512
    batch_size: Count = 16
    learning_rate: Positive = 3e-3
    drops: Whole = 2
    check_every: Count = 300
    max_steps: Count = 4500


class Corrected(nn.Module):
    """A kernel ridge regression to principal components of pictures, and a small network that corrects these.

    Args:
        start: the regression; it is not trained.
        spread: deviation of each component over public pictures, (components,).
        shape: of one picture's features.
        width: hidden units.

    """

    def __init__(self, start: ComponentDecoder, spread: Tensor, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.start = start.requires_grad_(False)
        self.register_buffer("spread", spread)
        self.correct = kernel.correction(int(torch.Size(shape).numel()), len(spread), width=width)

    spread: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            regression = self.start.read
            assert isinstance(regression, kernel.Kernel)
            read = regression.scale(features).flatten(1)
            return self.start.picture(self.start.read(features) + self.correct(read) * self.spread)


def draw_person(config: IdentityConfig, context: Context) -> Fitted[Any]:
    """Train a decoder through the surrogate verifiers, until they find validation people drawn no better.

    Args:
        config: the weights and the schedule.
        context: what the attacker has; at least one surrogate, and for maps of features the residual decoder to go on
            from, or else it corrects a kernel ridge regression.

    """
    if context.start is not None:
        return train(context.start, _true(context), config, context)
    start = draw(kernel.regress, context.pairs, context.validation, context.place).network
    return train(_corrected(start, config, context), predicted(start, context), config, context)


def train(
    network: nn.Module,
    aims: Aims,
    config: IdentityConfig,
    context: Context,
    *,
    penalty: Callable[[Tensor], Tensor] | None = None,
) -> Fitted[Any]:
    """Train a network through the surrogate verifiers, until they find validation people drawn no better.

    Args:
        network: from features (n, *shape) to pictures (n, 3, size, size) in 0..1.
        aims: what it is to draw.
        config: the weights and the schedule.
        context: what the attacker has.
        penalty: of the features of a batch (n, *shape), added to the loss.

    """
    access, public, surrogates = context.access, context.public, context.surrogates
    batches = Batches(
        public,
        batch_size=config.batch_size,
        seed=config.seed,
        mirror=access.mirrors and context.rows is None,
        rows=context.rows,
    )

    def loss(trained: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        features = access.features(public, index, mirrored)
        drawn, turn = trained(features), step % len(surrogates)
        picture, wanted = aims(features, index, mirrored, turn)
        seen = surrogates[turn](drawn, public.landmarks(index), mirrored)
        error = config.identity * (1 - (seen * wanted).sum(dim=1).mean()) + config.pixels * F.mse_loss(drawn, picture)
        return error if penalty is None else error + penalty(features)

    return fit(
        network,
        loss,
        lambda trained: _error(trained, context),
        config,
        context.place,
        name=context.name,
        access=access,
    )


def _true(context: Context) -> Aims:
    """Aim at the pictures, and at each surrogate's features of them."""
    public, device = context.public, context.place.fabric.device
    known = [surrogate.known(public, device) for surrogate in context.surrogates]

    def aims(_: Tensor, index: Index, mirrored: Mirrored, turn: int) -> tuple[Tensor, Tensor]:
        return load(public, index, mirrored, device), known[turn][torch.from_numpy(index)]

    return aims


def predicted(start: ComponentDecoder, context: Context) -> Aims:
    """Aim at what kernel ridge regressions predict of the pictures, and of each surrogate's features of them."""
    ways = _embeddings(context)

    @torch.no_grad()
    def aims(features: Tensor, _: Index, __: Mirrored, turn: int) -> tuple[Tensor, Tensor]:
        return start(features), F.normalize(ways[turn](features), dim=1)

    return aims


def _embeddings(context: Context) -> list[nn.Module]:
    """Predict each surrogate's features of a picture from the encoder's."""
    parts, device = (context.public, context.validation), context.place.fabric.device
    return [
        feature.solve(
            kernel.regress,
            context.pairs,
            context.validation,
            {part.split: surrogate.known(part, device).cpu().numpy() for part in parts},
        ).network
        for surrogate in context.surrogates
    ]


def _corrected(start: ComponentDecoder, config: IdentityConfig, context: Context) -> Corrected:
    rows = context.pairs.chosen(PICTURES)
    spread = start.components(load(context.public, rows, device=context.place.fabric.device)).std(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Corrected(start, spread, context.access.shape, config.width)


@torch.no_grad()
def _error(network: nn.Module, context: Context) -> float:
    """Give 1 - cosine of the surrogates' features on some validation people, the mean over both."""
    part, device = context.validation, context.place.fabric.device
    chosen = spread(len(part), VALIDATED)
    total = 0.0
    for surrogate in context.surrogates:
        known = surrogate.known(part, device)
        for start in range(0, len(chosen), 64):
            index = chosen[start : start + 64]
            drawn = network(context.access.features(part, index)).float()
            seen = surrogate(drawn, part.landmarks(index))
            total += float((1 - (seen * known[torch.from_numpy(index)]).sum(dim=1)).sum())
    return total / (len(chosen) * len(context.surrogates))
