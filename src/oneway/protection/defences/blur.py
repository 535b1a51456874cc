"""Blurred pictures: what people use who want to hide a face."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from oneway.config import NotNegative, checked
from oneway.protection.defences.defence import Defence


class Blurred(nn.Module):
    """An encoder that sees blurred pictures."""

    def __init__(self, encoder: nn.Module, deviation: float) -> None:
        super().__init__()
        self.encoder, self.deviation = encoder, deviation

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...)."""
        features: Tensor = self.encoder(blur(pictures, self.deviation))
        return features


def blur(pictures: Tensor, deviation: float) -> Tensor:
    """Blur pictures (n, channels, size, size) by a Gaussian of so many pixels; at its edges a picture is mirrored.

    Rows and columns are each mixed by one matrix, in float32 whatever the precision around: a wide convolution of
    single channels takes minutes in bf16 on some processors, and rounds.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        mixed = _mixing(pictures.shape[-1], deviation, pictures.device)
        blurred: Tensor = mixed @ (pictures.float() @ mixed.T)
    return blurred


def reach(deviation: float, size: int) -> int:
    """Say how many pixels on either side the Gaussian takes in: three deviations, or all that a mirrored side has."""
    return min(math.ceil(3 * deviation), size - 1)


def _mixing(size: int, deviation: float, device: torch.device) -> Tensor:
    """Give the weight of every pixel of a line (columns) in every blurred one (rows): (size, size), rows of sum 1."""
    far = reach(deviation, size)
    beyond = torch.arange(-far, size + far, device=device)
    distance = beyond - torch.arange(size, device=device)[:, None]
    weights = torch.exp(-0.5 * (distance / deviation) ** 2) * (distance.abs() <= far)
    weights = weights / weights.sum(dim=1, keepdim=True)
    mixed = weights[:, far : far + size].clone()
    # What lies beyond an edge is its mirror image, the edge itself not twice.
    mixed[:, 1 : far + 1] += weights[:, :far].flip(1)
    mixed[:, size - 1 - far : size - 1] += weights[:, far + size :].flip(1)
    return mixed


@checked
@dataclass(frozen=True, kw_only=True)
class Blur(Defence):
    """Blur pictures with a Gaussian before the encoder sees them. However strong, it leaves the mean colour.

    Attributes:
        deviation: of the Gaussian, in pixels; at most the picture's side, where nearly all is mixed already.

    """

    name: Literal["blur"] = "blur"
    strength: ClassVar[str] = "deviation"
    strengths: ClassVar[tuple[float, ...]] = (1.0, 3.0, 6.0)
    deviation: NotNegative = 3.0

    def strongest(self, size: int) -> float:
        """Give the picture's side."""
        return size

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Blur its pictures."""
        return Blurred(encoder, self.deviation)
