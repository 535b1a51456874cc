"""The losses of the game, as pure functions. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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


def bounded(error: Tensor, ceiling: Tensor) -> Tensor:
    """Count each picture's error no further than its `ceiling`, (n,): beyond it there is nothing to gain.

    With the mean face's error as the ceiling, an encoder is not rewarded for making the decoder draw something worse
    than ignorance (a negative, say), which a fresh decoder would undo.
    """
    return torch.minimum(error, ceiling)
