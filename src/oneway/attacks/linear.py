"""Linear attackers: ridge regression from features to pictures or to facts, solved and not trained.

No optimiser can fail them: a trained attacker that does worse has not been trained well, and an encoder that only
outruns gradient descent is found out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from oneway.attacks.pairs import Error, Pairs, Targets
from oneway.models.scale import Standardise

PICTURES = 8192
"""Public pictures used at most: the solution takes their number cubed."""
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


@torch.no_grad()
def regress(pairs: Pairs, targets: Targets, error: Error) -> tuple[Linear, float]:
    """Regress targets on the features of public pictures; see `pairs.Regress`.

    The penalty makes up for the noise of single answers, on which it is chosen, where averages are learnt from, and the
    map is that of far more pictures.
    """
    access, fitted_on, public = pairs.access, pairs.fitted_on, pairs.public
    rows = pairs.chosen(PICTURES)
    wanted = targets(rows, np.zeros(len(rows), dtype=np.bool_))
    linear = Linear(access.shape, wanted.shape[1]).to(access.device)
    batches = np.array_split(rows, -(-len(rows) // 256))
    features = torch.cat([access.features(public, part) for part in batches])
    linear.standardise.observe(features)
    if fitted_on is not access:
        features = torch.cat([fitted_on.features(public, part) for part in batches])
    flat = linear.standardise(features).flatten(1)
    del features
    centre, middle = flat.mean(dim=0), wanted.mean(dim=0)
    flat -= centre
    wanted = (wanted - middle).double()
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
    return linear.eval(), best
