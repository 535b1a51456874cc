"""Principal components of the features: the rest is left out after training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from oneway.config import ShareBelowAll, checked
from oneway.data.batches import load
from oneway.data.packed import Private
from oneway.protection.defences.defence import Defence

PICTURES = 4096
"""Private pictures that the components are taken from, at most."""


class Projected(nn.Module):
    """An encoder whose features are brought down to their first principal components, once these are known."""

    mean: Tensor
    basis: Tensor

    def __init__(self, encoder: nn.Module, shape: tuple[int, ...], kept: int) -> None:
        super().__init__()
        self.encoder = encoder
        numbers = torch.Size(shape).numel()
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("basis", torch.zeros(numbers, kept))

    @torch.no_grad()
    def fit(self, private: Private) -> None:
        """Take the components of the features of private pictures, chosen at random."""
        from sklearn.decomposition import PCA as Components  # seconds, which no other defence need wait for

        device = self.mean.device
        rows = np.sort(np.random.default_rng(0).permutation(len(private))[:PICTURES])
        self.encoder.eval()
        batches = [load(private, part, device=device) for part in np.array_split(rows, -(-len(rows) // 256))]
        flat = torch.cat([self.encoder(pictures) for pictures in batches]).flatten(1).float()
        found = Components(min(self.basis.shape[1], *flat.shape), random_state=0).fit(flat.cpu().numpy())
        self.mean.copy_(torch.from_numpy(found.mean_))
        self.basis[:, : found.n_components_] = torch.from_numpy(found.components_.T).to(device)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) to features (n, ...)."""
        features: Tensor = self.encoder(pictures)
        if self.training or not self.basis.any():
            return features
        flat = features.float().flatten(1) - self.mean
        return ((flat @ self.basis) @ self.basis.T + self.mean).view_as(features)


@checked
@dataclass(frozen=True, kw_only=True)
class PCA(Defence):
    """Keep the first principal components of the features, taken from private people; nothing is trained for it.

    One at least is kept, which is the brightness or another number that varies most.

    Attributes:
        dropped: share of the components that is left out.

    """

    name: Literal["pca"] = "pca"
    strength: ClassVar[str] = "dropped"
    strengths: ClassVar[tuple[float, ...]] = (0.9, 0.99, 0.999)
    dropped: ShareBelowAll = 0.99

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Make room for the components."""
        numbers = torch.Size(shape).numel()
        kept = max(1, round((1 - self.dropped) * numbers))
        return Projected(encoder, shape, kept)

    def finish(self, encoder: nn.Module, private: Private) -> None:
        """Take the components."""
        if isinstance(encoder, Projected):
            encoder.fit(private)
