"""Conditional entropy maximisation: noisy features whose distribution a Gaussian mixture bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.config import Count, NotNegative, Positive, checked
from oneway.models.noise import Noisy
from oneway.protection.defences.defence import Defence

FOLLOW = 0.05
"""Share of the way that the mixture's centres go to what a batch shows."""


class Mixed(Noisy):
    """A noisy encoder that knows the centres around which its features lie.

    Attributes:
        information: bound on what the last training batch's features carry, nats for each number.

    """

    centres: Tensor

    def __init__(self, encoder: nn.Module, noise: float, numbers: int, components: int) -> None:
        super().__init__(encoder, noise)
        # Fixed directions, so that no random state is touched; the first batches move them.
        angles = torch.arange(components)[:, None] * torch.arange(1, numbers + 1)[None]
        self.register_buffer("centres", torch.cos(angles.float()))
        self.information = torch.zeros(())

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to noisy features (n, ...)."""
        features = self.clean(pictures)
        if self.training:
            self.information = self._bound(features.flatten(1))
        return self.add_noise(features)

    def _bound(self, features: Tensor) -> Tensor:
        """Bound what noisy features (n, d) carry, and let the centres follow them.

        A Gaussian mixture of diagonal covariance has at most the entropy of its components and of their choice; less
        the noise's own that is the mean of log(1 + variance / noise**2) / 2 over the numbers, but for the choice,
        which has no gradient.
        """
        with torch.no_grad():
            nearest = torch.cdist(features, self.centres).argmin(dim=1)
            chosen = F.one_hot(nearest, len(self.centres)).to(features)
            counts = chosen.sum(dim=0)
            means = chosen.T @ features / counts.clamp(min=1)[:, None]
            self.centres += FOLLOW * (counts > 0)[:, None] * (means - self.centres)
        variance = (features - self.centres[nearest]).square().mean(dim=0)
        return 0.5 * torch.log1p(variance / self.noise**2).mean()


@checked
@dataclass(frozen=True, kw_only=True)
class CEM(Defence):
    """Maximise the conditional entropy of the picture given noisy features (Xia et al., CVPR 2025).

    Features are normalised and given noise, and a Gaussian mixture bounds what passes. The mixture is ours in two
    points: its components share their covariance, and its centres follow the batches.

    Attributes:
        weight: of the bound, a mean over the features' numbers in nats, beside utility; one that is too large pays
            best where all features are a centre's, and the task is gone.
        deviation: of the noise, where features have mean square 1.
        components: of the mixture.

    """

    name: Literal["cem"] = "cem"
    strengths: ClassVar[tuple[float, ...]] = (0.01, 0.03, 0.1)
    weight: NotNegative = 0.03
    deviation: Positive = 1.0
    components: Count = 8

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Make the features noisy, with centres."""
        numbers = torch.Size(shape).numel()
        return Mixed(encoder, self.deviation, numbers, self.components)

    def penalty(self, encoder: nn.Module, pictures: Tensor, features: Tensor) -> Tensor | None:
        """Give the weighted bound of the batch."""
        return self.weight * encoder.information if isinstance(encoder, Mixed) else None
