"""The variational information bottleneck: features are drawn from a distribution that may hardly leave the prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from oneway.config import NotNegative, checked
from oneway.models.seeded import Seeded
from oneway.protection.defences.defence import Defence


class Stochastic(Seeded):
    """An encoder whose features are drawn from a normal distribution, of a mean and a deviation that it gives.

    Args:
        encoder: maps pictures to features (n, channels, ...).
        channels: of its features.

    Attributes:
        divergence: Kullback-Leibler divergence from the standard normal of the last batch, nats for each number.

    """

    def __init__(self, encoder: nn.Module, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.mean, self.log_variance = nn.Linear(channels, channels), nn.Linear(channels, channels)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -4.0)
        self.divergence = torch.zeros(())

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, channels, ...)."""
        last = self.encoder(pictures).float().movedim(1, -1)
        mean, log_variance = self.mean(last), self.log_variance(last).clamp(-12, 12)
        self.divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        drawn = self.normal(mean.shape, mean.device)
        features: Tensor = (mean + (0.5 * log_variance).exp() * drawn).movedim(-1, 1)
        return features


@checked
@dataclass(frozen=True, kw_only=True)
class VIB(Defence):
    """Bound the information in the features by a variational bottleneck (Alemi et al., ICLR 2017).

    As a defence against inversion it is MID (Wang et al., AAAI 2021). Features are drawn in use too.

    Attributes:
        weight: of the divergence, a mean over the features' numbers in nats, beside utility.

    """

    name: Literal["vib"] = "vib"
    strengths: ClassVar[tuple[float, ...]] = (0.03, 0.3, 3.0)
    weight: NotNegative = 0.1

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Draw features from a distribution."""
        return Stochastic(encoder, shape[0])

    def penalty(self, encoder: nn.Module, pictures: Tensor, features: Tensor) -> Tensor | None:
        """Give the weighted divergence of the batch."""
        return self.weight * encoder.divergence if isinstance(encoder, Stochastic) else None
