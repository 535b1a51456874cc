"""The residual decoder: a U-shape with far more weights than the encoder's mirror, most of them at coarse sides."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from oneway.models.decoder import Residual, Up, between
from oneway.models.grid import is_map, laid_out
from oneway.models.scale import Whiten

COARSEST = 4
"""Positions a side at the bottom of the U."""
WIDEST = 8
"""The bottom's channels are at most this many times those at a quarter of the picture's side."""


class ResidualDecoder(nn.Module):
    """Turn features into a picture by way of 4 x 4 positions, where every position sees the whole picture.

    A map of features is halved, its channels doubled, down to 4 x 4, and grown again beside skip connections to a
    quarter of the picture's side, from where one sub-pixel convolution draws; a map finer than that quarter is brought
    there by its first convolution. Anything but a square map, or one coarser than 4 x 4, enters at the bottom through
    one linear layer. A block costs the same time at every side, so weights are spent where sides are coarse.
    Normalisation is within each picture.

    Args:
        features: shape of one picture's features.
        size: pixels a side of the picture.
        width: factor on the channels, of which there are 32 at a quarter of the picture's side.

    """

    def __init__(self, features: tuple[int, ...], size: int, *, width: float = 2.0) -> None:
        super().__init__()
        quarter = -(-size // 4)
        base = max(16, round(32 * width / 16) * 16)
        self.whiten = Whiten(features)
        self.arrange, features = laid_out(features)
        self.read: nn.Module
        if is_map(features) and features[-1] >= COARSEST:
            stride = max(1, 4 * features[-1] // size)
            down = [-(-features[-1] // stride)]
            while down[-1] > COARSEST:
                down.append(-(-down[-1] // 2))
            self.read = nn.Conv2d(features[0], _channels(base, quarter, down[0]), 2 * stride + 1, stride, stride)
        else:
            down = [COARSEST]
            channels = _channels(base, quarter, COARSEST)
            self.read = nn.Sequential(
                nn.Flatten(),
                nn.Linear(torch.Size(features).numel(), channels * COARSEST**2),
                nn.Unflatten(1, (channels, COARSEST, COARSEST)),
            )
        up = down[::-1] + between(down[0], 2 * quarter)
        widths = {side: _channels(base, quarter, side) for side in up}
        self.halve = nn.ModuleList(
            nn.Conv2d(widths[side], widths[coarser], 3, stride=2, padding=1) for side, coarser in pairwise(down)
        )
        self.bottom = Residual(widths[up[0]])
        self.grow = nn.ModuleList(
            Up(widths[side], widths[finer], side, finer, kernel=1) for side, finer in pairwise(up)
        )
        self.up = nn.ModuleList(Residual(widths[side]) for side in up[1:])
        self.draw = nn.Sequential(Residual(widths[up[-1]]), Up(widths[up[-1]], 3, up[-1], size), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        # Features are read in full precision: what bf16 rounds away may be what they hide.
        with torch.autocast(features.device.type, enabled=False):
            x: Tensor = torch.relu(self.read(self.arrange(self.whiten(features.float()))))
        skipped: list[Tensor] = []
        for halve in self.halve:
            skipped.append(x)
            x = torch.relu(halve(x))
        x = self.bottom(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(x)
            x = block(torch.relu(x + skipped.pop() if skipped else x))
        pictures: Tensor = self.draw(x)
        return pictures


def _channels(base: int, quarter: int, side: int) -> int:
    """Double the channels with every halving of the side below a quarter of the picture's."""
    return base * min(WIDEST, 1 << max(0, round(math.log2(quarter / side))))
