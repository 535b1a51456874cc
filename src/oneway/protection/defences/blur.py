"""Blurred pictures: what people use who want to hide a face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from oneway.protection.defences.defence import Defence


class Blurred(nn.Module):
    """An encoder that sees blurred pictures."""

    def __init__(self, encoder: nn.Module, deviation: float) -> None:
        super().__init__()
        self.encoder, self.deviation = encoder, deviation

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...)."""
        reach = min(math.ceil(3 * self.deviation), pictures.shape[-1] - 1)
        features: Tensor = self.encoder(gaussian_blur(pictures, 2 * reach + 1, self.deviation))
        return features


@dataclass(frozen=True, kw_only=True)
class Blur(Defence):
    """Blur pictures with a Gaussian before the encoder sees them. However strong, it leaves the mean colour.

    Attributes:
        deviation: of the Gaussian, in pixels.

    """

    name: str = "blur"
    strength: ClassVar[str] = "deviation"
    deviation: float = 3.0

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Blur its pictures."""
        return Blurred(encoder, self.deviation)
