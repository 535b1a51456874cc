"""The transformer decoder: not convolutional, so that what it draws somewhere may come from anywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.models.decoder import trim
from oneway.models.grid import is_map, laid_out
from oneway.models.scale import Whiten

PATCH = 8
"""Pixels a side that one token draws, in pictures of up to 128 pixels a side; in larger ones it draws more."""
MOST = 16
"""Tokens a side, at most."""
HEAD = 32
"""Numbers that one head of attention compares."""
READ = 16
"""Tokens that a vector is read into."""


class TransformerDecoder(nn.Module):
    """Turn features into a picture by self-attention between tokens, each of which draws a patch of the picture.

    Of a map every token reads a patch and those that border on it; a sequence, (tokens, numbers), is mixed linearly
    into as many tokens as draw; anything else is mapped to a short sequence by one linear layer. Normalisation is
    within each token.

    Args:
        features: shape of one picture's features.
        size: pixels a side of the picture.
        width: factor on the numbers of a token, of which there are 96.
        depth: blocks of attention.

    """

    def __init__(self, features: tuple[int, ...], size: int, *, width: float = 2.0, depth: int = 3) -> None:
        super().__init__()
        self.size, self.side = size, min(MOST, -(-size // PATCH))
        channels = max(HEAD, round(96 * width / HEAD) * HEAD)
        self.whiten = Whiten(features)
        self.arrange, features = laid_out(features)
        layers: list[nn.Module]
        if is_map(features):
            patch = -(-features[-1] // self.side)
            positions = -(-features[-1] // patch)
            factor = self.side // positions
            self.side = positions * factor
            padding = patch + (positions * patch - features[-1] + 1) // 2
            layers = [nn.Conv2d(features[0], channels * factor**2, 3 * patch, patch, padding), nn.PixelShuffle(factor)]
            layers += [Tokens()]
        elif len(features) == 2:
            layers = [nn.Linear(features[1], channels), nn.Conv1d(features[0], self.side**2, 1)]
        else:
            layers = [nn.Flatten(), nn.Linear(torch.Size(features).numel(), READ * channels)]
            layers += [nn.Unflatten(1, (READ, channels)), nn.Conv1d(READ, self.side**2, 1)]
        self.read = nn.Sequential(*layers)
        self.positions = nn.Parameter(0.02 * torch.randn(self.side**2, channels))
        self.blocks = nn.Sequential(*(Block(channels) for _ in range(depth)))
        pixels = -(-size // self.side)
        self.draw = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, 3 * pixels**2))
        self.lay = nn.Sequential(
            nn.Unflatten(2, (self.side, self.side)),
            nn.PixelShuffle(pixels),
        )
        self.squash = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        # Features are read in full precision: what bf16 rounds away may be what they hide.
        with torch.autocast(features.device.type, enabled=False):
            read: Tensor = self.read(self.arrange(self.whiten(features.float())))
        patches: Tensor = self.draw(self.blocks(read + self.positions))
        pictures: Tensor = self.squash(trim(self.lay(patches.transpose(1, 2)), self.side, self.size))
        return pictures


class Tokens(nn.Module):
    """Lay the positions of a map out as a sequence."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, side, side) to (n, side * side, channels)."""
        return x.flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Self-attention and a perceptron of two layers, each normalised first and beside a skip connection.

    Torch's own encoder layer takes another path in evaluation, with other roundings.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ask = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 3 * channels), nn.Unflatten(2, (3, channels // HEAD, HEAD))
        )
        self.gather = nn.Linear(channels, channels)
        self.think = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (n, tokens, channels)."""
        queries, keys, values = self.ask(x).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        x = x + self.gather(attended.transpose(1, 2).flatten(2))
        thought: Tensor = x + self.think(x)
        return thought
