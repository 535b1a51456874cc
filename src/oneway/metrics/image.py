"""How near a reconstruction is to the picture, per picture. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Scores = NDArray[np.float64]
Pixels = NDArray[np.float32]
TOGETHER = 16
"""Pictures whose structural similarity is computed at once: more would leave the processor's cache."""
RADIUS = 5
"""Pixels that the window of the structural similarity reaches to each side."""


def mse(reconstructed: Tensor, pictures: Tensor) -> Scores:
    """Mean squared error of each picture, (n,), with pixel values in 0..1."""
    error: Scores = (reconstructed.double() - pictures.double()).square().mean(dim=(1, 2, 3)).cpu().numpy()
    return error


def psnr(error: Scores) -> Scores:
    """Peak signal-to-noise ratio in dB from the mean squared error with a data range of 1; at most 100 dB."""
    return -10 * np.log10(np.maximum(error, 1e-10))


def ssim(reconstructed: Tensor, pictures: Tensor) -> Scores:
    """Structural similarity of each picture, (n,), in -1..1 (Wang et al. 2004: Gaussian window, data range 1).

    The figures are those of skimage's `structural_similarity`, which takes one picture at a time, to the bit.
    """
    halves = (torch.split(batch, TOGETHER) for batch in (reconstructed, pictures))
    pairs = zip(*halves, strict=True)
    return np.concatenate([_ssim(ours.float().cpu().numpy(), theirs.float().cpu().numpy()) for ours, theirs in pairs])


def _ssim(x: Pixels, y: Pixels) -> Pixels:
    mean_x, mean_y = _windowed(x), _windowed(y)
    variances = (_windowed(x * x) - mean_x * mean_x) + (_windowed(y * y) - mean_y * mean_y)
    covariance = _windowed(x * y) - mean_x * mean_y
    small = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + small[0]) * (2 * covariance + small[1])
    below = (mean_x**2 + mean_y**2 + small[0]) * (variances + small[1])
    inner = (..., slice(RADIUS, -RADIUS), slice(RADIUS, -RADIUS))  # where the window fits
    channels: Pixels = (above / below)[inner].mean(axis=(2, 3), dtype=np.float64).astype(x.dtype)
    means: Pixels = channels.mean(axis=1)
    return means


def _windowed(pixels: Pixels) -> Pixels:
    """Weight what is around each pixel by a Gaussian of deviation 1.5 that is 11 pixels wide."""
    from skimage.filters import gaussian  # its import takes a third of a second

    weighted: Pixels = gaussian(pixels, sigma=(0, 0, 1.5, 1.5), truncate=RADIUS / 1.5, mode="reflect")  # type: ignore[no-untyped-call]
    return weighted


def affine(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """Undo the contrast, brightness and sign of each channel of a reconstruction, by least squares on the true picture.

    An inverted negative, or a faint picture on a grey ground, hides nothing from whoever looks at it, and yet scores
    as a bad reconstruction. `mse`, `psnr` and `ssim` of what this gives are the same for all of them: they do not
    change when a channel of the reconstruction is multiplied by any number but 0 and another is added.

    The fit knows the true picture. Even a constant becomes every channel's true mean, so the scores are a little
    better than an attacker's who must guess; compare them with those of a floor corrected alike.

    Args:
        reconstructed: (n, 3, height, width), any range.
        pictures: (n, 3, height, width) in 0..1.

    Returns:
        (n, 3, height, width) in 0..1, float64: never further from the picture, in mean square, than before.

    """
    ours, original = reconstructed.double(), pictures.double()
    middle, original_middle = ours.mean(dim=(2, 3), keepdim=True), original.mean(dim=(2, 3), keepdim=True)
    around = ours - middle
    covariance = (around * (original - original_middle)).mean(dim=(2, 3), keepdim=True)
    variance = around.square().mean(dim=(2, 3), keepdim=True)
    # Of a constant channel both are 0, and so is the slope.
    slope = covariance / variance.clamp(min=1e-30)
    return (slope * around + original_middle).clamp(0, 1)
