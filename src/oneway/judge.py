"""The judge: scores reconstructions of the test people, with the same eyes for every attack, floor and control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.batches import to_pictures
from oneway.data.packed import Part, Test, Validation
from oneway.metrics import identity, image
from oneway.metrics.estimate import Estimate, by_person, estimate, mean
from oneway.models.verifier import Verifier

FALSE_ACCEPT_RATE = 1e-3
UNITS = {"face_similarity": "cosine", "recognised": "share", "ssim": "SSIM", "psnr": "dB", "mse": "MSE"}
"""Every score of a reconstruction, with its unit; the first two need a verifier."""


class Judge:
    """Compares reconstructions with the pictures they are of.

    Args:
        test: the people to be scored on.
        validation: other people, on whom the verifier's threshold is set.
        verifier: compares faces; without one there are no identity scores.

    Attributes:
        threshold: the similarity above which the verifier takes two pictures for one person; none where the
            validation people are too few to find it, and then nothing is counted as recognised.

    """

    def __init__(self, test: Test, validation: Validation, verifier: Verifier | None) -> None:
        self.test, self.verifier = test, verifier
        self.threshold: float | None = None
        if verifier is not None:
            self._known = _features(verifier, test)
            self.threshold = identity.threshold(
                _features(verifier, validation), validation.identities, false_accept_rate=FALSE_ACCEPT_RATE
            )

    def score(self, reconstructions: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Estimate]:
        """Score an attack over the test people.

        Args:
            reconstructions: batches in the order of the test pictures, each the reconstructions and the originals,
                (n, 3, size, size) in 0..1.

        """
        found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in UNITS}
        done = 0
        for reconstructed, pictures in reconstructions:
            error = image.mse(reconstructed, pictures)
            found["mse"].append(error)
            found["psnr"].append(image.psnr(error))
            found["ssim"].append(image.ssim(reconstructed, pictures))
            if self.verifier is not None:
                known = self._known[done : done + len(pictures)]
                similarity = identity.similarity(self.verifier(reconstructed), known)
                found["face_similarity"].append(similarity)
                if self.threshold is not None:
                    found["recognised"].append((similarity > self.threshold).astype(np.float64))
            done += len(pictures)
        return {
            name: mean(np.concatenate(values), self.test.identities, unit=UNITS[name])
            for name, values in found.items()
            if values
        }

    def about_verifier(self) -> dict[str, Any] | None:
        """Say how good the verifier itself is on the real test pictures, which bounds what its scores can show."""
        if self.verifier is None:
            return None
        people = self.test.identities
        same = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
        about = {"name": self.verifier.name, "false_accept_rate": FALSE_ACCEPT_RATE, "threshold": self.threshold}
        if self.threshold is None or not same.any():
            return about | {"true_accept_rate": None}
        accepted = same & (self._known @ self._known.T > self.threshold)
        totals = by_person(np.stack([accepted.sum(axis=1), same.sum(axis=1)], axis=1), people)
        rate = estimate(totals, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1), unit="share")
        return about | {"true_accept_rate": rate.to_dict()}


def _features(verifier: Verifier, part: Part) -> NDArray[np.float32]:
    """Give the verifier's features of every picture of a part: (n, d)."""
    starts = range(0, len(part), 256)
    return np.concatenate([verifier(to_pictures(part.images(slice(start, start + 256)))) for start in starts])
