"""What an inversion attacker has at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from oneway.attacks.access import Access
from oneway.attacks.fit import Place
from oneway.attacks.pairs import Pairs
from oneway.data.packed import Public, Validation
from oneway.judges.surrogate import Surrogate
from oneway.models.decoder import Stage
from oneway.models.generator import Generator
from oneway.models.perceptual import Perceptual


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an inversion attacker has at hand.

    Attributes:
        access: the victim: the features of public pictures, and of validation people's to choose by.
        fitted_on: the same for the public pictures, or averages of several answers where the encoder adds noise.
        public: the attacker's pictures.
        validation: other people, on whom it is chosen when to stop and which weights are kept.
        place: where it runs and where its state is kept.
        stages: the encoder's resolutions, for a decoder that mirrors it; none if they are unknown.
        seed: of the initial weights and of the order of the pictures.
        steps: the most that it may be trained for; none for its own budget.
        perceptual: a network to see with, if one was given.
        generator: of pictures such as the pack's, if one was given.
        surrogates: face verifiers to train with, if there are any.
        start: a decoder of features of this shape that was trained for pixels, to go on from, if there is one.
        noisy: whether the encoder answers differently each time.
        rows: the public pictures whose features it has, (n,); all by default.
        name: of the attack, for the bar and for errors.

    """

    access: Access
    fitted_on: Access
    public: Public
    validation: Validation
    place: Place
    stages: list[Stage] | None
    seed: int
    steps: int | None = None
    perceptual: Perceptual | None = None
    generator: Generator | None = None
    surrogates: tuple[Surrogate, ...] = ()
    start: nn.Module | None = None
    noisy: bool = False
    rows: NDArray[np.int64] | None = None
    name: str = "attack"

    @property
    def pairs(self) -> Pairs:
        """What a solved attacker learns from."""
        return Pairs(
            access=self.access,
            fitted_on=self.fitted_on,
            public=self.public,
            rows=self.rows,
            mirrors=self.rows is None,
            noisy=self.noisy,
            seed=self.seed,
        )
