"""A bottleneck at the cut: the device sends few numbers, each a mixture of all its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Narrow(nn.Module):
    """An encoder whose features are brought down to a vector by one linear layer.

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
        self.mix = nn.Linear(torch.Size(shape).numel(), numbers)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to vectors (n, numbers)."""
        features = self.encoder(pictures)
        mixed: Tensor = self.mix(F.layer_norm(features, features.shape[1:]).flatten(1))
        return mixed


class Widen(nn.Module):
    """The other side: the features that the rest of the network takes, from the vector.

    Args:
        shape: of one picture's features.
        numbers: length of the vector.
        norm: makes the normalisation of a map of so many channels.

    """

    def __init__(self, shape: tuple[int, ...], numbers: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.shape = shape
        self.unmix = nn.Linear(numbers, torch.Size(shape).numel())
        self.norm = norm(shape[0]) if len(shape) == 3 else nn.LayerNorm(shape)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors (n, numbers) to features (n, *shape)."""
        features: Tensor = torch.relu(self.norm(self.unmix(vectors).view(-1, *self.shape)))
        return features
