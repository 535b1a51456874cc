"""What a network expects of its pictures, carried along inside the encoder: size, interpolation, mean and deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.config import Count, Numbers, checked
from oneway.errors import InputError

Interpolation = Literal["nearest", "bilinear", "bicubic"]


@checked
@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """How the pack's pictures, RGB in 0..1, are made ready inside the encoder. What is `none` is the network's own.

    A network of torchvision or timm says its mean, deviation and interpolation itself; any other, ours too, takes
    pictures as they are unless something is given here.

    Attributes:
        size: pixels a side to which pictures are scaled, such as the 224 that most weights were trained on; `none`
            leaves them as the pack has them.
        interpolation: how they are scaled, `nearest`, `bilinear` or `bicubic`.
        mean: what is subtracted, of red, green and blue in 0..1: one number, or three.
        deviation: what is then divided by, likewise.

    """

    size: Count | None = None
    interpolation: Interpolation | None = None
    mean: Numbers | None = None
    deviation: Numbers | None = None

    def __post_init__(self) -> None:
        for name, given in (("mean", self.mean), ("deviation", self.deviation)):
            if given is not None and len(given) not in (1, 3):
                raise InputError(f"{name} must be one number, or one for each of three colours, not {given}")
        if self.deviation is not None and min(self.deviation) <= 0:
            raise InputError(f"deviation must be above 0, not {self.deviation}")

    def over(self, own: InputConfig) -> InputConfig:
        """Give what holds where this is set over what a network says itself."""
        return replace(own, **{name: value for name, value in vars(self).items() if value is not None})


def prepared(encoder: nn.Module, wanted: InputConfig) -> nn.Module:
    """Let an encoder take pictures (n, 3, size, size) in 0..1; itself, where nothing is to be done to them."""
    needed = (wanted.size, wanted.mean, wanted.deviation) != (None, None, None)
    return Prepared(encoder, wanted) if needed else encoder


class Prepared(nn.Module):
    """An encoder that scales and normalises its pictures first; mean and deviation are kept with its weights."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: nn.Module, wanted: InputConfig) -> None:
        super().__init__()
        self.encoder, self.size = encoder, wanted.size
        self.interpolation = wanted.interpolation or "bilinear"
        self.register_buffer("mean", torch.tensor(wanted.mean or (0.0,))[:, None, None])
        self.register_buffer("deviation", torch.tensor(wanted.deviation or (1.0,))[:, None, None])

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to what the encoder gives."""
        if self.size is not None and pictures.shape[-1] != self.size:
            side = (self.size, self.size)
            # As PIL and torchvision scale, which is not what torch does without antialiasing.
            smooth = self.interpolation != "nearest"
            pictures = F.interpolate(pictures, size=side, mode=self.interpolation, antialias=smooth)
        features: Tensor = self.encoder((pictures - self.mean) / self.deviation)
        return features
