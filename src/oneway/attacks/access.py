"""What an attacker has of its victim: the type of an attack's first argument says its threat model."""

from __future__ import annotations

from typing import final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn


@final
class BlackBox:
    """Query access: the attacker sends pictures and gets features, neither weights nor gradients.

    The encoder answers in full precision, as it would where it is used: rounding would hide what it does not.

    Args:
        encoder: the frozen victim.
        fabric: where it runs.

    """

    def __init__(self, encoder: nn.Module, fabric: Fabric) -> None:
        self._encoder = encoder.eval().requires_grad_(False).to(fabric.device)
        self.queries = 0
        """Pictures sent so far."""

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to their features (n, ...)."""
        self.queries += len(pictures)
        features: Tensor = self._encoder(pictures)
        return features
