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
