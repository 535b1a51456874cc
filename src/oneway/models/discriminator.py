"""The discriminator: says of a picture whether it is a photograph or a decoder's reconstruction."""

from __future__ import annotations

from torch import Tensor, nn

COARSEST = 4
"""Positions a side at which a picture is judged."""


class Discriminator(nn.Module):
    """Give one logit for each picture, above 0 for a photograph: halved in stages down to 4 x 4 positions.

    The paper leaves its layers open; these are the usual ones (Radford et al. 2016), with normalisation within the
    picture instead of the batch, so that a reconstruction's logit does not depend on its neighbours.

    Args:
        size: pixels a side of the pictures.
        width: channels after the first halving; they double with each further one, up to eight times as many.

    """

    def __init__(self, size: int, *, width: int = 32) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        side, channels = size // 2, width
        while side > COARSEST:
            wider = min(2 * channels, 8 * width)
            layers += [
                nn.Conv2d(channels, wider, 4, stride=2, padding=1, bias=False),
                nn.GroupNorm(max(1, wider // 16), wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            side, channels = side // 2, wider
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, 1), nn.Flatten(0))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to logits (n,)."""
        logits: Tensor = self.layers(2 * pictures - 1)
        return logits
