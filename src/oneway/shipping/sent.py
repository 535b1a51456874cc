"""A bundle as an encoder: what is sent of a picture, noise and rounding included, as its receiver reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.noise import Noisy
from oneway.models.onnx import Graph
from oneway.shipping.contract import DEVICE, SERVER, Column, Contract
from oneway.shipping.verify import checked_contract
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.regression import Regression
from oneway.tasks.several import Several
from oneway.tasks.task import Task


class Sent(Noisy):
    """Maps pictures to the numbers that the bytes of a bundle stand for, by its device.onnx, noise and levels.

    Args:
        folder: the bundle's, whose every file is held to its contract.
        size: pixels a side of the pictures it will be given.

    Raises:
        InputError: if the bundle is damaged, or takes pictures of another size.

    """

    def __init__(self, folder: Path, size: int) -> None:
        self_contract = checked_contract(folder)
        deviation = 0.0 if self_contract.noise is None else self_contract.noise.deviation
        super().__init__(nn.Identity(), deviation)
        self.contract = self_contract
        if self.contract.picture.size != size:
            side = self.contract.picture.size
            raise InputError(
                f"{folder} takes pictures of {side} x {side} pixels, and the pack's have {size} x {size}; prepare the "
                "pack at that size"
            )
        self.device, self.server = Graph(folder / DEVICE, "device"), Graph(folder / SERVER, "server")

    def clean(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to the numbers (n, numbers) before the noise."""
        rows = (pictures.detach().float() * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
        vectors = self.device.run(np.ascontiguousarray(rows.numpy()), "vector")
        return torch.from_numpy(vectors).to(pictures.device)

    def add_noise(self, features: Tensor) -> Tensor:
        """Add noise to numbers (n, numbers), and round them to the levels that are sent."""
        quantisation = self.contract.quantisation
        noisy = super().add_noise(features) if self.noise else features
        return (noisy / quantisation.step).round().clamp(-quantisation.top, quantisation.top) * quantisation.step

    def logits(self, sent: Tensor) -> NDArray[np.float32]:
        """Give what server.onnx decides by numbers that were sent, as logits of the same decisions of `task`."""
        levels = (sent / self.contract.quantisation.step).round().to("cpu", torch.int8).numpy()
        return logits_of(self.contract, self.server.run(levels, "decisions"))

    @property
    def task(self) -> Task:
        """What the server decides, as a task."""
        return task_of(self.contract)


def logits_of(contract: Contract, decisions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give logits (n, num_values) by which `task_of` the contract decides as `decisions` (n, columns) do."""
    parts = []
    for column, decided in zip(contract.columns, decisions.T, strict=True):
        if column.kind == "classes":
            parts.append((decided[:, None] == np.arange(column.num_values)).astype(np.float32))
        else:
            parts.append(decided[:, None] - (0.5 if column.kind == "binary" else 0))
    return np.concatenate(parts, axis=1).astype(np.float32)


def task_of(contract: Contract) -> Task:
    """Give the task that a contract answers, numbers in their own unit."""
    heads: list[Task] = []
    binary: list[Column] = []
    for column in (*contract.columns, None):
        if column is not None and column.kind == "binary":
            binary.append(column)
            continue
        if binary:
            heads.append(Attributes(columns=tuple(each.name for each in binary)))
            binary = []
        if column is not None and column.kind == "classes":
            heads.append(Multiclass(columns=(column.name,), classes=column.classes))
        elif column is not None:
            heads.append(Regression(columns=(column.name,), mean=0.0, deviation=1.0))
    columns = tuple(each.name for each in contract.columns)
    return heads[0] if len(heads) == 1 else Several(columns=columns, heads=tuple(heads))
