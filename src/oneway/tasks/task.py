"""What every task is: labels, logits, a loss, decisions, and what these are worth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.config import Names, checked
from oneway.data.columns import Kind
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, Floats, by_person, estimate
from oneway.plugins import Unfit, blamed
from oneway.report.values import Utility

GROUP = "oneway.tasks"
"""The group of entry points by which other packages add tasks."""
Logits = NDArray[np.floating]
Array = NDArray[np.generic]


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What decisions are worth, beside the one figure that settings are compared by.

    Attributes:
        each: of each attribute, or of each class, by name.
        further: other figures, by title.

    """

    each: dict[str, Estimate] = field(default_factory=dict)
    further: dict[str, Estimate] = field(default_factory=dict)


@checked
@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """What an encoder and its classifier learn to decide. Every task is its own record in a run's config.json.

    Its utility is 0 for whoever decides alike for everybody, at most 1, and more is better, so that one encoder's can
    be said as a share of another's.

    Attributes:
        name: which task it is, a `Literal` of that name alone.
        columns: the attributes of the pack that it decides.
        kinds: of which kind they may be.
        together: whether one such task decides several; else each has one of its own.
        title: of its utility, as in "mean MCC".
        unit: of its utility.

    """

    name: str = ""
    columns: Names
    kinds: ClassVar[tuple[Kind, ...]]
    together: ClassVar[bool] = False
    title: ClassVar[str]
    unit: ClassVar[str]

    @classmethod
    def of(cls, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Task:
        """Make the task of some columns, whose kinds are right.

        Args:
            columns: the attributes; one, unless `together`.
            training: the images that it is learned from.
            held: those on which it is chosen and measured.

        Raises:
            InputError: for labels that nothing can be learned from, or that could not be decided.

        """
        raise NotImplementedError(f"{cls.__name__} must say by `of` how it is made")

    @property
    @abstractmethod
    def num_logits(self) -> int:
        """How many numbers the classifier gives for a picture."""

    @abstractmethod
    def labels(self, part: Part) -> Array:
        """Read the labels of a part, (len(part), columns), numbers or bool; `InputError` where some are missing."""

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give what is minimised, the mean over pictures: of (n, num_logits) and labels (n, columns), one number."""

    @abstractmethod
    def decide(self, logits: Logits) -> dict[str, Array]:
        """Decide by logits (n, num_logits): (n,) for each column, by its name."""

    @abstractmethod
    def told(self, logits: Logits) -> NDArray[np.float32]:
        """Give the decisions as numbers, (n, d): a bit for what is or is not, or the number that is decided.

        An audit attacks these as if they were features: what the task's decisions alone give away.
        """

    @abstractmethod
    def statistics(self, logits: Logits, labels: Array) -> Floats:
        """Give what the score needs of each picture, (n, s), so that sums over pictures are enough for it."""

    @abstractmethod
    def score(self, sums: Floats) -> Floats:
        """Give the utility of summed statistics, (resamples, s): (resamples,)."""

    def worth(self, totals: Floats) -> Worth:
        """Estimate further figures from the statistics of every person, (people, s)."""
        return Worth()

    def thresholds(self, logits: Logits, labels: Array) -> Floats:
        """Choose on validation people what is taken off the logits after training: (num_logits,); nothing here."""
        return np.zeros(self.num_logits)

    def validated(self, logits: Logits, labels: Array, people: NDArray[np.int64], *, calibrated: bool) -> float:
        """Give the utility on validation people, (n,) codes, by which settings are chosen, before any threshold.

        Where `calibrated`, no picture may be decided by thresholds that were chosen on it.
        """
        return float(self.score(self.statistics(logits, labels).sum(axis=0, keepdims=True))[0])

    @property
    def parts(self) -> tuple[Task, ...]:
        """The tasks of which it is made."""
        return (self,)

    @property
    def decides(self) -> str:
        """What it decides, in words, as in "40 attributes"."""
        return ", ".join(self.columns)

    @property
    def said(self) -> str:
        """What it is, in a sentence."""
        return f"{self.name}: {self.decides}"


def loss_of(task: Task, logits: Tensor, labels: Tensor) -> Tensor:
    """Give what a task minimises, as `Task.loss` does.

    Raises:
        InputError: if another package's fails, or gives what cannot be minimised.

    """
    with blamed(GROUP, task.name):
        loss: object = task.loss(logits, labels)
        if not (isinstance(loss, Tensor) and loss.dim() == 0):
            found = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
            raise Unfit(f"must give by `loss` one number as a tensor (), not {found}")
    return loss


def targets_of(task: Task, part: Part) -> Array:
    """Read labels to train on, as `labels_of` does: numbers in single precision, since not every device has more."""
    labels = labels_of(task, part)
    return labels.astype(np.float32) if labels.dtype == np.float64 else labels


def labels_of(task: Task, part: Part) -> Array:
    """Read the labels of a part, as `Task.labels` does; raise `InputError` if another package's fails."""
    with blamed(GROUP, task.name):
        labels: object = task.labels(part)
        shape = (len(part), len(task.columns))
        if not (isinstance(labels, np.ndarray) and labels.shape == shape and labels.dtype.kind in "fiub"):
            found = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
            raise Unfit(f"must give labels {shape}, numbers of each picture, not {found}")
    return labels


def told_by(task: Task, logits: Logits) -> NDArray[np.float32]:
    """Give the decisions as numbers, as `Task.told` does; raise `InputError` if another package's fails."""
    return _numbers(task, task.told, logits).astype(np.float32)


def utility_of(task: Task, logits: Logits, labels: Array, people: NDArray[np.int64]) -> Utility:
    """Estimate what a task's decisions are worth, with intervals over people.

    Args:
        task: the task.
        logits: (n, num_logits).
        labels: (n, columns), as it reads them.
        people: (n,) codes.

    Raises:
        InputError: if another package's fails, or gives what is no figure.

    """
    totals = by_person(_numbers(task, task.statistics, logits, labels), people)
    with blamed(GROUP, task.name):
        value = estimate(totals, task.score, unit=task.unit)
        if not (np.isfinite([value.low, value.value, value.high]).all() and value.value <= 1):
            raise Unfit(f"must give by `score` finite numbers, at most 1, not {value.value}")
        worth = task.worth(totals)
    return Utility(value=value, title=task.title, of=task.decides, each=worth.each, further=worth.further)


def _numbers(task: Task, give: Callable[..., object], *given: Any) -> Floats:
    """Hold what a task gives of each picture to being finite numbers, (n, d)."""
    with blamed(GROUP, task.name):
        made = give(*given)
        if not (isinstance(made, np.ndarray) and made.ndim == 2 and len(made) == len(given[0])):
            raise Unfit(f"must give by `{give.__name__}` an array ({len(given[0])}, d), a row for each picture")
        if not np.isfinite(made).all():
            raise Unfit(f"must give by `{give.__name__}` finite numbers")
    return made


def only(columns: tuple[str, ...], training: Part) -> str:
    """Give the one column of a task that has one.

    Raises:
        InputError: if there are several.

    """
    if len(columns) != 1:
        raise InputError(f"{training.pack.path}: one column is needed for each such task, not {', '.join(columns)}")
    return columns[0]
