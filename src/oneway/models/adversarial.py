"""A discriminator that learns beside the decoder it judges, for whoever trains a decoder with a GAN loss (eq. 2)."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from oneway import losses
from oneway.models.discriminator import Discriminator
from oneway.runtime import lay_out

LEARNING_RATE = 5e-4
"""The discriminator's, constant."""


class AdversarialLoss:
    """The discriminator, which takes a step of its own whenever it is asked for its opinion.

    Args:
        size: pixels a side of the pictures.
        seed: of its initial weights.
        fabric: where it runs.

    """

    def __init__(self, size: int, *, seed: int, fabric: Fabric) -> None:
        self._fabric = fabric
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Discriminator(size)
        self.network = lay_out(network, fabric.device)
        optimizer = AdamW(self.network.parameters(), lr=LEARNING_RATE, betas=(0.5, 0.999), weight_decay=0.0, fused=True)
        self._wrapped, self.optimizer = fabric.setup(self.network, optimizer)

    def __call__(self, reconstructed: Tensor, pictures: Tensor) -> Tensor:
        """Learn from reconstructions and pictures, (n, 3, size, size) in 0..1; give `losses.deception`, (n,)."""
        self.network.requires_grad_(True)
        loss = losses.discrimination(self._wrapped(reconstructed.detach()), self._wrapped(pictures)).mean()
        self.optimizer.zero_grad()
        self._fabric.backward(loss)
        self.optimizer.step()
        # In the decoder's step it only looks on: the gradients of its weights are half of its cost.
        self.network.requires_grad_(False)
        return losses.deception(self._wrapped(reconstructed))
