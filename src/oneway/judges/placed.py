"""Judges where an audit computes: on a GPU, as the networks in torch that attackers train with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import Verifier, of_pictures


class Placed:
    """A verifier that answers from a device, held there to what it says itself of two pictures.

    Args:
        verifier: the verifier.
        pack: on whose pictures it is held to itself.
        device: where it runs.

    Raises:
        InputError: if it cannot be had in torch, or has other features there.

    """

    def __init__(self, verifier: Verifier, pack: Pack, device: torch.device) -> None:
        self._network, self._device = Surrogate(verifier, pack, device), device
        self.name, self.fingerprint, self.of_pictures = verifier.name, verifier.fingerprint, of_pictures(verifier)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        found: NDArray[np.float32] = self._network(pictures.to(self._device), landmarks).cpu().numpy()
        return found


def placed(verifier: Verifier, pack: Pack, device: torch.device) -> Verifier:
    """Give a verifier on the device that an audit uses; itself where that is the processor, or it cannot be had there.

    onnxruntime as it is mostly installed knows no GPU, and judging is half of an audit.
    """
    if device.type == "cpu":
        return verifier
    try:
        return Placed(verifier, pack, device)
    except InputError:
        return verifier
