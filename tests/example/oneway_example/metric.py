"""Two metrics of reconstructions: of one more is safer, of the other less, so that it can be limited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.metrics.registry import Metric


def brightness(reconstructions: Tensor, originals: Tensor) -> NDArray[np.float64]:
    """Say how far the mean brightness of each reconstruction is off, (n,)."""
    found: NDArray[np.float64] = (reconstructions - originals).mean(dim=(1, 2, 3)).abs().double().cpu().numpy()
    return found


def colour(reconstructions: Tensor, originals: Tensor) -> NDArray[np.float64]:
    """Say how near the mean colour of each reconstruction is, (n,) in 0..1."""
    apart = (reconstructions - originals).mean(dim=(2, 3)).abs().mean(dim=1)
    found: NDArray[np.float64] = (1 - apart).double().cpu().numpy()
    return found


METRIC = Metric(
    name="brightness", title="brightness off by", unit="level", safer="high", measure=brightness, limited=False
)
COLOUR = Metric(name="colour", title="colour kept", unit="share", measure=colour)
