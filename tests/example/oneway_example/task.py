"""A task of classes in an order: one number, of which the nearest rank decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.config import Names, checked
from oneway.data.columns import Kind
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.tasks.task import Task


@checked
@dataclass(frozen=True, kw_only=True)
class Ordinal(Task):
    """Say which of several classes a picture is of, where these have an order: that of the pack.

    Attributes:
        classes: their names, from low to high.

    """

    name: Literal["ordinal"] = "ordinal"
    classes: Names
    kinds: ClassVar[tuple[Kind, ...]] = ("classes",)
    title: ClassVar[str] = "variance of ranks explained"
    unit: ClassVar[str] = "share"

    @classmethod
    def of(cls, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Ordinal:
        """Make the task, if each part has several classes."""
        for part in (training, *held):
            if len(np.unique(part.values(columns[0]))) < 2:
                raise InputError(f"{columns[0]}: all {part.split} images are of one class; choose another column")
        return cls(columns=columns, classes=training.pack.classes[columns[0]])

    @property
    def num_logits(self) -> int:
        """One, the rank as a share of the highest."""
        return 1

    def labels(self, part: Part) -> NDArray[np.float64]:
        """Read the ranks, (len(part), 1) in 0..1."""
        return part.values(self.columns[0]).astype(np.float64)[:, None] / (len(self.classes) - 1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Squared error of the rank."""
        return (logits.float() - labels.float()).square().mean()

    def _ranks(self, logits: NDArray[np.floating]) -> NDArray[np.int64]:
        highest = len(self.classes) - 1
        return np.clip(np.round(logits[:, 0] * highest), 0, highest).astype(np.int64)

    def decide(self, logits: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
        """Name the class of the nearest rank."""
        return {self.columns[0]: np.array(self.classes)[self._ranks(logits)]}

    def told(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Give a bit for each class."""
        chosen: NDArray[np.bool_] = self._ranks(logits)[:, None] == np.arange(len(self.classes))
        return chosen.astype(np.float32)

    def statistics(self, logits: NDArray[np.floating], labels: NDArray[Any]) -> NDArray[np.float64]:
        """Give 1, the rank, its square and the squared error, (n, 4)."""
        rank = labels[:, 0].astype(np.float64)
        error = self._ranks(logits) / (len(self.classes) - 1) - rank
        return np.stack([np.ones(len(rank)), rank, rank**2, error**2], axis=1)

    def score(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the share of the variance that is explained."""
        count, total, squares, errors = sums.T
        variance = squares - total**2 / count
        found: NDArray[np.float64] = np.where(variance > 1e-9, 1 - errors / np.maximum(variance, 1e-9), 0.0)
        return found
