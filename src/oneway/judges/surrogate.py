"""A face verifier as attackers train with it: the same network in torch, with gradients for the pictures."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.batches import load
from oneway.data.packed import Pack, Part
from oneway.errors import InputError
from oneway.judges.cache import known_features
from oneway.judges.verifier import Embedding, Verifier

Points = NDArray[np.float64]
AGREE = 0.99
"""Least cosine of the features of one picture by the verifier and by the network that attackers train with."""
MIRRORED = (1, 0, 2, 4, 3)
"""The order of the five points of a face in the mirrored picture."""


@runtime_checkable
class Differentiable(Protocol):
    """A verifier whose network can be had in torch."""

    def differentiable(self, device: torch.device) -> Embedding:
        """Give a function from pictures (n, 3, size, size) in 0..1, and their five points, to unit vectors (n, d)."""


class Surrogate:
    """What an attacker who trains with a verifier has: its features of pictures, and gradients of them.

    Args:
        verifier: the verifier.
        pack: on whose pictures it is held to be the same network.
        device: where it runs.

    Raises:
        InputError: if the verifier gives no gradients, or gives other features with them.

    """

    def __init__(self, verifier: Verifier, pack: Pack, device: torch.device) -> None:
        self._verifier, self.name = verifier, verifier.name
        self._known: dict[str, Tensor] = {}
        other = "give another verifier first, or none to train with: --set surrogates=0"
        if not isinstance(verifier, Differentiable):
            raise InputError(f"no attacker can train with the verifier {verifier.name!r}, without gradients; {other}")
        _ = verifier.fingerprint  # a pack's own is trained now, and its errors are its own
        try:
            self._embed = verifier.differentiable(device)
            index = slice(0, 2)
            points, pictures = pack.public.landmarks(index), load(pack.public, index, device=device)
            with torch.no_grad():
                ours = self._embed(pictures, points).cpu().numpy()
        except InputError:
            raise
        except Exception as error:  # whatever a converted network raises
            raise InputError(f"the verifier {verifier.name!r} cannot be trained with ({error}); {other}") from error
        theirs = verifier(pictures.cpu(), points)
        if ours.shape != theirs.shape or float((ours * theirs).sum(axis=1).min()) < AGREE:
            raise InputError(f"the verifier {verifier.name!r} has other features as a network in torch; {other}")

    def __call__(self, pictures: Tensor, points: Points | None, mirrored: NDArray[np.bool_] | None = None) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d).

        Args:
            pictures: the pictures.
            points: the five points of each, (n, 5, 2), before mirroring; none where the pack knows none.
            mirrored: (n,) which of the pictures are mirrored.

        """
        if points is not None and mirrored is not None and mirrored.any():
            turned = points[:, MIRRORED] * [-1, 1] + [1, 0]
            points = np.where(mirrored[:, None, None], turned, points)
        with torch.autocast(pictures.device.type, enabled=False):
            return self._embed(pictures.float(), points)

    def known(self, part: Part, device: torch.device) -> Tensor:
        """Give the verifier's features of the real pictures of a part: (n, d) unit vectors."""
        if part.split not in self._known:  # asked for at every check of an attacker
            self._known[part.split] = torch.from_numpy(known_features(self._verifier, part)).to(device)
        return self._known[part.split]


def unit(features: Tensor) -> Tensor:
    """Scale features (n, ...) to unit vectors (n, d)."""
    return F.normalize(features.flatten(1).float(), dim=1)
