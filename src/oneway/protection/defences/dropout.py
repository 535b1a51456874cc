"""Dropout of features, in use as in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from oneway.config import ShareBelowAll, checked
from oneway.models.seeded import Seeded
from oneway.protection.defences.defence import Defence


class Dropping(Seeded):
    """An encoder whose features are set to 0 at random, one by one or by the channel; the rest are scaled up."""

    def __init__(self, encoder: nn.Module, rate: float, *, channels: bool) -> None:
        super().__init__()
        self.encoder, self.rate, self.channels = encoder, rate, channels

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...)."""
        features: Tensor = self.encoder(pictures)
        shape = features.shape[:2] + (1,) * (features.dim() - 2) if self.channels else features.shape
        kept = self.uniform(torch.Size(shape), features.device) >= self.rate
        return features * kept / (1 - self.rate)


@checked
@dataclass(frozen=True, kw_only=True)
class Dropout(Defence):
    """Set features to 0 at random, new for every picture (He, Zhang and Lee, IEEE Internet of Things Journal 2021).

    Attributes:
        rate: share of the features that is dropped.

    """

    name: Literal["dropout"] = "dropout"
    strength: ClassVar[str] = "rate"
    strengths: ClassVar[tuple[float, ...]] = (0.5, 0.8, 0.95)
    rate: ShareBelowAll = 0.7

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Drop features one by one."""
        return Dropping(encoder, self.rate, channels=False)
