"""The head: from features of any shape to a vector, for attackers who want a fact and not a picture."""

from __future__ import annotations

from torch import Tensor, nn

from oneway.models.decoder import Residual
from oneway.models.grid import is_map, laid_out
from oneway.models.scale import Whiten

SIDE = 4
"""Positions a side at which a map of features is read out."""


def reads_map(features: tuple[int, ...]) -> bool:
    """Say whether a head sees features of this shape as a map, or else as a vector."""
    _, features = laid_out(features)
    return is_map(features) and features[-1] >= SIDE


class Head(nn.Module):
    """Map features to a vector: a map is halved in stages down to 4 x 4 positions, a vector goes through an MLP.

    Args:
        features: shape of one picture's features: a map, (channels, side, side) of 4 positions a side or more, or what
            `grid.laid_out` makes one of, or any other, which is flattened.
        outputs: length of the vector.
        width: channels of the first stage; hidden units of the MLP are eight times as many.

    """

    def __init__(self, features: tuple[int, ...], outputs: int, *, width: int = 64) -> None:
        super().__init__()
        self.whiten = Whiten(features)
        convolves = reads_map(features)
        self.arrange, features = laid_out(features)
        layers: list[nn.Module]
        if convolves:
            side, channels = features[-1], width
            layers = [nn.Conv2d(features[0], channels, 3, padding=1), nn.ReLU(inplace=True)]
            while side > SIDE:
                wider = min(2 * channels, 4 * width)
                layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1), Residual(wider)]
                side, channels = -(-side // 2), wider
            layers += [nn.Flatten(), nn.Linear(channels * side**2, 8 * width)]
        else:
            numbers = 1
            for length in features:
                numbers *= length
            layers = [nn.Flatten(), nn.Linear(numbers, 8 * width)]
        layers += [nn.GELU(), nn.LayerNorm(8 * width), nn.Linear(8 * width, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to vectors (n, outputs)."""
        out: Tensor = self.layers(self.arrange(self.whiten(features.float())))
        return out
