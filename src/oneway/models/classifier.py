"""The classifier: the rest of the network, or what reads a bottleneck, then two fully connected layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """Predict a task from features: `rest`, an average over positions if any are left, two fully connected layers.

    Args:
        rest: the network after the cut.
        rest_shape: shape of what `rest` returns, without the batch.
        num_logits: of the task.
        hidden: width of the first fully connected layer.

    """

    def __init__(self, rest: nn.Module, *, rest_shape: tuple[int, ...], num_logits: int, hidden: int = 128) -> None:
        super().__init__()
        self.rest = rest
        self.pool = nn.AdaptiveAvgPool2d(1) if len(rest_shape) == 3 else nn.Identity()
        self.flatten = nn.Flatten()
        width = rest_shape[0] if len(rest_shape) in (1, 3) else rest_shape[0] * rest_shape[1]
        self.hidden = nn.Linear(width, hidden)
        self.activation = nn.ReLU(inplace=True)
        self.logits = nn.Linear(hidden, num_logits)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to logits, (n, num_logits)."""
        out = self.flatten(self.pool(self.rest(features)))
        logits: Tensor = self.logits(self.activation(self.hidden(out)))
        return logits

    @torch.no_grad()
    def shift(self, thresholds: Tensor) -> None:
        """Take thresholds (num_logits,) off the logits, so that 0 is where they were."""
        self.logits.bias.sub_(thresholds)
