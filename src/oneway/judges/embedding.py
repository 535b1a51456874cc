"""Judges of pictures that need not show people: any network that was trained on pictures, by its pooled features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from oneway.data.batches import load, spread
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.verifier import TorchVerifier
from oneway.models.perceptual import TIMM, VGG, Perceptual, open_perceptual

CENTRED_ON = 1024
"""Public pictures at most of whose features the mean is taken."""
_BATCH = 64


def is_embedding(path: Path | str) -> bool:
    """Say whether what stands for a judge names a network and its weights, `vgg16:FILE` or `timm:NAME:FILE`."""
    return str(path).startswith((f"{VGG}:", TIMM)) and not Path(path).exists()


def open_embedding(named: str, pack: Pack) -> TorchVerifier:
    """Open a network as a judge of pictures.

    Its features are those of its last stage, the mean over all places, less their mean over public pictures. It is
    given pictures in the pack's own size.

    Args:
        named: `vgg16:FILE` or `timm:NAME,option=value:FILE`, see `models.perceptual.open_perceptual`.
        pack: on whose public pictures its features are centred.

    Raises:
        InputError: if there is no such network or file, the weights do not fit, or it cannot take the pack's pictures.

    """
    try:
        network = open_perceptual(named)
        return TorchVerifier(Pooled(network, pack), network.name, of_pictures=True)
    except InputError as error:
        raise InputError(f"verifier {named!r}: {error}") from error


def with_file(named: str, change: Callable[[Path], Path | str]) -> str:
    """Name the same network with another file."""
    network, _, path = named.rpartition(":")
    return f"{network}:{change(Path(path))}"


class Pooled(nn.Module):
    """Map pictures to the features of a network's last stage, the mean over all places, centred.

    Args:
        network: gives the features of its stages, the last one last.
        pack: whose public pictures, spread evenly over the part, have the mean that is subtracted.

    """

    mean: Tensor

    def __init__(self, network: Perceptual, pack: Pack) -> None:
        super().__init__()
        self.network, self._pack = network, pack.hash
        chosen = spread(len(pack.public), CENTRED_ON)
        parts = [chosen[start : start + _BATCH] for start in range(0, len(chosen), _BATCH)]
        with torch.no_grad():
            total = sum(self._pooled(load(pack.public, part)).double().sum(dim=0) for part in parts)
        assert isinstance(total, Tensor)
        if not bool(total.isfinite().all()):
            raise InputError(f"its features of pictures of {pack.path} are not finite; give other weights")
        # What it was centred on is told by the pack: the last bits of a mean depend on the machine.
        self.register_buffer("mean", (total / len(chosen)).float(), persistent=False)

    def _pooled(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.network(pictures)[-1]
        if features.dim() != 4:
            raise InputError(f"its last stage gives {tuple(features.shape)}, no map; name a convolutional network")
        return features.float().mean(dim=(2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to features (n, d)."""
        return self._pooled(pictures) - self.mean

    def extra_repr(self) -> str:
        """Say which pack its mean is of, which tells two judges apart."""
        return f"centred on {self._pack}"
