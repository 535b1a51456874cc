"""The scale of features: what an attacker does with them before they read them, so that no scale hides anything."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oneway.models.grid import channel_axis

WIDEST = 2048
"""Channels of which the covariance is taken at most: its time grows with their number cubed."""
FAINTEST = 1e-10
"""Least variance that is told from rounding, as a share of the largest, of channels of variance 1 each; float32 keeps
about 1e-14."""


class Standardise(nn.Module):
    """Shift and scale every channel to mean 0 and deviation 1 as `observe` saw them; until then change nothing.

    Args:
        features: shape of one picture's features; where its channels lie, says `grid.channel_axis`.

    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: tuple[int, ...]) -> None:
        super().__init__()
        self._axis = channel_axis(features)
        shape = [length if axis == self._axis else 1 for axis, length in enumerate(features)]
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    @torch.no_grad()
    def observe(self, features: Tensor) -> None:
        """Take the mean and deviation of every channel from features (n, *shape)."""
        mean, deviation = _moments(features, self._axis)
        self.mean.copy_(mean.view_as(self.mean))
        self.deviation.copy_(deviation.view_as(self.deviation))

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape (n, *shape); a channel that never varies becomes 0."""
        return (features - self.mean) * torch.where(self.deviation > 0, 1 / self.deviation, 0)


class Whiten(nn.Module):
    """Take off the mean and turn the channels' covariance into the identity, as `observe` saw them; until then nothing.

    So nothing is hidden from an attacker by its scale, in a channel or in any mixture of channels: the fc features of
    a network trained on faces hold all but a thousandth of their variance in a quarter of their directions, and a
    decoder that reads them as they are never sees the rest. Channels are brought to one deviation first: float32
    holds one of a hundred millionth of another's as well. The statistics are the same in training and evaluation.

    Args:
        features: shape of one picture's features; where its channels lie, says `grid.channel_axis`.

    """

    mean: Tensor
    turn: Tensor

    def __init__(self, features: tuple[int, ...]) -> None:
        super().__init__()
        self._axis = channel_axis(features)
        channels = features[self._axis]
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("turn", torch.eye(channels) if channels <= WIDEST else torch.ones(channels))

    @torch.no_grad()
    def observe(self, features: Tensor) -> None:
        """Take the mean and covariance of the channels from features (n, *shape).

        A covariance is only known in as many directions as a tenth of the numbers that each channel was seen with
        (see `pictures_needed`); the smaller ones are scaled as the last of these. More than 2048 channels are each
        scaled alone.
        """
        mean, deviation = _moments(features, self._axis)
        turn = torch.where(deviation > 0, 1 / deviation, 0)
        if self.turn.dim() == 2:
            seen = features.cpu().double().movedim(1 + self._axis, -1).flatten(0, -2)
            seen = (seen - mean) * turn
            variances, directions = torch.linalg.eigh(seen.T @ seen / len(seen))
            known = max(1, min(len(variances), len(seen) // 10))
            least = torch.maximum(variances[-known], FAINTEST * variances[-1])
            turn = turn[:, None] * (directions * variances.clamp(min=least.clamp(min=1e-60)).rsqrt()) @ directions.T
        self.mean.copy_(mean)
        self.turn.copy_(turn)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape (n, *shape)."""
        with torch.autocast(features.device.type, enabled=False):
            last = features.float().movedim(1 + self._axis, -1) - self.mean
            turned = last * self.turn if self.turn.dim() == 1 else last @ self.turn
        return turned.movedim(-1, 1 + self._axis)


def _moments(features: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Give the mean and deviation of every channel of features (n, *shape), on the processor, in double precision.

    The square of what single precision holds may be more, or less, than it holds.
    """
    seen = features.cpu().double().movedim(1 + axis, 0).flatten(1)
    variance, mean = torch.var_mean(seen, dim=1, correction=0)
    return mean, variance.sqrt()


def pictures_needed(features: tuple[int, ...]) -> int:
    """Say how many pictures' features tell `Whiten` their covariance: ten numbers a channel, and 512 at least."""
    channels = features[channel_axis(features)]
    return max(512, -(-10 * channels**2 // torch.Size(features).numel()))
