"""The generative attack: of all pictures that a generator can draw, the one that the features tell of.

What the features lack, a generator that has seen many people fills in with what a face can be, so that a drawing holds
nothing that only the verifiers it was trained through take for a face. (After Otroshi Shahreza and Marcel, TIFS 2024,
who map templates into the latents of a face generator; ours takes its latents layer by layer, as inversions of
StyleGAN do, and keeps them near those that it was trained on.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from oneway.attacks import identity, kernel
from oneway.attacks.components import draw
from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted
from oneway.attacks.linear import PICTURES
from oneway.config import NotNegative, Positive, checked
from oneway.models.generator import Generator
from oneway.models.scale import Standardise


@checked
@dataclass(frozen=True, kw_only=True)
class GenerativeConfig(identity.IdentityConfig):
    """What the attacker minimises, and how long.

    Attributes:
        pixels: weight of the mean squared error of pixels in 0..1.
        prior: weight of the mean square of the latents, which is 1 where the generator was trained.

    """

    pixels: NotNegative = 2.0
    prior: Positive = 0.01
    learning_rate: Positive = 2e-3


class Imagined(nn.Module):
    """A small network from features to the latents of a frozen generator, which draws.

    Args:
        generator: draws.
        scale: maps features (n, ...) to numbers of unit scale (n, inputs); it is not trained.
        inputs: how many.
        width: hidden units.

    """

    def __init__(self, generator: Generator, scale: nn.Module, inputs: int, width: int) -> None:
        super().__init__()
        self.generator, self.scale = generator, scale.requires_grad_(False)
        last = nn.Linear(width, int(torch.Size(generator.latents).numel()))
        nn.init.zeros_(last.weight)  # it begins with the picture of the mean latents
        nn.init.zeros_(last.bias)
        self.read = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), last)

    def latents(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to latents (n, *latents)."""
        with torch.autocast(features.device.type, enabled=False):
            read: Tensor = self.read(self.scale(features.float()))
        return read.view(-1, *self.generator.latents)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        with torch.autocast(features.device.type, enabled=False):
            drawn: Tensor = self.generator(self.latents(features))
        return drawn


def imagine(config: GenerativeConfig, context: Context) -> Fitted[Any]:
    """Train a network into a generator's latents, through the surrogate verifiers.

    It aims at what kernel ridge regressions predict of the pictures and of the verifiers' features. Of a map, whose
    numbers are too many for it, it reads the principal components that the former predicts.

    Args:
        config: the weights and the schedule.
        context: what the attacker has; a generator and at least one surrogate.

    """
    generator = context.generator
    assert generator is not None
    start = draw(kernel.regress, context.pairs, context.validation, context.place).network
    scale, inputs = _scaled(start.read, context)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = Imagined(generator, scale, inputs, config.width)

    def unlikely(features: Tensor) -> Tensor:
        return config.prior * network.latents(features).square().mean()

    return identity.train(network, identity.predicted(start, context), config, context, penalty=unlikely)


@torch.no_grad()
def _scaled(regression: nn.Module, context: Context) -> tuple[nn.Module, int]:
    """Give what the network reads of features, and how many numbers these are."""
    shape, access = context.access.shape, context.access
    if torch.Size(shape).numel() == shape[0]:
        assert isinstance(regression, kernel.Kernel)
        return nn.Sequential(regression.scale, nn.Flatten()), shape[0]
    rows = context.pairs.chosen(PICTURES)
    found = torch.cat(
        [regression(access.features(context.public, rows[n : n + 256])) for n in range(0, len(rows), 256)]
    )
    scale = Standardise(tuple(found.shape[1:])).to(access.device)
    scale.observe(found)
    return nn.Sequential(regression, scale), found.shape[1]
