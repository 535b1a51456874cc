"""The losses of the game and of its attackers, as pure functions. Pictures are (n, 3, height, width) in 0..1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from oneway.errors import InputError

Target = Literal["away", "mean_picture", "ssim"]
"""Where the protector drives the reconstructions; see `protection`."""
Error = Callable[[Tensor, Tensor], Tensor]
TARGETS = get_args(Target)
WINDOW = 11
"""Pixels a side of the Gaussian window of structural similarity, of deviation 1.5."""


def utility(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the attributes, the mean over pictures and attributes (Xiao et al. 2020, eq. 6).

    Args:
        logits: (n, num_attributes).
        labels: (n, num_attributes), 0 or 1.

    """
    return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Cross-entropy of classes, the mean over pictures, each weighted by its class.

    Args:
        logits: (n, num_classes).
        labels: (n,), places of classes.
        weights: (num_classes,), or none where all count alike.

    """
    return F.cross_entropy(logits.float(), labels.long(), weights)


def squared_error(predicted: Tensor, labels: Tensor) -> Tensor:
    """Squared error of numbers (n, k), the mean over all."""
    return F.mse_loss(predicted.float(), labels.float())


def reconstruction(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """Squared error of each picture, the mean over its pixels and channels: (n,), in 0..1 (eq. 1)."""
    return (reconstructed.float() - pictures.float()).square().mean(dim=(1, 2, 3))


def protection(
    reconstructed: Tensor, pictures: Tensor, mean_picture: Tensor, *, target: Target, error: Error = reconstruction
) -> Tensor:
    """What the protector minimises, beside utility, about a reconstruction, the mean over pictures.

    Args:
        reconstructed: (n, 3, height, width).
        pictures: (n, 3, height, width).
        mean_picture: (1, 3, height, width), what an attacker draws who knows nothing.
        target: `away` is the paper's: minus the error, so that a larger one is always better (eq. 8). `mean_picture` is
            the distance from the reconstruction to the mean face: the better the decoder draws, the stronger its
            gradient, where that of `away` vanishes. `ssim` drives structural similarity down instead of the error up
            (DeepObfuscator: Li et al., IoTDI 2021).
        error: of pictures against others, (n,): `reconstruction`, or a distance in a perceptual network (eq. 8).

    """
    if target == "mean_picture":
        return error(reconstructed, mean_picture).mean()
    if target == "ssim":
        return ssim(reconstructed, pictures).mean()
    return -error(reconstructed, pictures).mean()


def ssim(reconstructed: Tensor, pictures: Tensor) -> Tensor:
    """Structural similarity of each picture, (n,), in -1..1 (Wang et al. 2004): as in `metrics.image`, with gradients.

    Raises:
        InputError: if the pictures are smaller than its window, 11 pixels.

    """
    if reconstructed.shape[-1] < WINDOW:
        raise InputError(
            f"structural similarity needs pictures of {WINDOW} pixels a side, not {reconstructed.shape[-1]}"
        )
    ours, theirs = reconstructed.float(), pictures.float()
    # In full precision whatever is around: a variance is a small difference of large numbers.
    with torch.autocast(ours.device.type, enabled=False):
        blurred = _blur(torch.cat([ours, theirs, ours * ours, theirs * theirs, ours * theirs]))
    mean_a, mean_b, square_a, square_b, product = blurred.chunk(5)
    light = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    variances = square_a - mean_a**2 + square_b - mean_b**2
    structure = (2 * (product - mean_a * mean_b) + 0.03**2) / (variances + 0.03**2)
    similarity: Tensor = (light * structure).mean(dim=(1, 2, 3))
    return similarity


def _blur(images: Tensor) -> Tensor:
    """Average (n, c, side, side) over the window where it fits, by a banded matrix on each side: no convolution of few
    channels is as fast."""
    places = torch.arange(WINDOW, device=images.device) - WINDOW // 2
    weights = torch.softmax(-places.square() / (2 * 1.5**2), dim=0)
    band = F.conv1d(torch.eye(images.shape[-1], device=images.device)[:, None], weights[None, None])[:, 0]
    return band.T @ (images @ band)


def perceptual(reconstructed: Sequence[Tensor], pictures: Sequence[Tensor], units: Tensor | None = None) -> Tensor:
    """Squared distance of each picture's features in a network that sees, the mean over layers: (n,) (eq. 3).

    Args:
        reconstructed: features of the reconstructions in each layer, (n, ...).
        pictures: those of the pictures.
        units: the distance that counts as 1 in each layer, (layers,); by default 1 itself.

    """
    distances = by_layer(reconstructed, pictures)
    if units is not None:
        distances = distances / units[:, None]
    return distances.mean(dim=0)


def by_layer(reconstructed: Sequence[Tensor], pictures: Sequence[Tensor]) -> Tensor:
    """Squared distance of each picture's features in each layer: (layers, n), means over channels and positions."""
    distances = [
        (ours.float() - theirs.float()).square().flatten(1).mean(dim=1)
        for ours, theirs in zip(reconstructed, pictures, strict=True)
    ]
    return torch.stack(distances)


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


def distance_correlation(pictures: Tensor, features: Tensor) -> Tensor:
    """Distance correlation of a batch of pictures and features, in 0..1 (Szekely, Rizzo and Bakirov 2007).

    Args:
        pictures: (n, ...), n of 2 or more.
        features: (n, ...).

    """
    centred = []
    for given in (pictures, features):
        flat = given.float().flatten(1)
        flat = flat - flat.mean(dim=0)  # distances stay, and lose less to rounding
        lengths = flat.square().sum(dim=1)
        with torch.autocast(flat.device.type, enabled=False):  # a distance is a small difference of large numbers
            products = flat @ flat.T
        distances = (lengths[:, None] + lengths[None] - 2 * products).clamp(min=0).add(1e-12).sqrt()
        centred.append(
            distances - distances.mean(dim=0, keepdim=True) - distances.mean(dim=1, keepdim=True) + distances.mean()
        )
    ours, theirs = centred
    covariance, variances = (ours * theirs).mean(), (ours.square().mean() * theirs.square().mean()).sqrt()
    return (covariance.clamp(min=0) / variances.clamp(min=1e-12) + 1e-12).sqrt()
