"""Noisy features of bounded power: what a stated signal-to-noise ratio lets through, and no more."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from oneway.models.seeded import Seeded

EPSILON = 1e-12
"""Least variance of a picture's features: with a larger one an encoder could stay below its stated power."""


class Noisy(Seeded):
    """An encoder whose features are normalised within the picture and then given Gaussian noise.

    Every picture's features have mean 0 and mean square 1 over all their d numbers before the noise, so no scale
    makes it small: at most d / 2 * log2(1 + 1 / noise**2) bits get through (the capacity of d Gaussian channels). The
    noise is part of the encoder, in use as in training, new in every call, and drawn from the operating system's
    randomness in use, so that nobody can draw it again and take it off; see `Seeded`.

    Args:
        encoder: maps pictures to features (n, ...).
        noise: the noise's standard deviation, above 0.

    """

    def __init__(self, encoder: nn.Module, noise: float) -> None:
        super().__init__()
        self.encoder, self.noise = encoder, noise

    def clean(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to normalised features (n, ...), without the noise."""
        features = self.encoder(pictures).float()
        return F.layer_norm(features, features.shape[1:], eps=EPSILON)

    def add_noise(self, features: Tensor) -> Tensor:
        """Add noise to normalised features (n, ...)."""
        return features + self.noise * self.normal(features.shape, features.device)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to noisy features (n, ...)."""
        return self.add_noise(self.clean(pictures))
