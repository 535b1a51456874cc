"""What noise in the features costs whoever estimates the picture without bias: Fisher information, per picture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from oneway.metrics.estimate import Floats


def fisher_leakage(
    clean: Callable[[Tensor], Tensor],
    pictures: Tensor,
    noise: float,
    *,
    probes: int,
    generator: torch.Generator,
    batch_size: int = 16,
) -> Floats:
    """Estimate the diagonal Fisher information leakage (dFIL) of pictures whose features carry Gaussian noise.

    The features are clean(x) + N(0, noise**2), independent for each number. Their Fisher information about the d
    numbers of the picture x is J^T J / noise**2, J the Jacobian of `clean` at x, and dFIL is its trace divided by d
    (Maeng, Guo, Kariyappa and Suh, NeurIPS 2023). The trace is the mean of |J^T v|^2 over probes v of random signs
    (Hutchinson 1989): unbiased, and exact where J J^T is diagonal. The gradients are those that `clean` gives, so of
    one that hides them (rounding, `detach`) the estimate says nothing.

    Args:
        clean: maps pictures to features (n, ...) without noise, each picture for itself.
        pictures: (n, ...), such as (n, 3, size, size) in 0..1.
        noise: the noise's standard deviation, above 0.
        probes: for each picture, at least 1.
        generator: draws the probes.
        batch_size: pictures at a time.

    Returns:
        (n,), 0 or more, for pixel values in 0..1.

    """
    assert noise > 0, noise
    assert probes >= 1, probes
    traces = []
    for start in range(0, len(pictures), batch_size):
        given = pictures[start : start + batch_size].detach().requires_grad_()
        with torch.enable_grad():
            features = clean(given)
        total = torch.zeros(len(given), dtype=torch.float64, device=given.device)
        if features.requires_grad:
            for _ in range(probes):
                signs = 2 * torch.randint(2, features.shape, generator=generator, device=generator.device) - 1
                (gradient,) = torch.autograd.grad(features, given, signs.to(features), retain_graph=True)
                total += gradient.double().square().flatten(1).sum(dim=1)
        traces.append(total.cpu().numpy())
    leakage: Floats = np.concatenate(traces) / (probes * noise**2 * pictures[0].numel())
    return leakage


def least_mse(dfil: float) -> float:
    """Give the least mean squared error of an unbiased attacker, 1 / dFIL, for a dFIL above 0 (Cramer and Rao).

    It holds for the mean over pictures too, dFIL being the mean: the mean of 1 / dFIL is never less than this. An
    attacker who knows anything of pictures, such as their range or that they show faces, is biased and may err less.
    """
    return 1 / dfil
