"""The rotation, scale and shift that bring points to others, by least squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def similarity_transform(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Fit rotation, scale and shift from `source` points to `target` points by least squares.

    Args:
        source: (..., k, 2), not all in one place.
        target: (k, 2).

    Returns:
        matrices (..., 2, 3).

    """
    # As complex numbers, a rotation with a scale is one factor.
    start, goal = (np.asarray(points, dtype=np.float64) @ [1, 1j] for points in (source, target))
    middle, aim = start.mean(axis=-1, keepdims=True), goal.mean(axis=-1, keepdims=True)
    spread = (np.abs(start - middle) ** 2).sum(axis=-1)
    turn = ((start - middle).conj() * (goal - aim)).sum(axis=-1) / spread
    shift = aim[..., 0] - turn * middle[..., 0]
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
