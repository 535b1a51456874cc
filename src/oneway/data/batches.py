"""Shuffled batches of a part, each a pure function of the seed and the step, so that a run resumes exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.data import resident
from oneway.data.packed import Part


def to_pictures(pixels: NDArray[np.uint8], device: torch.device | None = None) -> Tensor:
    """Move (n, size, size, 3) bytes to the device as channels-last pictures (n, 3, size, size) in 0..1."""
    return _scaled(torch.from_numpy(pixels).to(device or "cpu", non_blocking=True))


def _scaled(pixels: Tensor) -> Tensor:
    pictures: Tensor = pixels.permute(0, 3, 1, 2).float() / 255
    return pictures


def load(
    part: Part,
    index: NDArray[np.int64] | slice,
    mirrored: NDArray[np.bool_] | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Load the pictures at `index` of a part, those marked in `mirrored` mirrored: (k, 3, size, size) in 0..1."""
    held = None if device is None else resident.pixels(part, device)
    if held is not None and device is not None:
        found = held[resident.rows_of(index, len(part), device)]
        if mirrored is not None:
            flip = torch.from_numpy(mirrored).to(device, non_blocking=True)[:, None, None, None]
            found = torch.where(flip, found.flip(2), found)
        return _scaled(found)
    pixels = part.images(index)
    if mirrored is not None:
        pixels[mirrored] = pixels[mirrored, :, ::-1]
    return to_pictures(pixels, device)


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Choose of `count` rows at most so many, spread evenly from the first to the last, ascending."""
    chosen: NDArray[np.int64] = np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
    return chosen


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
        mirror: mirror half of the pictures.
        rows: places in the part to draw from; all by default.

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
        mirror: bool = True,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self.part, self.mirror = part, mirror
        self.rows = np.arange(len(part)) if rows is None else rows
        self.batch_size, self.seed, self.rank, self.world = batch_size, seed, rank, world
        self.device = device or torch.device("cpu")
        self.targets = torch.from_numpy(np.zeros((len(part), 0)) if targets is None else targets).to(self.device)
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Give step `step`'s pictures, (n, 3, size, size) in 0..1, and their targets, (n, ...)."""
        index, mirrored = self.draw(step)
        return load(self.part, index, mirrored, self.device), self.targets[torch.from_numpy(index)]

    def draw(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Say which pictures of the part step `step` holds, (n,), and which of them are mirrored, (n,)."""
        index = self.rows[self._index(step)[self.rank :: self.world]]
        mirrored = np.random.default_rng([self.seed, 1, step]).random(self.batch_size) < 0.5
        return index, mirrored[self.rank :: self.world] & self.mirror

    def _index(self, step: int) -> NDArray[np.int64]:
        """Which rows the global batch of `step` holds: a window on the endless sequence of epochs."""
        epochs, places = np.divmod(np.arange(step * self.batch_size, (step + 1) * self.batch_size), len(self.rows))
        return np.array([self._order(int(epoch))[place] for epoch, place in zip(epochs, places, strict=True)])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            self._orders[epoch] = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.rows))
        return self._orders[epoch]
