"""A defence: features are rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from oneway.config import NotNegative, checked
from oneway.protection.defences.defence import Defence


class Rounded(nn.Module):
    """An encoder whose features are multiples of a step."""

    def __init__(self, encoder: nn.Module, step: float) -> None:
        super().__init__()
        self.encoder, self.step = encoder, step

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...); their gradient is that of the features as they were."""
        features: Tensor = self.encoder(pictures)
        return features + (self.step * torch.round(features / self.step) - features).detach()


@checked
@dataclass(frozen=True, kw_only=True)
class Rounding(Defence):
    """Round features, in use as in training.

    Attributes:
        step: between two numbers that a feature can be.

    """

    name: Literal["rounding"] = "rounding"
    strength: ClassVar[str] = "step"
    strengths: ClassVar[tuple[float, ...]] = (0.5, 2.0, 8.0)
    step: NotNegative = 1.0

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Round its features."""
        return Rounded(encoder, self.step)
