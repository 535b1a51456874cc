"""A source of people who can be told apart: each is a pattern of colours, each shot of one a little different."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneway.data.source import Source


@dataclass(frozen=True)
class Portraits:
    """Gives `shots` pictures of each person one after another; `noise` is how much they differ, in 0..1.

    `crowded` surrounds the person by greys that change from shot to shot.
    """

    shots: int
    noise: float
    crowded: bool = False

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        pattern = np.random.default_rng([index // self.shots, 0]).uniform(0.1, 0.9, (4, 4, 3))
        shot = np.random.default_rng([index, 1])
        colours = pattern + shot.normal(0, self.noise, (4, 4, 3))
        if self.crowded:
            person = pattern[:2, :1].repeat(2, axis=1)  # symmetric, as a face is
            colours = np.tile(shot.uniform(0.1, 0.9, (4, 4, 1)), 3)
            colours[1:3, 1:3] = person + shot.normal(0, self.noise, (2, 2, 3))
        pixels = np.clip(colours, 0, 1).repeat(size // 4, axis=0).repeat(size // 4, axis=1)
        return np.round(255 * pixels).astype(np.uint8)


def portrait_source(num_people: int, shots: int, *, noise: float = 0.1, crowded: bool = False) -> Source:
    """Return `shots` pictures of each of `num_people`; their one attribute says whether the first colour is bright."""
    reader = Portraits(shots, noise, crowded)
    people = [index // shots for index in range(num_people * shots)]
    return Source(
        layout="folder",
        names=tuple(f"person{person:05d}/{index:06d}" for index, person in enumerate(people)),
        attributes=("bright",),
        labels=np.array([[reader(index, 4)[0, 0, 0] > 127] for index in range(len(people))]),
        identities=tuple(f"person{person:05d}" for person in people),
        partition=None,
        landmarks=None,
        reader=reader,
    )
