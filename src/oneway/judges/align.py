"""Where a face lies in a picture: five points are moved to a template, or a square is cut out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from oneway.data.similarity import similarity_transform

Points = tuple[tuple[float, float], ...]
_PIXELS = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
TEMPLATE: Points = tuple((x / 112, y / 112) for x, y in _PIXELS)
"""Where most verifiers want the five points of a face (eyes, nose, mouth corners): fractions of the picture's side."""


def align(pictures: Tensor, landmarks: ArrayLike, template: Sequence[Sequence[float]], side: int) -> Tensor:
    """Warp pictures so that their five points fall on a template: (n, 3, side, side).

    Args:
        pictures: (n, 3, size, size).
        landmarks: the five points as fractions (x, y) of the picture's side: (5, 2) for all, or (n, 5, 2).
        template: the same of the new pictures, five points.
        side: pixels a side of the new pictures.

    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.ndim == 3 and len(points) and (points == points[:1]).all():
        points = points[0]  # one grid for all of them
    back = similarity_transform(points, template)
    turn, shift = back[..., :2], back[..., 2]
    grid = (_places(side) - shift[..., None, None, :]) @ np.linalg.inv(turn).swapaxes(-1, -2)[..., None, :, :]
    return _sampled(pictures, grid)


def cut(pictures: Tensor, box: tuple[float, float, float], side: int) -> Tensor:
    """Cut a square out of pictures and scale it: (n, 3, side, side).

    Args:
        pictures: (n, 3, size, size).
        box: left, top and side of the square, as fractions of the picture's side.
        side: pixels a side of the new pictures.

    """
    left, top, width = box
    return _sampled(pictures, _places(side) * width + np.array([left, top]))


def _places(side: int) -> NDArray[np.float64]:
    """Give the middle of every pixel, (side, side, 2), as fractions (x, y) of the side."""
    columns, rows = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    return np.stack([columns, rows], axis=-1) / side


def _sampled(pictures: Tensor, places: NDArray[np.float64]) -> Tensor:
    """Read pictures at places (side, side, 2) or (n, side, side, 2), fractions (x, y) of their side."""
    grid = torch.as_tensor(places * 2 - 1, dtype=torch.float32, device=pictures.device)
    grid = grid if grid.dim() == 4 else grid.expand(len(pictures), -1, -1, -1)
    return F.grid_sample(pictures.float().contiguous(), grid, padding_mode="border", align_corners=False)
