"""A number: squared error of what is standardised, and the share of the variance that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway import losses
from oneway.config import Positive, checked
from oneway.data.columns import Kind
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.metrics.estimate import Floats, estimate
from oneway.tasks.task import Array, Logits, Task, Worth, only


@checked
@dataclass(frozen=True, kw_only=True)
class Regression(Task):
    """Say a number of each picture: one logit, which is the number from its mean on, in its deviations.

    Attributes:
        mean: of the training images.
        deviation: of these.

    """

    name: Literal["regression"] = "regression"
    mean: float
    deviation: Positive
    kinds: ClassVar[tuple[Kind, ...]] = ("numbers",)
    title: ClassVar[str] = "R2"
    unit: ClassVar[str] = "R2"

    @classmethod
    def of(cls, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Regression:
        """Make the task, if numbers are finite and vary."""
        column = only(columns, training)
        for part in (training, *held):
            numbers = part.values(column).astype(np.float64)
            if not np.isfinite(numbers).all():
                odd = int(np.flatnonzero(~np.isfinite(numbers))[0])
                raise InputError(
                    f"{part.pack.path}: {column} of {part.names[odd]} is {numbers[odd]}; a regression needs finite "
                    "numbers: correct it and prepare the pack again"
                )
            if numbers.min() == numbers.max():
                raise InputError(
                    f"{part.pack.path}: {column} is {numbers[0]:g} in all {part.split} images, so there is nothing to "
                    "tell; choose another column, or prepare the pack of images where it varies"
                )
        numbers = training.values(column).astype(np.float64)
        return cls(columns=columns, mean=float(numbers.mean()), deviation=float(numbers.std()))

    @property
    def num_logits(self) -> int:
        """One."""
        return 1

    def labels(self, part: Part) -> NDArray[np.float64]:
        """Read the numbers, in deviations from the mean, (len(part), 1)."""
        return (part.values(self.columns[0]).astype(np.float64)[:, None] - self.mean) / self.deviation

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Squared error in deviations, the mean over pictures."""
        return losses.squared_error(logits, labels)

    def decide(self, logits: Logits) -> dict[str, Array]:
        """Give the numbers in their own unit."""
        return {self.columns[0]: logits[:, 0].astype(np.float64) * self.deviation + self.mean}

    def told(self, logits: Logits) -> NDArray[np.float32]:
        """Give the number, in deviations from the mean."""
        return logits[:, :1].astype(np.float32)

    def statistics(self, logits: Logits, labels: Array) -> Floats:
        """Give 1, the number, its square, and the squared and absolute error: (n, 5)."""
        truth = labels[:, 0].astype(np.float64)
        error = logits[:, 0].astype(np.float64) - truth
        return np.stack([np.ones(len(truth)), truth, truth**2, error**2, np.abs(error)], axis=1)

    def score(self, sums: Floats) -> Floats:
        """Give R2, the share of the variance that is explained: 0 for who knows the mean alone, below 0 for worse."""
        count, total, squares, errors = sums[:, :4].T
        variance = squares - total**2 / np.maximum(count, 1)
        vary = variance > 1e-12 * np.maximum(squares, 1e-300)
        return np.where(vary, 1 - errors / np.where(vary, variance, 1), 0.0)

    def worth(self, totals: Floats) -> Worth:
        """Give the mean absolute error in the number's own unit."""

        def absolute(sums: Floats) -> Floats:
            found: Floats = self.deviation * sums[:, 4] / np.maximum(sums[:, 0], 1)
            return found

        return Worth(further={"mean absolute error": estimate(totals, absolute, unit=self.columns[0])})

    @property
    def said(self) -> str:
        """What it is, with the mean and deviation of the training images."""
        return f"regression: {self.columns[0]}, mean {self.mean:.4g}, deviation {self.deviation:.4g}"
