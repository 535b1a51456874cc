"""The losses of the game, as pure functions. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

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
