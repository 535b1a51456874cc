"""The judge: scores reconstructions of the test people, with the same eyes for every attack, floor and control."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.finite import check_finite
from oneway.data.packed import Part, Public, Test, Validation
from oneway.metrics import identity, image
from oneway.metrics.estimate import Estimate, by_person, estimate, mean
from oneway.models.known import known_features
from oneway.models.verifier import Verifier

FALSE_ACCEPT_RATE = 1e-3
UNITS = {
    "face_similarity": "cosine",
    "recognised": "share",
    "ssim": "SSIM",
    "psnr": "dB",
    "mse": "MSE",
    "ssim_affine": "SSIM",
    "psnr_affine": "dB",
}
"""Every score of a reconstruction, with its unit; the first two need a verifier."""
Scores = dict[str, NDArray[Any]]
Batched = Iterable[tuple[Tensor, Tensor]]


class Judge:
    """Compares reconstructions with the pictures they are of.

    Args:
        test: the people to be scored on.
        validation: other people, on whom the verifier's threshold is set.
        verifier: compares faces; without one there are no identity scores.
        progress: show a bar while it looks at real pictures for the first time.

    Attributes:
        threshold: the similarity above which the verifier takes two pictures for one person; none where the
            validation people are too few to find it, and then nothing is counted as recognised.

    """

    def __init__(
        self, test: Test, validation: Validation, verifier: Verifier | None, *, progress: bool = False
    ) -> None:
        self.test, self.verifier, self._progress = test, verifier, progress
        self.threshold: float | None = None
        self._known: dict[str, NDArray[np.float32]] = {}
        if verifier is not None:
            self.threshold = identity.threshold(
                self.known(validation), validation.identities, false_accept_rate=FALSE_ACCEPT_RATE
            )

    def known(self, part: Public | Validation | Test) -> NDArray[np.float32]:
        """Give the verifier's features of the real pictures of a part: (n, d)."""
        assert self.verifier is not None
        if part.split not in self._known:
            self._known[part.split] = known_features(self.verifier, part, progress=self._progress)
        return self._known[part.split]

    def measure(
        self,
        reconstructions: Batched,
        part: Validation | Test,
        names: Collection[str] = tuple(UNITS),
        *,
        index: NDArray[np.int64] | None = None,
        vectors: NDArray[np.float32] | None = None,
    ) -> Scores:
        """Score every picture of a part: (n,) for each name, without the reduction over people.

        Args:
            reconstructions: batches in the order of the part's pictures, each the reconstructions and the originals,
                (n, 3, size, size) in 0..1.
            part: whose pictures they are.
            names: the scores wanted, of those in `UNITS`; `vectors` are the verifier's features of the
                reconstructions, (n, d).
            index: which of the part's pictures they are; all by default.
            vectors: the verifier's features of the reconstructions, (n, d), where they are known: an attacker who
                shows real pictures, or one picture always, need not be looked at again.

        """
        measured: list[Scores] = []
        done = 0
        for reconstructed, pictures in reconstructions:
            rows = np.arange(done, done + len(pictures)) if index is None else index[done : done + len(pictures)]
            seen = None if vectors is None else vectors[done : done + len(pictures)]
            measured.append(self._measure(reconstructed, pictures, part, rows, names, seen))
            done += len(pictures)
        return {name: np.concatenate([scores[name] for scores in measured]) for name in measured[0]}

    def _measure(
        self,
        reconstructed: Tensor,
        pictures: Tensor,
        part: Validation | Test,
        rows: NDArray[np.int64],
        names: Collection[str],
        seen: NDArray[np.float32] | None,
    ) -> Scores:
        error = image.mse(reconstructed, pictures)
        scores: Scores = {"mse": error, "psnr": image.psnr(error)}
        if "ssim" in names:
            scores["ssim"] = image.ssim(reconstructed, pictures)
        if "ssim_affine" in names or "psnr_affine" in names:
            corrected = image.affine(reconstructed, pictures)
            scores["psnr_affine"] = image.psnr(image.mse(corrected, pictures))
            scores["ssim_affine"] = image.ssim(corrected, pictures)
        if self.verifier is not None:
            vectors = self.verifier(reconstructed) if seen is None else seen
            check_finite(vectors, part, f"the features of the verifier {self.verifier.name} of reconstructions", rows)
            similarity = identity.similarity(vectors, self.known(part)[rows])
            scores |= {"vectors": vectors, "face_similarity": similarity}
            if self.threshold is not None:
                scores["recognised"] = (similarity > self.threshold).astype(np.float64)
        return {name: scores[name] for name in names if name in scores}

    def score(self, reconstructions: Batched) -> dict[str, Estimate]:
        """Score an attack over the test people; see `measure`."""
        return self.estimates(self.measure(reconstructions, self.test))

    def estimates(self, scores: Scores, index: NDArray[np.int64] | None = None) -> dict[str, Estimate]:
        """Reduce scores of the test pictures, or of those at `index`, over the people in them."""
        people = self.test.identities if index is None else self.test.identities[index]
        return {name: mean(values, people, unit=UNITS[name]) for name, values in scores.items() if name in UNITS}

    def about_verifier(self) -> dict[str, Any] | None:
        """Say how good the verifier itself is on the real test pictures, which bounds what its scores can show."""
        if self.verifier is None:
            return None
        people, known = self.test.identities, self.known(self.test)
        same = (people[:, None] == people[None, :]) & ~np.eye(len(people), dtype=bool)
        about = {"name": self.verifier.name, "false_accept_rate": FALSE_ACCEPT_RATE, "threshold": self.threshold}
        if self.threshold is None or not same.any():
            return about | {"true_accept_rate": None}
        accepted = same & (known @ known.T > self.threshold)
        totals = by_person(np.stack([accepted.sum(axis=1), same.sum(axis=1)], axis=1), people)
        rate = estimate(totals, lambda sums: sums[:, 0] / np.maximum(sums[:, 1], 1), unit="share")
        return about | {"true_accept_rate": rate.to_dict()}


def in_batches(part: Part) -> Iterable[slice]:
    """Divide a part into slices of at most 256 pictures."""
    for start in range(0, len(part), 256):
        yield slice(start, start + 256)
