"""How near a reconstruction is to the picture, per picture. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

Scores = NDArray[np.float64]


def mse(reconstructed: Tensor, pictures: Tensor) -> Scores:
    """Mean squared error of each picture, (n,), with pixel values in 0..1."""
    error: Scores = (reconstructed.double() - pictures.double()).square().mean(dim=(1, 2, 3)).cpu().numpy()
    return error


def psnr(error: Scores) -> Scores:
    """Peak signal-to-noise ratio in dB from the mean squared error with a data range of 1; at most 100 dB."""
    return -10 * np.log10(np.maximum(error, 1e-10))


def ssim(reconstructed: Tensor, pictures: Tensor) -> Scores:
    """Structural similarity of each picture, (n,), in -1..1 (Wang et al. 2004: Gaussian window, data range 1)."""
    pairs = zip(reconstructed.float().cpu().numpy(), pictures.float().cpu().numpy(), strict=True)
    return np.array(
        [
            structural_similarity(  # type: ignore[no-untyped-call]
                ours,
                original,
                data_range=1.0,
                channel_axis=0,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
            for ours, original in pairs
        ]
    )


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
