"""The losses of the game and of its attackers, as pure functions. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Target = Literal["away", "bounded", "mean_face"]
"""Where the protector drives the reconstructions; see `protection`."""
TARGETS = get_args(Target)


def utility(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the attributes, the mean over pictures and attributes (Xiao et al. 2020, eq. 6).

    Args:
        logits: (n, num_attributes).
        labels: (n, num_attributes), 0 or 1.

    """
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def reconstruction(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """Squared error of each picture, the mean over its pixels and channels: (n,), in 0..1 (eq. 1)."""
    return (reconstructed.float() - pictures.float()).square().mean(dim=(1, 2, 3))


def protection(reconstructed: Tensor, pictures: Tensor, mean_face: Tensor, *, target: Target) -> Tensor:
    """What the protector minimises, beside utility, about a reconstruction, the mean over pictures.

    Args:
        reconstructed: (n, 3, height, width).
        pictures: (n, 3, height, width).
        mean_face: (1, 3, height, width), what an attacker draws who knows nothing.
        target: `away` is the paper's: minus the error, so that a larger one is always better (eq. 8). `bounded` counts
            no picture's error beyond the mean face's, so that nothing is gained by a reconstruction worse than
            ignorance (a negative, say), which a fresh decoder would undo. `mean_face` is the distance from the
            reconstruction to the mean face: the better the decoder draws, the stronger its gradient, where that
            of the other two vanishes.

    """
    if target == "mean_face":
        return reconstruction(reconstructed, mean_face).mean()
    error = reconstruction(reconstructed, pictures)
    if target == "bounded":
        error = torch.minimum(error, reconstruction(mean_face, pictures))
    return -error.mean()


def perceptual(reconstructed: Sequence[Tensor], pictures: Sequence[Tensor]) -> Tensor:
    """Squared distance of each picture's features in a network that sees, the mean over layers: (n,) (eq. 3).

    Each layer's is the mean over its channels and positions, so that layers count alike whatever their size.

    Args:
        reconstructed: features of the reconstructions in each layer, (n, ...).
        pictures: those of the pictures.

    """
    distances = [
        (ours.float() - theirs.float()).square().flatten(1).mean(dim=1)
        for ours, theirs in zip(reconstructed, pictures, strict=True)
    ]
    return torch.stack(distances).mean(dim=0)


def deception(reconstructed: Tensor) -> Tensor:
    """What the decoder minimises about the discriminator, log(1 - D(reconstruction)), of each picture: (n,) (eq. 2).

    It is below 0, and the lower the surer the discriminator is that the reconstruction is a photograph.

    Args:
        reconstructed: the discriminator's logits of the reconstructions, (n,); above 0 means a photograph.

    """
    return -F.softplus(reconstructed.float())


def discrimination(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """What the discriminator minimises, -log(1 - D(reconstruction)) - log D(picture), of each pair: (n,) (eq. 2).

    The paper's discriminator maximises the negative. Without an opinion it is 2 log 2.

    Args:
        reconstructed: the discriminator's logits of the reconstructions, (n,).
        pictures: those of the pictures, (n,).

    """
    return F.softplus(reconstructed.float()) + F.softplus(-pictures.float())
