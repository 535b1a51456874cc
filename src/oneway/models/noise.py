"""Noisy features of bounded power: what a stated signal-to-noise ratio lets through, and no more."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-12
"""Least variance of a picture's features: a larger one would let an encoder whisper below its stated power."""


class Noisy(nn.Module):
    """An encoder whose features are normalised within the picture and then drowned in Gaussian noise.

    Every picture's features have mean 0 and mean square 1 over all their d numbers before the noise, so no scale can
    outshout it: at most d / 2 * log2(1 + 1 / noise**2) bits get through (the capacity of d Gaussian channels). The
    noise is part of the encoder, in use as in training, and new in every call.

    Args:
        encoder: maps pictures to features (n, ...).
        noise: the noise's standard deviation, above 0.

    Attributes:
        seed: with the count of calls since `restart`, decides the noise.

    """

    def __init__(self, encoder: nn.Module, noise: float) -> None:
        super().__init__()
        self.encoder, self.noise = encoder, noise
        self.seed: tuple[int, ...] = (0,)
        self.calls = 0

    def restart(self, seed: tuple[int, ...]) -> None:
        """Draw from now on the noise of `seed`."""
        self.seed, self.calls = seed, 0

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to noisy features (n, ...)."""
        features = self.encoder(pictures).float()
        features = F.layer_norm(features, features.shape[1:], eps=EPSILON)
        state = np.random.SeedSequence([*self.seed, self.calls]).generate_state(1, np.uint64)
        generator = torch.Generator(features.device).manual_seed(int(state[0]))
        self.calls += 1
        drawn = torch.randn(features.shape, generator=generator, device=features.device)
        return features + self.noise * drawn
