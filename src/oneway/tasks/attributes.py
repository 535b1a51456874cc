"""Binary attributes, several at once: cross-entropy of each, thresholds by validation people, Matthews correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway import losses
from oneway.config import checked
from oneway.data.columns import Kind
from oneway.data.packed import Part
from oneway.metrics.classification import best_thresholds, confusion, crossed_utility, each_mcc, mcc
from oneway.metrics.estimate import Floats
from oneway.tasks.task import Array, Logits, Task, Worth


@checked
@dataclass(frozen=True, kw_only=True)
class Attributes(Task):
    """Say of each of several binary attributes whether a picture has it: one logit each, above 0 where it has."""

    name: Literal["attributes"] = "attributes"
    kinds: ClassVar[tuple[Kind, ...]] = ("binary",)
    together: ClassVar[bool] = True
    title: ClassVar[str] = "mean MCC"
    unit: ClassVar[str] = "MCC"

    @classmethod
    def of(cls, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Attributes:
        """Make the task, if every image has every label."""
        for part in (training, *held):
            part.labels(columns)
        return cls(columns=columns)

    @property
    def num_logits(self) -> int:
        """One for each attribute."""
        return len(self.columns)

    def labels(self, part: Part) -> NDArray[np.bool_]:
        """Read the labels, bool (len(part), attributes)."""
        return part.labels(self.columns)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy, the mean over pictures and attributes."""
        return losses.utility(logits, labels)

    def decide(self, logits: Logits) -> dict[str, Array]:
        """Call an attribute present where its logit is above 0."""
        return dict(zip(self.columns, (logits > 0).T, strict=True))

    def told(self, logits: Logits) -> NDArray[np.float32]:
        """Give a bit for each attribute."""
        return (logits > 0).astype(np.float32)

    def statistics(self, logits: Logits, labels: Array) -> Floats:
        """Give which of the four cases each decision is, (n, 4 attributes)."""
        return confusion(logits > 0, labels.astype(np.bool_))

    def score(self, sums: Floats) -> Floats:
        """Give the mean Matthews correlation."""
        found: Floats = mcc(sums).mean(axis=1)
        return found

    def worth(self, totals: Floats) -> Worth:
        """Give each attribute's Matthews correlation."""
        return Worth(each=each_mcc(totals, self.columns))

    def thresholds(self, logits: Logits, labels: Array) -> Floats:
        """Choose the logit above which each attribute is best called present; at even odds rare ones never are."""
        return best_thresholds(logits, labels.astype(np.bool_))

    def validated(self, logits: Logits, labels: Array, people: NDArray[np.int64], *, calibrated: bool) -> float:
        """Give the mean MCC, where calibrated each half of the people decided at the other half's thresholds."""
        if not calibrated:
            return super().validated(logits, labels, people, calibrated=calibrated)
        return crossed_utility(logits, labels.astype(np.bool_), people)

    @property
    def decides(self) -> str:
        """How many attributes it decides, or which, where it is one."""
        return f"{len(self.columns)} attributes" if len(self.columns) > 1 else self.columns[0]
