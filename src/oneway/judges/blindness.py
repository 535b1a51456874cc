"""Whether a judge sees: real pairs that it must accept, and slightly changed pictures that it must find again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.batches import load, spread
from oneway.data.packed import Test
from oneway.judges.vectors import vectors_of
from oneway.judges.verifier import Verifier
from oneway.metrics import identity
from oneway.metrics.estimate import Estimate
from oneway.report.judging import Similarity

LEAST_ACCEPTED = 0.1
"""Share of real pairs of one person that a judge must accept at that rate: by fewer it is taken for blind."""
LEAST_FOUND = 0.5
"""Share of slightly changed test pictures whose originals a judge of pictures must find first, or it is blind."""
CHANGED = 1000
"""Test pictures at most that are changed slightly."""
LEAST_APART = 0.5
"""Part of the way from strangers to pairs of one person that the mean face must stay below, or the judge is blind."""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Of test pictures at `rows`, changed slightly: how similar they are, and whether the original is found first."""

    rows: NDArray[np.int64]
    similarity: NDArray[np.float64]
    first: NDArray[np.float64]


def slightly_changed(pictures: Tensor) -> Tensor:
    """Shift pictures down and to the right by a sixteenth of their side, cut as much off all edges, brighten by 15 %.

    What is cut out is scaled to the size that it had. It stands for a second photograph of the same thing.

    Args:
        pictures: (n, 3, size, size) in 0..1.

    """
    size = pictures.shape[-1]
    by = max(1, round(size / 16))
    cut = pictures[..., : size - 2 * by, : size - 2 * by]  # what shifted pictures have inside their edges
    scaled = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
    return (1.15 * scaled).clamp(0, 1)


def look_at_changed(verifier: Verifier, test: Test, known: NDArray[np.float32]) -> Changed:
    """Let a judge look at some test pictures, changed slightly.

    Args:
        verifier: the judge.
        test: the pictures, of which at most `CHANGED` are taken, spread evenly.
        known: the judge's features of all of them, (n, d).

    """
    rows = spread(len(test), CHANGED)
    vectors = []
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        vectors.append(vectors_of(verifier, slightly_changed(load(test, part)), test.landmarks(part)))
    seen = np.concatenate(vectors)
    first = identity.found_first(seen, known, rows)
    return Changed(rows=rows, similarity=identity.similarity(seen, known[rows]), first=first)


def blind(
    rate: Estimate | None, similarity: Similarity, first: Estimate | None, false_accept_rate: float
) -> str | None:
    """Say why a verifier of these figures cannot tell who, or of pictures which picture, is shown."""
    if first is not None and first.low < LEAST_FOUND:
        return f"it finds the original first of {first} of slightly changed pictures, and must find {LEAST_FOUND:g}"
    if first is not None and rate is not None and rate.low < LEAST_ACCEPTED:
        return (
            f"it accepts {rate} of slightly changed pictures at a false accept rate of {false_accept_rate:g}, and must "
            f"accept {LEAST_ACCEPTED:g}"
        )
    if first is None and rate is not None and rate.low < LEAST_ACCEPTED:
        return (
            f"it accepts {rate} of real pairs of one person at a false accept rate of {false_accept_rate:g}, and must "
            f"accept {LEAST_ACCEPTED:g}"
        )
    same, different, mean_picture = similarity.same, similarity.different, similarity.mean_picture
    if same is not None and different is not None and mean_picture - different >= LEAST_APART * (same - different):
        if first is not None:
            return (
                f"it finds the mean picture {mean_picture:.3f} similar to a picture, where the same slightly changed "
                f"is {same:.3f} and another {different:.3f}"
            )
        return (
            f"it finds the mean face {mean_picture:.3f} similar to a person, where two pictures of one person are "
            f"{same:.3f} and of two people {different:.3f}"
        )
    return None
