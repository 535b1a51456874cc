"""The judge: scores reconstructions of the test people, with the same eyes for every attack, floor and control."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.batches import mean_picture
from oneway.data.finite import check_finite
from oneway.data.packed import Part, Public, Test, Validation
from oneway.errors import InputError
from oneway.judges.blindness import Changed, blind, look_at_changed
from oneway.judges.cache import known_features
from oneway.judges.vectors import named, vectors_of
from oneway.judges.verifier import Verifier, of_pictures
from oneway.metrics import identity
from oneway.metrics.estimate import Estimate, by_person, mean, share
from oneway.metrics.image import affine
from oneway.metrics.registry import metrics, of_reconstructions
from oneway.models.perceptual import Distance
from oneway.report.asked import Named
from oneway.report.judging import JudgeReport, Similarity

FALSE_ACCEPT_RATE = 1e-3
INDEPENDENT = " independent"
"""After the name of a score: by attackers who did not train with the judge, where others did."""
BY = " by "
"""Before a judge's name in that of its scores, unless it is the first."""
Scores = dict[str, NDArray[Any]]
Batched = Iterable[tuple[Tensor, Tensor]]


class Judge:
    """Compares reconstructions with the pictures they are of.

    Args:
        test: the people to be scored on.
        validation: other people, on whom the verifier's threshold is set.
        verifier: compares faces; without one there are no identity scores.
        progress: show a bar while it looks at real pictures for the first time.
        first: whether it is the only judge, or the first of several.
        trained_with: whether attackers train with it, so that what it sees of these is an upper bound.
        alone: whether there is no other.
        distance: of pictures in a perceptual network; without one there is no perceptual distance.

    Attributes:
        threshold: the similarity above which the verifier takes two pictures for one person; none where the
            validation people are too few to find it, and then nothing is counted as recognised.

    Raises:
        InputError: if the verifier's features say nothing whoever is shown: not finite, all zero, or always the same.

    """

    def __init__(
        self,
        test: Test,
        validation: Validation,
        verifier: Verifier | None,
        *,
        progress: bool = False,
        first: bool = True,
        trained_with: bool = False,
        alone: bool = True,
        distance: Distance | None = None,
    ) -> None:
        self.test, self.validation, self.verifier, self._progress = test, validation, verifier, progress
        self.first, self.trained_with, self.alone = first, trained_with, alone
        self.distance = distance
        self.threshold: float | None = None
        self._known: dict[str, NDArray[np.float32]] = {}
        if verifier is not None:
            self.threshold = self.threshold_at(FALSE_ACCEPT_RATE)

    @property
    def name(self) -> str:
        """Its verifier's name, for people; empty without one."""
        return "" if self.verifier is None else self.verifier.name

    @property
    def of_pictures(self) -> bool:
        """Whether it tells pictures apart, whatever they show, instead of people."""
        return of_pictures(self.verifier)

    def threshold_at(self, false_accept_rate: float) -> float | None:
        """Give the similarity that so large a share of pairs of validation people exceeds; none if they are too few."""
        known = self.known(self.validation)
        return identity.threshold(known, self.validation.identities, false_accept_rate=false_accept_rate)

    def key(self, name: str) -> str:
        """Name a score of this judge's among those of several."""
        return name if self.first or self.verifier is None else f"{name}{BY}{self.verifier.name}"

    @property
    def counted(self) -> str:
        """Name the face similarities that count: of who did not train with it, unless there is no other judge."""
        return self.key("picture_similarity") + (INDEPENDENT if self.trained_with and not self.alone else "")

    def known(self, part: Public | Validation | Test) -> NDArray[np.float32]:
        """Give the verifier's features of the real pictures of a part: (n, d)."""
        assert self.verifier is not None
        if part.split not in self._known:
            features = known_features(self.verifier, part, progress=self._progress)
            _check(features, part, self.verifier)
            self._known[part.split] = features
        return self._known[part.split]

    @cached_property
    def mean_picture(self) -> Tensor:
        """The mean of the public pictures, what an attacker draws who knows nothing else: (1, 3, size, size)."""
        return mean_picture(self.test.pack.public, torch.device("cpu"))

    def of_mean_picture(self, part: Validation | Test) -> NDArray[np.float32]:
        """Give the verifier's features of the mean face, seen as reconstructions are: at the points of each picture.

        Returns:
            (n, d), a vector for each picture of the part.

        """
        assert self.verifier is not None
        places = part.landmarks(slice(None))
        if places is None or (places == places[:1]).all():
            vector = vectors_of(self.verifier, self.mean_picture, None if places is None else places[:1])
            return np.broadcast_to(vector, (len(part), vector.shape[1]))
        batches = [
            vectors_of(self.verifier, self.mean_picture.expand(len(places[index]), -1, -1, -1), places[index])
            for index in in_batches(part)
        ]
        return np.concatenate(batches)

    def measure(
        self,
        reconstructions: Batched,
        part: Validation | Test,
        names: Collection[str] | None = None,
        *,
        index: NDArray[np.int64] | None = None,
        vectors: NDArray[np.float32] | None = None,
    ) -> Scores:
        """Score every picture of a part: (n,) for each name, without the reduction over people.

        Args:
            reconstructions: batches in the order of the part's pictures, each the reconstructions and the originals,
                (n, 3, size, size) in 0..1.
            part: whose pictures they are.
            names: the scores wanted, of `metrics.registry`; all by default. `vectors` are the verifier's features of
                the reconstructions, (n, d).
            index: which of the part's pictures they are; all by default.
            vectors: the verifier's features of the reconstructions, (n, d), where they are known: an attacker who
                shows real pictures, or one picture always, need not be looked at again.

        """
        names = tuple(of_reconstructions()) if names is None else names
        measured: list[Scores] = []
        done = 0
        for reconstructed, pictures in reconstructions:
            rows = np.arange(done, done + len(pictures)) if index is None else index[done : done + len(pictures)]
            seen = None if vectors is None else vectors[done : done + len(pictures)]
            measured.append(self.measure_batch(reconstructed, pictures, part, rows, names, seen))
            done += len(pictures)
        return joined(measured)

    def measure_batch(
        self,
        reconstructed: Tensor,
        pictures: Tensor,
        part: Validation | Test,
        rows: NDArray[np.int64],
        names: Collection[str],
        seen: NDArray[np.float32] | None = None,
    ) -> Scores:
        """Score a batch of pictures, those at `rows` of a part; `seen` are their features, where these are known."""
        asked = {name: metric for name, metric in of_reconstructions().items() if name in names}
        corrects = any(metric.corrected for metric in asked.values())
        corrected = affine(reconstructed, pictures) if corrects else reconstructed
        scores: Scores = {
            name: metric.measure(corrected if metric.corrected else reconstructed, pictures)
            for name, metric in asked.items()
            if metric.measure is not None
        }
        if self.distance is not None and "perceptual_distance" in names:
            scores["perceptual_distance"] = self.distance(reconstructed, pictures).double().cpu().numpy()
        if self.verifier is not None:
            vectors = vectors_of(self.verifier, reconstructed, part.landmarks(rows)) if seen is None else seen
            check_finite(vectors, part, f"the features of {named(self.verifier)} of reconstructions", rows)
            similarity = identity.similarity(vectors, self.known(part)[rows])
            scores |= {"vectors": vectors, "picture_similarity": similarity}
            if self.of_pictures:
                scores["found_first"] = identity.found_first(vectors, self.known(part), rows)
            if self.threshold is not None:
                scores["recognised"] = (similarity > self.threshold).astype(np.float64)
        return {name: scores[name] for name in names if name in scores}

    def estimates(self, scores: Scores, index: NDArray[np.int64] | None = None) -> dict[str, Estimate]:
        """Reduce scores of the test pictures, or of those at `index`, over the people in them."""
        people = self.test.identities if index is None else self.test.identities[index]
        known = metrics()
        return {name: mean(values, people, unit=known[name].unit) for name, values in scores.items() if name in known}

    @cached_property
    def report(self) -> JudgeReport | None:
        """How good the verifier itself is on the real test pictures, which bounds what its scores can show."""
        if self.verifier is None:
            return None
        known = self.known(self.test)
        pairs = identity.pairs_of_people(known, self.test.identities)
        same = float(self.changed.similarity.mean()) if self.of_pictures else pairs.same
        mean_picture = float(identity.similarity(self.of_mean_picture(self.test), known).mean())
        similarity = Similarity(same=same, different=pairs.different, mean_picture=mean_picture)
        rate = self.true_accept_rate(self.threshold)
        first = self._of_changed(self.changed.first) if self.of_pictures else None
        return JudgeReport(
            name=self.verifier.name,
            fingerprint=self.verifier.fingerprint,
            of_pictures=self.of_pictures,
            found_first=first,
            false_accept_rate=FALSE_ACCEPT_RATE,
            threshold=self.threshold,
            true_accept_rate=rate,
            similarity=similarity,
            blind=blind(rate, similarity, first, FALSE_ACCEPT_RATE),
        )

    def true_accept_rate(self, at: float | None) -> Estimate | None:
        """Estimate the share of real pairs above a similarity: of one test person; nothing, if nobody appears twice.

        Of a judge of pictures it is of pairs of a picture and the same changed slightly.
        """
        if self.of_pictures:
            return None if at is None else self._of_changed(self.changed.similarity > at)
        people = self.test.identities
        if at is None or self.test.num_people == len(people):
            return None
        pairs = identity.pairs_of_people(self.known(self.test), people, [at])
        totals = by_person(np.stack([pairs.accepted[0], pairs.pairs], axis=1), people)
        return share(totals[totals[:, 1] > 0])

    @cached_property
    def changed(self) -> Changed:
        """What it says of test pictures that are changed slightly."""
        assert self.verifier is not None
        return look_at_changed(self.verifier, self.test, self.known(self.test))

    def _of_changed(self, values: NDArray[Any]) -> Estimate:
        return mean(values.astype(np.float64), self.test.identities[self.changed.rows], unit="share")

    @property
    def told_apart(self) -> str:
        """What it is to tell."""
        return "pictures apart" if self.of_pictures else "who is shown"

    @property
    def blind(self) -> str | None:
        """Why the verifier cannot tell who is shown; nothing where it can, or there is none, or it cannot be said."""
        return None if self.report is None else self.report.blind


