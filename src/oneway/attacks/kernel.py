"""Kernel ridge regression from features to pictures or to facts: as sure as the linear one, and not linear.

What an encoder hides lies on no plane, so a ridge regression does not find all of it. This one is solved from all
public pictures, their mirror images and several noisy answers for each, with the kernel functions of few of them:
Nystroem's approximation (Williams and Seeger, NIPS 2000) of kernel ridge regression (Saunders et al., ICML 1998).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from oneway.attacks.pairs import Error, Index, Pairs, Targets
from oneway.models.grid import channel_axis
from oneway.models.scale import Standardise, Whiten

CENTRES = 2048
"""Public pictures around which kernel functions lie: the solution takes their number cubed."""
PASSES = 4
"""How often every public picture and its mirror image are sent, where the encoder adds noise."""
LINEAR = 0.3
"""Weight of the linear kernel beside the Gaussian one, both of unit scale."""
PENALTIES = 10.0 ** np.arange(-2, -7.5, -0.5)
"""Ridge penalties for each picture, tried until a smaller one is no better."""
JITTERS = 10.0 ** np.arange(-8, 1)
"""Shares of the mean diagonal, added to equations that rounding has left without a solution until there is one."""
_BATCH = 2048


class Kernel(nn.Module):
    """A weighted sum of kernel functions of scaled features: a Gaussian one around each centre, and linear ones.

    Args:
        centres: features, (m, *shape), around which the functions lie.
        scale: scales features first.
        outputs: length of the vector.

    """

    centres: Tensor
    weights: Tensor
    middle: Tensor
    distance: Tensor
    power: Tensor

    def __init__(self, centres: Tensor, scale: Standardise | Whiten, outputs: int) -> None:
        super().__init__()
        self.scale = scale
        flat = scale(centres).flatten(1)
        self.register_buffer("centres", flat)
        self.register_buffer("weights", flat.new_zeros(len(flat), outputs))
        self.register_buffer("middle", flat.new_zeros(outputs))
        # Of two centres, on average; features that never vary predict nothing.
        self.register_buffer("distance", (2 * flat.var(dim=0).sum()).clamp(min=1e-12))
        self.register_buffer("power", flat.square().sum(dim=1).mean().clamp(min=1e-12))

    def functions(self, features: Tensor) -> Tensor:
        """Give the kernel functions of features (n, ...): (n, m)."""
        with torch.autocast(features.device.type, enabled=False):
            return self._between(self.scale(features.float()).flatten(1))

    def among_centres(self) -> Tensor:
        """Give the kernel functions of the centres, (m, m)."""
        return self._between(self.centres)

    def _between(self, flat: Tensor) -> Tensor:
        product = flat @ self.centres.T
        lengths, theirs = flat.square().sum(dim=1, keepdim=True), self.centres.square().sum(dim=1)
        apart = (lengths + theirs - 2 * product).clamp(min=0)
        return torch.exp(-apart / self.distance) + LINEAR / self.power * product

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to vectors (n, outputs)."""
        with torch.autocast(features.device.type, enabled=False):
            return self.functions(features) @ self.weights + self.middle


def correction(inputs: int, outputs: int, *, width: int, dropout: float = 0.0) -> nn.Sequential:
    """Give a network of two hidden layers to add to such a regression: it adds nothing until it is trained.

    Args:
        inputs: numbers of one picture's features.
        outputs: length of the vector.
        width: units of each hidden layer.
        dropout: after each of them.

    """
    last = nn.Linear(width, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    after: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(
        *(nn.Linear(inputs, width), nn.GELU(), *after),
        *(nn.Linear(width, width), nn.GELU(), *after, last),
    )


@torch.no_grad()
def regress(pairs: Pairs, targets: Targets, error: Error) -> tuple[Kernel, float]:
    """Regress targets on features of public pictures; see `pairs.Regress`.

    Noise is made up for by many answers of their own noise, so it learns from `pairs.access` alone.
    """
    access, public = pairs.access, pairs.public
    rows = np.arange(len(public)) if pairs.rows is None else pairs.rows
    turns = [False, True] if access.mirrors and pairs.mirrors else [False]
    seen = torch.cat([access.features(public, part) for part in _batches(pairs.chosen(CENTRES))])
    outputs = targets(rows[:1], np.zeros(1, dtype=np.bool_)).shape[1]
    sums = [_Sums(Kernel(seen, scale, outputs)) for scale in _scales(access.shape, seen)]
    for turn in turns:
        for index in _batches(rows):
            mirrored = np.full(len(index), turn)
            wanted = targets(index, mirrored)
            for _ in range(PASSES if pairs.noisy else 1):
                answers = access.features(public, index, mirrored if turn else None)
                for each in sums:
                    each.add(answers, wanted)
    return min((each.solved(error) for each in sums), key=lambda found: found[1])


def _scales(shape: tuple[int, ...], seen: Tensor) -> Iterator[Standardise | Whiten]:
    """Give the ways of scaling features, of which validation people choose.

    Noise is read best channel by channel; what lies in mixtures of channels that have little power, whitened alone. Of
    maps the second takes as long again, and the trained attackers read them so.
    """
    vector = torch.Size(shape).numel() == shape[channel_axis(shape)]
    for kind in (Standardise, Whiten) if vector else (Standardise,):
        scale = kind(shape).to(seen.device)
        scale.observe(seen)
        yield scale


class _Sums:
    """The normal equations, of which memory holds no more than the centres squared, however many pictures there are."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self._count = kernel, 0
        number, outputs = kernel.weights.shape
        zeros = kernel.weights.new_zeros(number, number + outputs, dtype=torch.float64)
        self._products, self._totals = zeros, zeros.sum(dim=0)

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Count pictures in."""
        functions = self.kernel.functions(features)
        both = torch.cat([functions, targets], dim=1)
        self._products += functions.T @ both
        self._totals += both.sum(dim=0, dtype=torch.float64)
        self._count += len(both)

    def solved(self, error: Error) -> tuple[Kernel, float]:
        """Give the kernel by the penalty that is best on validation people, and its error there."""
        kernel, best = self.kernel, np.inf
        kept = kernel.weights.clone(), kernel.middle.clone()
        for weights, middle in self._solutions():
            kernel.weights.copy_(weights)
            kernel.middle.copy_(middle)
            reached = error(kernel)
            if reached >= best:
                break
            best, kept = reached, (weights, middle)
        kernel.weights.copy_(kept[0])
        kernel.middle.copy_(kept[1])
        return kernel.eval(), best

    def _solutions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Give the weights of the functions and what is predicted knowing nothing, for each penalty in turn."""
        number, means = len(self._products), self._totals / self._count
        covariance = self._products / self._count - means[:number, None] * means
        among = self.kernel.among_centres().double()
        for penalty in PENALTIES:
            weights = torch.cholesky_solve(covariance[:, number:], _factor(covariance[:, :number] + penalty * among))
            yield weights.float(), (means[number:] - means[:number] @ weights).float()


def _factor(system: Tensor) -> Tensor:
    """Give the Cholesky factor of a matrix that is positive definite but for rounding."""
    unit = system.diagonal().mean().clamp(min=1e-30)
    for share in (0.0, *JITTERS):
        system.diagonal().add_(share * unit)
        factor: Tensor
        factor, failed = torch.linalg.cholesky_ex(system)
        if not bool(failed):
            break
    return factor


def _batches(rows: Index) -> list[Index]:
    return np.array_split(rows, -(-len(rows) // _BATCH))
