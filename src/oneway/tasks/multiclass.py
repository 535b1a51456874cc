"""One of several classes: cross-entropy, the largest logit, balanced accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway import losses
from oneway.config import Names, Numbers, checked
from oneway.data.columns import Kind, listed
from oneway.data.packed import Pack, Part
from oneway.errors import InputError
from oneway.metrics.classification import accuracy, balanced_accuracy, recall
from oneway.metrics.estimate import Floats, estimate
from oneway.tasks.task import Array, Logits, Task, Worth, only

UNBALANCED = 2.0
"""Classes are weighted where the largest has more than this many times the images of the smallest."""
MOST = 1000
"""Different whole numbers that may be classes."""


@checked
@dataclass(frozen=True, kw_only=True)
class Multiclass(Task):
    """Say which of several classes a picture is of: one logit for each class, of which the largest decides.

    Attributes:
        classes: their names, in the order of the logits.
        weights: of each class in the loss, of mean 1 over the training images; none where classes are balanced.

    """

    name: Literal["multiclass"] = "multiclass"
    classes: Names
    weights: Numbers = ()
    kinds: ClassVar[tuple[Kind, ...]] = ("classes", "numbers")
    title: ClassVar[str] = "balanced accuracy above chance"
    unit: ClassVar[str] = "share"

    @classmethod
    def of(cls, columns: tuple[str, ...], training: Part, held: Sequence[Part]) -> Multiclass:
        """Make the task of the classes that training images have, weighted where these are unbalanced."""
        column = only(columns, training)
        names, places = classes_of(training.pack, column), _places(training, column)
        counts = np.bincount(places, minlength=len(names))
        there = tuple(name for name, count in zip(names, counts, strict=True) if count)
        if len(there) < 2:
            raise InputError(
                f"{training.pack.path}: all {training.split} images are of one class of {column}, {there[0]!r}, so "
                "there is nothing to tell apart; choose another column, or prepare the pack of more classes"
            )
        for part in held:
            own = _places(part, column)
            lacking = sorted({names[place] for place in own} - set(there))
            if lacking:
                count = int(np.isin(own, [names.index(name) for name in lacking]).sum())
                raise InputError(
                    f"{training.pack.path}: {count} {part.split} images are of a class of {column} that no "
                    f"{training.split} image has: {listed(lacking)}; prepare the pack without them, with another "
                    "--seed, or with that class merged into another"
                )
            if len(np.unique(own)) < 2:
                raise InputError(
                    f"{training.pack.path}: all {part.split} images are of one class of {column}, {names[own[0]]!r}, "
                    "so nothing can be measured on them; prepare the pack of more images, or with another --seed"
                )
        counts = counts[counts > 0]
        balanced = counts.max() <= UNBALANCED * counts.min()
        weights = () if balanced else tuple(float(weight) for weight in counts.sum() / (len(counts) * counts))
        return cls(columns=columns, classes=there, weights=weights)

    @property
    def num_logits(self) -> int:
        """One for each class."""
        return len(self.classes)

    def labels(self, part: Part) -> NDArray[np.int64]:
        """Read the places of classes among the task's, (len(part), 1); -1 for a class that the task lacks."""
        own = {name: place for place, name in enumerate(self.classes)}
        ours = np.array([own.get(name, -1) for name in classes_of(part.pack, self.columns[0])], dtype=np.int64)
        return ours[_places(part, self.columns[0])][:, None]

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, the mean over pictures, weighted by their classes."""
        weights = torch.tensor(self.weights, device=logits.device) if self.weights else None
        return losses.cross_entropy(logits, labels[:, 0], weights)

    def decide(self, logits: Logits) -> dict[str, Array]:
        """Name the class of the largest logit."""
        return {self.columns[0]: np.array(self.classes)[logits.argmax(axis=1)]}

    def told(self, logits: Logits) -> NDArray[np.float32]:
        """Give a bit for each class, of which one is set."""
        chosen: NDArray[np.bool_] = logits.argmax(axis=1)[:, None] == np.arange(self.num_logits)
        return chosen.astype(np.float32)

    def statistics(self, logits: Logits, labels: Array) -> Floats:
        """Give for each class whether the picture is of it and is recognised, and whether it is of it: (n, 2 k)."""
        of = labels[:, :1].astype(np.int64) == np.arange(self.num_logits)
        right = logits.argmax(axis=1)[:, None] == np.arange(self.num_logits)
        return np.concatenate([of & right, of], axis=1).astype(np.float64)

    def score(self, sums: Floats) -> Floats:
        """Give the balanced accuracy from chance, 0, to perfection, 1."""
        return balanced_accuracy(sums, above_chance=True)

    def worth(self, totals: Floats) -> Worth:
        """Give the share of each class that is recognised, and the plain accuracies."""
        each = {
            name: estimate(totals[:, [place, place + self.num_logits]], recall, unit="share")
            for place, name in enumerate(self.classes)
            if totals[:, place + self.num_logits].any()
        }
        further = {
            "balanced accuracy": estimate(totals, balanced_accuracy, unit="share"),
            "accuracy": estimate(totals, accuracy, unit="share"),
        }
        return Worth(each=each, further=further)

    @property
    def decides(self) -> str:
        """The column, and its classes."""
        return f"{self.columns[0]}, {len(self.classes)} classes"

    @property
    def said(self) -> str:
        """What it is, and whether classes are weighted."""
        weighted = f"{min(self.weights):.2g} to {max(self.weights):.2g}" if self.weights else ""
        unbalanced = f"; classes are unbalanced, so they are weighted in the loss, {weighted}" if self.weights else ""
        return f"multiclass: {self.columns[0]}, classes {listed(self.classes)}{unbalanced}"


def classes_of(pack: Pack, column: str) -> tuple[str, ...]:
    """Name the classes of a column of a pack: its own, or the whole numbers that it holds.

    Raises:
        InputError: for numbers that are not whole, or too many different ones.

    """
    if column in pack.classes:
        return pack.classes[column]
    numbers = np.unique(pack.table.column(column).drop_null().to_numpy())
    whole = np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()
    if not whole or len(numbers) > MOST:
        odd = f"{len(numbers)} different numbers" if whole else "numbers that are not whole"
        raise InputError(f"{pack.path}: {column} holds {odd}, so they are no classes; give regression:{column}")
    return tuple(f"{number:.0f}" for number in numbers)


def _places(part: Part, column: str) -> NDArray[np.int64]:
    """Give the class of every image as its place in `classes_of`."""
    values = part.values(column)
    if column in part.pack.classes:
        return values.astype(np.int64)
    names = np.array(classes_of(part.pack, column), dtype=np.float64)
    return np.searchsorted(names, values.astype(np.float64)).astype(np.int64)
