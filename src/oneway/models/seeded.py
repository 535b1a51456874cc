"""Modules that draw at random in use, from a seed and a count of calls and from no global state."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Seeded(nn.Module):
    """A module whose every call draws anew.

    Attributes:
        seed: with the count of calls since `restart`, decides what is drawn.

    """

    def __init__(self) -> None:
        super().__init__()
        self.seed: tuple[int, ...] = (0,)
        self.calls = 0

    def restart(self, seed: tuple[int, ...]) -> None:
        """Draw from now on by `seed`."""
        self.seed, self.calls = seed, 0

    def generator(self, device: torch.device) -> torch.Generator:
        """Give the generator of this call, and count it."""
        state = np.random.SeedSequence([*self.seed, self.calls]).generate_state(1, np.uint64)
        self.calls += 1
        return torch.Generator(device).manual_seed(int(state[0]))


def restart(network: nn.Module, seed: tuple[int, ...]) -> None:
    """Let every part of a network that draws at random draw by `seed` from now on."""
    for module in network.modules():
        if isinstance(module, Seeded):
            module.restart(seed)
