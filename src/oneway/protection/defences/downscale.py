"""Pictures of fewer pixels: what people use who want to hide a face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from oneway.config import ShareBelowAll, checked
from oneway.protection.defences.defence import Defence


class Downscaled(nn.Module):
    """An encoder that sees pictures of fewer pixels, brought back to their size."""

    def __init__(self, encoder: nn.Module, reduction: float) -> None:
        super().__init__()
        self.encoder, self.reduction = encoder, reduction

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...)."""
        size = pictures.shape[-1]
        small = F.interpolate(pictures, size=max(1, round(size * (1 - self.reduction))), mode="area")
        features: Tensor = self.encoder(F.interpolate(small, size=size, mode="bilinear"))
        return features


@checked
@dataclass(frozen=True, kw_only=True)
class Downscale(Defence):
    """Scale pictures down before the encoder sees them. However strong, it leaves the mean colour.

    Attributes:
        reduction: share of the side's pixels that is given up.

    """

    name: Literal["downscale"] = "downscale"
    strength: ClassVar[str] = "reduction"
    strengths: ClassVar[tuple[float, ...]] = (0.5, 0.75, 0.9)
    reduction: ShareBelowAll = 0.8

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Scale its pictures down."""
        return Downscaled(encoder, self.reduction)
