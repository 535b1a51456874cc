"""A bottleneck at the cut: the device sends few numbers, each a mixture of all its features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.models.grid import is_map
from oneway.storage.inputs import check_memory

SIDE = 8
"""Positions a side to which a map is averaged before it is mixed: finer ones are weights that a few thousand pictures
do not pay for."""
READ = 256
"""Hidden units that read the vector."""


class Narrow(nn.Module):
    """An encoder whose features are brought down to a vector by one linear layer, a map averaged to 8 x 8 before.

    A layer in the middle of a network sees a patch of the picture at each position, so its features are a small
    picture, whatever they are trained for. A vector that mixes all positions need not be one.

    Args:
        encoder: maps pictures to features (n, *shape).
        shape: of one picture's features.
        numbers: length of the vector.

    """

    def __init__(self, encoder: nn.Module, shape: tuple[int, ...], numbers: int) -> None:
        super().__init__()
        self.encoder = encoder
        side = _side(shape)
        self.average = nn.Identity() if side is None else nn.AdaptiveAvgPool2d(side)
        check_memory(4.0 * _numbers(shape) * numbers, f"the weights of a bottleneck of {numbers}", "make it narrower")
        self.mix = nn.Linear(_numbers(shape), numbers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to vectors (n, numbers)."""
        features = self.average(self.encoder(pictures))
        mixed: Tensor = self.mix(F.layer_norm(features, features.shape[1:]).flatten(1))
        return mixed


def reader(numbers: int) -> nn.Sequential:
    """Make the other side, from vectors (n, numbers) to hidden units (n, READ) of the classifier.

    The rest of the network after the cut is left out: a vector in which all positions are mixed is no map, and layers
    that take it for one learn more slowly (docs/findings.md).
    """
    return nn.Sequential(nn.Linear(numbers, READ), nn.LayerNorm(READ), nn.ReLU())


def _side(shape: tuple[int, ...]) -> int | None:
    """Positions a side at which a map is mixed; none for anything but a map."""
    return min(SIDE, shape[-1]) if is_map(shape) else None


def _numbers(shape: tuple[int, ...]) -> int:
    side = _side(shape)
    return torch.Size(shape).numel() if side is None else shape[0] * side**2
