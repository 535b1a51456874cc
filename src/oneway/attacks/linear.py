"""Linear attackers: ridge regression from features to pictures or to facts, solved and not trained.

No optimiser can fail them: a trained attacker that does worse has not been trained well, and an encoder that only
outruns gradient descent is found out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access
from oneway.attacks.fit import Fitted, Place
from oneway.data.batches import load
from oneway.data.packed import Public, Validation
from oneway.models.scale import Standardise

PICTURES = 8192
"""Public pictures used at most: the solution takes their number cubed."""
COMPONENTS = 256
"""Principal components in which pictures are predicted; beyond them a linear attacker draws nothing."""
PENALTIES = 10.0 ** np.arange(1, -7, -1)
"""Ridge penalties, as shares of the mean squared length of the features, tried until a smaller one is no better."""


class Linear(nn.Module):
    """An affine map from standardised features to a vector."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.standardise = Standardise(shape)
        self.read = nn.Linear(int(torch.Size(shape).numel()), outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to vectors (n, outputs)."""
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = self.read(self.standardise(features.float()).flatten(1))
        return out


class LinearDecoder(nn.Module):
    """An affine map from features to pictures, by their principal components, clipped to 0..1."""

    def __init__(self, linear: Linear, basis: Tensor, mean: Tensor, size: int) -> None:
        super().__init__()
        self.linear, self.size = linear, size
        self.register_buffer("basis", basis)
        self.register_buffer("mean", mean)

    basis: Tensor
    mean: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        with torch.autocast(features.device.type, enabled=False):
            return self.picture(self.linear(features))

    def picture(self, components: Tensor) -> Tensor:
        """Draw pictures (n, 3, size, size) in 0..1 from their principal components, (n, components)."""
        drawn = components @ self.basis.T + self.mean
        return drawn.view(-1, 3, self.size, self.size).clamp(0, 1)

    def components(self, pictures: Tensor) -> Tensor:
        """Give the principal components, (n, components), of pictures (n, 3, size, size)."""
        return (pictures.flatten(1) - self.mean) @ self.basis


def chosen_rows(public: Public, seed: int) -> NDArray[np.int64]:
    """Choose the public pictures that a linear attacker uses: at most 8192, drawn at random."""
    return np.sort(np.random.default_rng(seed).permutation(len(public))[:PICTURES])


@torch.no_grad()
def regress(
    access: Access,
    fitted_on: Access,
    public: Public,
    rows: NDArray[np.int64],
    targets: Tensor,
    error: Callable[[Linear], float],
) -> tuple[Linear, float]:
    """Regress `targets` on the features of public pictures, with the ridge penalty that is best on validation people.

    Args:
        access: the victim.
        fitted_on: the same for the public pictures, or averages of several of its answers. The penalty then makes up
            for the noise of single answers, on which it is chosen, and the map is that of far more pictures.
        public: the attacker's pictures.
        rows: those of them used, (n,).
        targets: what is predicted of them, (n, k).
        error: of a candidate on the validation people.

    Returns:
        the map and its error.

    """
    linear = Linear(access.shape, targets.shape[1]).to(access.device)
    batches = np.array_split(rows, -(-len(rows) // 256))
    features = torch.cat([access.features(public, part) for part in batches])
    linear.standardise.observe(features)
    if fitted_on is not access:
        features = torch.cat([fitted_on.features(public, part) for part in batches])
    flat = linear.standardise(features).flatten(1)
    del features
    centre, middle = flat.mean(dim=0), targets.mean(dim=0)
    flat -= centre
    wanted = (targets - middle).double()
    # The normal equations of the smaller side: features, or pictures.
    few = flat.shape[1] <= len(flat)
    gram = flat.double().T @ flat.double() if few else (flat @ flat.T).double()
    unit = max(float(flat.square().sum(dim=1).mean()), 1e-12)  # features that never vary predict nothing
    best, weights = np.inf, linear.read.weight.clone()
    for penalty in PENALTIES:
        system = gram.clone()
        system.diagonal().add_(penalty * unit)
        factor = torch.linalg.cholesky(system)
        if few:
            solution = torch.cholesky_solve(flat.T.double() @ wanted, factor).float()
        else:
            solution = flat.T @ torch.cholesky_solve(wanted, factor).float()
        linear.read.weight.copy_(solution.T)
        linear.read.bias.copy_(middle - linear.read.weight @ centre)
        reached = error(linear)
        if reached >= best:
            break
        best, weights = reached, linear.read.weight.clone()
    linear.read.weight.copy_(weights)
    linear.read.bias.copy_(middle - weights @ centre)
    return linear, best


@torch.no_grad()
def draw(
    access: Access,
    public: Public,
    validation: Validation,
    place: Place,
    *,
    seed: int,
    rows: NDArray[np.int64] | None = None,
    fitted_on: Access | None = None,
) -> Fitted[LinearDecoder]:
    """Invert the encoder by ridge regression.

    Args:
        access: the victim.
        public: the attacker's pictures.
        validation: other people, who choose the penalty.
        place: where it runs.
        seed: of the choice of public pictures, if there are more than 8192.
        rows: the public pictures whose features it has, at least 2; else as many as it can use.
        fitted_on: what it learns from instead, see `regress`.

    """
    rows, device = chosen_rows(public, seed) if rows is None else rows[:PICTURES], place.fabric.device
    pictures = load(public, rows, device=device).flatten(1)
    mean = pictures.mean(dim=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        basis = torch.pca_lowrank(pictures, q=min(COMPONENTS, *(side - 1 for side in pictures.shape)), niter=2)[2]

    def error(linear: Linear) -> float:
        decoder, total = LinearDecoder(linear, basis, mean, public.pack.size), 0.0
        for start in range(0, len(validation), 256):
            part = slice(start, start + 256)
            drawn = decoder(access.features(validation, part))
            total += float((drawn - load(validation, part, device=device)).square().mean(dim=(1, 2, 3)).sum())
        return total / len(validation)

    linear, best = regress(access, fitted_on or access, public, rows, (pictures - mean) @ basis, error)
    decoder = LinearDecoder(linear, basis, mean, public.pack.size).eval()
    return Fitted(network=decoder, steps=0, converged=True, validation_error=best)
