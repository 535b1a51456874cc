"""Several tasks at once, as one with a head for each."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.config import checked
from oneway.data.columns import Kind
from oneway.data.packed import Part
from oneway.metrics.estimate import Estimate, Floats, estimate
from oneway.tasks.task import Array, Logits, Task, Worth, labels_of, loss_of, told_by


@checked
@dataclass(frozen=True, kw_only=True)
class Several(Task):
    """Several tasks whose logits, labels and statistics stand side by side.

    Its loss and its utility are the means of theirs.

    Attributes:
        heads: the tasks.

    """

    name: Literal["several"] = "several"
    heads: tuple[Task, ...]
    kinds: ClassVar[tuple[Kind, ...]] = ("binary", "classes", "numbers")
    title: ClassVar[str] = "mean utility"
    unit: ClassVar[str] = "utility"

    @property
    def parts(self) -> tuple[Task, ...]:
        """Its heads."""
        return self.heads

    @property
    def num_logits(self) -> int:
        """Those of all heads."""
        return sum(head.num_logits for head in self.heads)

    def labels(self, part: Part) -> NDArray[np.float64]:
        """Read the labels of all heads, as numbers."""
        return np.concatenate([labels_of(head, part).astype(np.float64) for head in self.heads], axis=1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean of the heads' losses."""
        return torch.stack([loss_of(*each) for each in self._pairs(logits, labels)]).mean()

    def decide(self, logits: Logits) -> dict[str, Array]:
        """Decide by every head."""
        decided: dict[str, Array] = {}
        for head, ours in self._answers(logits):
            decided |= head.decide(ours)
        return decided

    def told(self, logits: Logits) -> NDArray[np.float32]:
        """Give the decisions of all heads."""
        return np.concatenate([told_by(head, ours) for head, ours in self._answers(logits)], axis=1)

    def statistics(self, logits: Logits, labels: Array) -> Floats:
        """Give those of all heads."""
        return np.concatenate([head.statistics(*each) for head, *each in self._pairs(logits, labels)], axis=1)

    def score(self, sums: Floats) -> Floats:
        """Give the mean of the heads' utilities."""
        found: Floats = np.mean([head.score(ours) for head, ours in self._scored(sums)], axis=0)
        return found

    def worth(self, totals: Floats) -> Worth:
        """Give the utility of every head, and what it says further."""
        each: dict[str, Estimate] = {}
        further: dict[str, Estimate] = {}
        for head, ours in self._scored(totals):
            name = head.columns[0] if len(head.columns) == 1 else head.decides
            each[name] = estimate(ours, head.score, unit=head.unit)
            worth = head.worth(ours)
            told = worth.further | (worth.each if len(head.columns) > 1 else {})
            further |= {f"{name}, {title}": figure for title, figure in told.items()}
        return Worth(each=each, further=further)

    def thresholds(self, logits: Logits, labels: Array) -> Floats:
        """Choose those of every head."""
        return np.concatenate([head.thresholds(*each) for head, *each in self._pairs(logits, labels)])

    def validated(self, logits: Logits, labels: Array, people: NDArray[np.int64], *, calibrated: bool) -> float:
        """Give the mean of the heads' utilities on validation people."""
        found = [
            head.validated(ours, theirs, people, calibrated=calibrated)
            for head, ours, theirs in self._pairs(logits, labels)
        ]
        return float(np.mean(found))

    @property
    def decides(self) -> str:
        """What all heads decide."""
        return " and ".join(head.decides for head in self.heads)

    @property
    def said(self) -> str:
        """What each head is."""
        return "; ".join(head.said for head in self.heads)

    def _answers(self, logits: Any) -> list[tuple[Task, Any]]:
        return list(zip(self.heads, _cut(logits, [head.num_logits for head in self.heads]), strict=True))

    def _pairs(self, logits: Any, labels: Any) -> list[tuple[Task, Any, Any]]:
        cut = _cut(labels, [len(head.columns) for head in self.heads])
        return [(head, ours, theirs) for (head, ours), theirs in zip(self._answers(logits), cut, strict=True)]

    def _scored(self, sums: Floats) -> list[tuple[Task, Floats]]:
        widths = [
            head.statistics(np.zeros((1, head.num_logits)), np.zeros((1, len(head.columns)))).shape[1]
            for head in self.heads
        ]
        return list(zip(self.heads, _cut(sums, widths), strict=True))


def _cut(rows: Any, widths: list[int]) -> list[Any]:
    """Cut an array or a tensor (n, sum of widths) into (n, width) each."""
    ends = list(accumulate(widths))
    return [rows[:, end - width : end] for end, width in zip(ends, widths, strict=True)]
