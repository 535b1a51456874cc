"""The linear inversion attack: ridge regression from features to pictures, solved and not trained.

It is no strong attacker, but no optimiser can fail it: a trained decoder that draws worse has not been trained well,
and an encoder that only outruns gradient descent is found out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from oneway.attacks.access import Access, all_features
from oneway.attacks.fit import Fitted
from oneway.data.batches import to_pictures
from oneway.data.packed import Public, Validation
from oneway.models.decoder import Standardise

PICTURES = 4096
"""Public pictures used at most: the solution takes their number cubed."""
COMPONENTS = 256
"""Principal components in which pictures are predicted; beyond them a linear attacker draws nothing."""
PENALTIES = 10.0 ** np.arange(-3, 3)
"""Ridge penalties tried, as shares of the mean squared length of the features."""


class LinearDecoder(nn.Module):
    """An affine map from features to pictures, clipped to 0..1."""

    def __init__(self, shape: tuple[int, ...], size: int, components: int) -> None:
        super().__init__()
        self.standardise = Standardise(shape)
        numbers = int(torch.Size(shape).numel())
        self.read = nn.Linear(numbers, components)
        self.draw = nn.Linear(components, 3 * size**2)
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        with torch.autocast(features.device.type, enabled=False):
            drawn: Tensor = self.draw(self.read(self.standardise(features.float()).flatten(1)))
        return drawn.view(-1, 3, self.size, self.size).clamp(0, 1)


@torch.no_grad()
def regress(
    access: Access, public: Public, validation: Validation, *, seed: int = 0, device: torch.device | None = None
) -> Fitted[LinearDecoder]:
    """Regress pictures on their features, with the ridge penalty that is best on the validation people.

    Args:
        access: the victim.
        public: the attacker's pictures; at most 4096 of them, drawn at random.
        validation: other people, who choose the penalty.
        seed: of that draw.
        device: where it is computed.

    """
    size = public.pack.size
    rows = np.sort(np.random.default_rng(seed).permutation(len(public))[:PICTURES])
    features = torch.cat([access.features(public, part) for part in np.array_split(rows, -(-len(rows) // 256))])
    pictures = to_pictures(public.images(rows), device).flatten(1)
    mean = pictures.mean(dim=0)
    components = min(COMPONENTS, len(rows) - 1, pictures.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        basis = torch.pca_lowrank(pictures, q=components, niter=2)[2]
    targets = (pictures - mean) @ basis

    decoder = LinearDecoder(access.shape, size, components).to(features.device)
    decoder.standardise.observe(features)
    flat = decoder.standardise(features).flatten(1)
    centre = flat.mean(dim=0)
    flat -= centre
    gram = (flat @ flat.T).double()
    unit = float(gram.diagonal().mean())
    held = decoder.standardise(torch.from_numpy(all_features(access, validation)).to(features.device)).flatten(1) - centre
    wanted = to_pictures(validation.images(slice(None)), device).flatten(1)
    decoder.draw.weight.copy_(basis)
    decoder.draw.bias.copy_(mean)

    best, weights = np.inf, torch.empty(0)
    for penalty in PENALTIES:
        system = gram + penalty * unit * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        dual = torch.cholesky_solve(targets.double(), torch.linalg.cholesky(system)).float()
        candidate = flat.T @ dual
        error = float((decoder.draw(held @ candidate).clamp(0, 1) - wanted).square().mean())
        if error < best:
            best, weights = error, candidate
    decoder.read.weight.copy_(weights.T)
    decoder.read.bias.copy_(-(centre @ weights))
    return Fitted(network=decoder.eval(), steps=0, converged=True, validation_error=best)
