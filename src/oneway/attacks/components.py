"""Drawing by a solved attacker: it predicts principal components of pictures, from which these are put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.fit import Fitted, Place
from oneway.attacks.linear import PICTURES
from oneway.attacks.pairs import Index, Pairs, Regress
from oneway.data.batches import load
from oneway.data.packed import Validation

COMPONENTS = 256
"""Principal components in which pictures are predicted; beyond them a solved attacker draws nothing."""


class ComponentDecoder(nn.Module):
    """A map from features to pictures, by their principal components, clipped to 0..1."""

    def __init__(self, read: nn.Module, basis: Tensor, mean: Tensor, size: int) -> None:
        super().__init__()
        self.read, self.size = read, size
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)

    basis: Tensor
    mean: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        with torch.autocast(features.device.type, enabled=False):
            return self.picture(self.read(features))

    def picture(self, components: Tensor) -> Tensor:
        """Draw pictures (n, 3, size, size) in 0..1 from their principal components, (n, components)."""
        drawn = components @ self.basis.T + self.mean
        return drawn.view(-1, 3, self.size, self.size).clamp(0, 1)

    def components(self, pictures: Tensor) -> Tensor:
        """Give the principal components, (n, components), of pictures (n, 3, size, size)."""
        return (pictures.flatten(1) - self.mean) @ self.basis


@torch.no_grad()
def draw(regress: Regress[Any], pairs: Pairs, validation: Validation, place: Place) -> Fitted[ComponentDecoder]:
    """Invert the encoder by a regression of the principal components of public pictures on features.

    Args:
        regress: how it is solved.
        pairs: what it learns from, 2 pictures at least.
        validation: other people, who choose the penalty.
        place: where it runs.

    """
    public, rows, device = pairs.public, pairs.chosen(PICTURES), place.fabric.device
    pictures = load(public, rows, device=device).flatten(1)
    mean = pictures.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(pairs.seed)
        basis = torch.pca_lowrank(pictures, q=min(COMPONENTS, *(side - 1 for side in pictures.shape)), niter=2)[2]
    del pictures

    def targets(index: Index, mirrored: NDArray[np.bool_]) -> Tensor:
        return (load(public, index, mirrored, device).flatten(1) - mean) @ basis

    def error(read: nn.Module) -> float:
        decoder, total = ComponentDecoder(read, basis, mean, public.pack.size), 0.0
        for start in range(0, len(validation), 256):
            part = slice(start, start + 256)
            drawn = decoder(pairs.access.features(validation, part))
            total += float((drawn - load(validation, part, device=device)).square().mean(dim=(1, 2, 3)).sum())
        return total / len(validation)

    read, best = regress(pairs, targets, error)
    decoder = ComponentDecoder(read, basis, mean, public.pack.size).eval()
    return Fitted(network=decoder, steps=0, converged=True, validation_error=best)
