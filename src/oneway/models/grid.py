"""Where channels and positions lie in features of any shape, and tokens as the map that they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BESIDE = 8
"""Tokens at most that stand for no patch of the picture: a class, a distillation, registers."""


def is_map(features: tuple[int, ...]) -> bool:
    """Say whether features of this shape are a square map, (channels, side, side)."""
    return len(features) == 3 and features[1] == features[2]


def channel_axis(features: tuple[int, ...]) -> int:
    """Give the axis of one picture's features along which its channels lie.

    The first of (channels, ...), and the last of a sequence (tokens, channels) and of a map (side, side, channels), as
    transformers give them.
    """
    last = len(features) == 2 or (len(features) == 3 and features[0] == features[1] != features[2])
    return len(features) - 1 if last else 0


def laid_out(features: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """Lay features of a shape out as a map (channels, side, side), if that is what they are, and give its shape.

    Tokens whose number is a square, and up to 8 more before them, are a map of patches, and every position of it has
    the others beside its own. Whatever is no map stays as it is.
    """
    if len(features) == 2 and (side := math.isqrt(features[0])) > 1 and features[0] - side**2 <= BESIDE:
        tokens, channels = features
        return Patches(side), (channels * (1 + tokens - side**2), side, side)
    if len(features) == 3 and channel_axis(features) == 2:
        return ChannelsFirst(), (features[2], *features[:2])
    return nn.Identity(), features


class Patches(nn.Module):
    """Lay a sequence of tokens out as a map, those that stand for no patch repeated at every position."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, tokens, channels), the patches last, row by row, to (n, channels of all, side, side)."""
        beside = tokens.shape[1] - self.side**2
        patches = tokens[:, beside:].transpose(1, 2).reshape(len(tokens), -1, self.side, self.side)
        others = tokens[:, :beside].flatten(1)[..., None, None].expand(-1, -1, self.side, self.side)
        return torch.cat([patches, others], dim=1)


class ChannelsFirst(nn.Module):
    """Put the channels of a map first."""

    def forward(self, positions: Tensor) -> Tensor:
        """Map (n, side, side, channels) to (n, channels, side, side)."""
        return positions.movedim(3, 1)
