"""Shuffled batches of a part, each a pure function of the seed and the step, so that a run resumes exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.packed import Part


def to_pictures(pixels: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Move (n, size, size, 3) bytes to the device as channels-last pictures (n, 3, size, size) in 0..1."""
    pictures: Tensor = torch.from_numpy(pixels).to(device or "cpu", non_blocking=True).permute(0, 3, 1, 2).float() / 255
    return pictures


def mean_picture(part: Part, device: torch.device) -> Tensor:
    """Average all pictures of a part: (1, 3, size, size) in 0..1, what an attacker draws who knows nothing else."""
    total = np.zeros((part.pack.size, part.pack.size, 3))
    for start in range(0, len(part), 1024):
        total += part.images(slice(start, start + 1024)).sum(axis=0, dtype=np.float64)
    mean = torch.from_numpy(total / (255 * len(part))).float()
    return mean.permute(2, 0, 1)[None].to(device)


class Batches:
    """An endless stream of batches over a part: a new order each epoch, half of the pictures mirrored.

    Args:
        part: where the pictures come from.
        targets: what to give beside the pictures, (len(part), ...); nothing by default.
        batch_size: pictures in a global batch, over all processes.
        seed: of the order and of the mirroring.
        rank: this process.
        world: number of processes; each takes every `world`-th picture of the global batch.
        device: where the pictures are put.

    """

    def __init__(
        self,
        part: Part,
        targets: NDArray[np.generic] | None = None,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.part = part
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.device = device or torch.device("cpu")
        self.targets = torch.from_numpy(np.zeros((len(part), 0)) if targets is None else targets).to(self.device)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Give step `step`'s pictures, (n, 3, size, size) in 0..1, and their targets, (n, ...)."""
        index = self._index(step)[self.rank :: self.world]
        mirrored = np.random.default_rng([self.seed, 1, step]).random(self.batch_size) < 0.5
        mirrored = mirrored[self.rank :: self.world]
        pixels = self.part.images(index)
        pixels[mirrored] = pixels[mirrored, :, ::-1]
        return to_pictures(pixels, self.device), self.targets[torch.from_numpy(index)]

    def _index(self, step: int) -> NDArray[np.int64]:
        """Which pictures the global batch of `step` holds: a window on the endless sequence of epochs."""
        epochs, places = np.divmod(np.arange(step * self.batch_size, (step + 1) * self.batch_size), len(self.part))
        return np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            self._orders[epoch] = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.part))
        return self._orders[epoch]