def identified(verifier: Verifier | None) -> Named:
    """Say which verifier it is."""
    if verifier is None:
        return Named(name=None, fingerprint=None)
    return Named(name=verifier.name, fingerprint=verifier.fingerprint)


def _check(features: NDArray[np.float32], part: Part, verifier: Verifier) -> None:
    """Refuse a verifier that says nothing, whoever is shown."""
    name = f"{named(verifier)} on the {part.split} pictures of {part.pack.path}"
    zero = ~features.any(axis=1)
    if zero.any():
        wrong = part.names[int(np.flatnonzero(zero)[0])]
        raise InputError(
            f"{name}: its features of {wrong!r} are all zero; judge with another verifier, or state how it takes "
            "pictures (docs/judges.md)"
        )
    if len(features) > 1 and np.allclose(features, features[:1], atol=1e-6):
        raise InputError(
            f"{name}: it gives the same features for all of them, so it can judge nobody; judge with another, or state "
            "how it takes pictures (docs/judges.md)"
        )


def joined(batches: Sequence[Scores]) -> Scores:
    """Put the scores of batches together."""
    return {name: np.concatenate([scores[name] for scores in batches]) for name in batches[0]}


def in_batches(part: Part) -> Iterable[slice]:
    """Divide a part into slices of at most 256 pictures."""
    for start in range(0, len(part), 256):
        yield slice(start, start + 256)
