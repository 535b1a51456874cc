"""A small package that adds to oneway without a fork: an inversion attacker and a metric, each in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted
from oneway.attacks.panel import LINEAR, Attacker
from oneway.metrics.registry import Metric


def draw_from_few(context: Context) -> Fitted[Any]:
    """Regress pictures on features, by few of the public pictures only."""
    rows = np.arange(min(50, len(context.public))) if context.rows is None else context.rows
    return LINEAR.fit(replace(context, rows=rows))


ATTACKER = Attacker(name="frugal", fit=draw_from_few, solved=True)


def brightness(reconstructions: Tensor, originals: Tensor) -> NDArray[np.float64]:
    """Say how far the mean brightness of each reconstruction is off, (n,)."""
    apart = (reconstructions.mean(dim=(1, 2, 3)) - originals.mean(dim=(1, 2, 3))).abs()
    found: NDArray[np.float64] = apart.double().cpu().numpy()
    return found


METRIC = Metric(
    name="brightness", title="brightness off by", unit="level", safer="high", measure=brightness, limited=False
)
