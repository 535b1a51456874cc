"""What a solved attacker learns from, and how it is solved: no optimiser can fail it, and no budget ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access
from oneway.data.packed import Public

Index = NDArray[np.int64]
Targets = Callable[[Index, NDArray[np.bool_]], Tensor]
"""Gives what is predicted of public pictures, (n, k): of which, and which of them mirrored."""
Error = Callable[[nn.Module], float]
"""Gives the error, on validation people, of a candidate, a map from features (n, *shape) to vectors (n, k)."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Public pictures and their features.

    Attributes:
        access: the victim.
        fitted_on: the same for the public pictures, or averages of several of its answers, where the encoder adds
            noise; for a solution that makes up for the noise of single answers itself.
        public: the attacker's pictures.
        rows: those of them whose features it has, (n,); all by default.
        mirrors: whether it has those of their mirror images too, where the victim gives them.
        noisy: whether the encoder answers differently each time.
        seed: of what is chosen at random.

    """

    access: Access
    fitted_on: Access
    public: Public
    rows: Index | None = None
    mirrors: bool = True
    noisy: bool = False
    seed: int = 0

    def chosen(self, most: int) -> Index:
        """Choose pictures at random, `most` at most: (n,), ascending."""
        rows = np.arange(len(self.public)) if self.rows is None else self.rows
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[:most])


Solved = TypeVar("Solved", bound=nn.Module)
Regress = Callable[[Pairs, Targets, Error], tuple[Solved, float]]
"""Solves a regression of targets on features, its penalty the best on validation people: the map and its error."""
