"""The linkage attack: stolen features are compared with the encoder's features of photographs, to find who it is.

Each way maps the one answer that was stolen of a picture, and what the encoder says of a photograph, to vectors whose
inner product tells how likely both show one person. Photographs are at hand: where the encoder adds noise, each is sent
several times and the answers are averaged. What a way learns, it learns from public people, whose identities are known.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks.access import Access
from oneway.data.packed import Part, Public
from oneway.metrics.estimate import by_person
from oneway.models.scale import Standardise

Vectors = NDArray[np.float32]
Numbers = NDArray[np.float64]
COMPONENTS = 512
"""Principal components taken at most."""
EXACT = 1024
"""Numbers in a picture's features up to which components are computed exactly; of more, approximately."""
KEPT = (8, 16, 32, 128, COMPONENTS)
"""Numbers of them that are tried; validation people choose."""
DIRECTIONS = 128
"""Canonical directions that a likelihood ratio is of at most."""
SURE = 0.95
"""The most that a canonical correlation is taken to be: few people overstate it."""
SHRINKAGE = 0.1
"""Of the covariance of components, towards a multiple of the identity."""
PICTURES = 8192
"""Public pictures that the components, and likelihood ratios, are learnt from at most."""
SAMPLE = 1024
"""Public pictures that tell the scale and the mean of the features."""


class Comparison(Protocol):
    """A way of comparing what was stolen with photographs."""

    def stolen(self, part: Part) -> Vectors:
        """Give a vector for what was stolen of every picture of a part: (n, d)."""
        ...

    def photographs(self, part: Part) -> Vectors:
        """Give a vector for every photograph of a part, (n, d): their inner product says how alike two are."""
        ...


class Cosine:
    """Compare features as they are: each channel standardised, the mean of public pictures taken off.

    Args:
        access: one answer for each picture.
        gallery: the best that can be had of a photograph: the same, or averages of several answers.
        public: whose features tell scale and mean.

    """

    def __init__(self, access: Access, gallery: Access, public: Public) -> None:
        self.access, self.gallery = access, gallery
        self._standardise = Standardise(access.shape).to(access.device)
        features = access.features(public, np.arange(0, len(public), -(-len(public) // SAMPLE)))
        self._standardise.observe(features)
        self._mean = self._standardise(features).flatten(1).mean(dim=0)

    def stolen(self, part: Part) -> Vectors:
        """Give a unit vector for what was stolen of every picture of a part: (n, d)."""
        return self._unit(self.access, part)

    def photographs(self, part: Part) -> Vectors:
        """Give a unit vector for every photograph of a part: (n, d)."""
        return self._unit(self.gallery, part)

    def flat(
        self, access: Access, part: Part, rows: NDArray[np.int64], mirrored: NDArray[np.bool_] | None = None
    ) -> list[Tensor]:
        """Give the standardised features of pictures of a part, in batches (k, d)."""
        batches = np.array_split(np.arange(len(rows)), -(-len(rows) // 256))
        return [
            self._standardise(
                access.features(part, rows[batch], None if mirrored is None else mirrored[batch])
            ).flatten(1)
            - self._mean
            for batch in batches
        ]

    def _unit(self, access: Access, part: Part) -> Vectors:
        flat = self.flat(access, part, np.arange(len(part)))
        return torch.cat([F.normalize(numbers, dim=1) for numbers in flat]).cpu().numpy()


class Components:
    """The first principal components of features, each scaled to deviation 1, after those of public pictures.

    So no number outshouts the others: the larger components of a face's features are often not what tells people apart.
    Few components serve against an encoder that adds noise, which hides the smaller ones.

    Attributes:
        number: of components.
        public: of public pictures' single answers, (m, number).
        known: of the same pictures as photographs, (m, number).
        people: whom they show, (m,).

    """

    def __init__(self, cosine: Cosine, public: Public, *, seed: int) -> None:
        from sklearn.decomposition import PCA  # its import takes more than a second

        self._cosine = cosine
        self._made: dict[tuple[bool, str], Vectors] = {}
        access, gallery = cosine.access, cosine.gallery
        generator = np.random.default_rng(seed)
        # Mirrored pictures show the same person, so they are further shots.
        shots = len(public) * (2 if access.mirrors else 1)
        chosen = np.sort(generator.permutation(shots)[:PICTURES])
        rows, mirrored = chosen % len(public), chosen >= len(public)
        flat = torch.cat(cosine.flat(access, public, rows, mirrored)).cpu().numpy()
        few = flat.shape[1] <= EXACT
        if few:  # some hold a billionth of the largest's variance, which only this solver and precision find
            flat = flat.astype(np.float64)
        self.number = min(COMPONENTS, len(flat) - 1, flat.shape[1])
        solver = "covariance_eigh" if few else "randomized"
        self._pca = PCA(self.number, whiten=True, svd_solver=solver, iterated_power=2, random_state=seed)
        self.public, self.people = self._pca.fit_transform(flat), public.identities[rows]
        self.known = self.public
        if gallery is not access:
            self.known = self._transform(cosine.flat(gallery, public, rows, mirrored))

    def of(self, part: Part, *, photographs: bool) -> Vectors:
        """Give the scaled components of every picture of a part, stolen or as a photograph: (n, number)."""
        photographs = photographs and self._cosine.gallery is not self._cosine.access
        if (photographs, part.split) not in self._made:
            access = self._cosine.gallery if photographs else self._cosine.access
            flat = self._cosine.flat(access, part, np.arange(len(part)))
            self._made[photographs, part.split] = self._transform(flat).astype(np.float32)
        return self._made[photographs, part.split]

    @property
    def tried(self) -> list[int]:
        """The numbers of first components that are tried."""
        return sorted({min(kept, self.number) for kept in KEPT})

    def _transform(self, flat: list[Tensor]) -> NDArray[np.floating]:
        return np.concatenate([self._pca.transform(numbers.cpu().numpy()) for numbers in flat])


class First:
    """Compare the direction of the first `kept` components."""

    def __init__(self, components: Components, kept: int) -> None:
        self._components, self._kept = components, kept

    def stolen(self, part: Part) -> Vectors:
        """Give unit vectors: (n, kept)."""
        return normalise(self._components.of(part, photographs=False)[:, : self._kept])

    def photographs(self, part: Part) -> Vectors:
        """Give unit vectors: (n, kept)."""
        return normalise(self._components.of(part, photographs=True)[:, : self._kept])


class LikelihoodRatio:
    """Compare by how much likelier components are of one person than of two, as far as they are Gaussian.

    This is probabilistic linear discriminant analysis (Prince and Elder 2007) as a model of two covariances, where the
    two sides may carry different noise: in canonical directions, where a stolen answer `a` and a photograph `c` of one
    person correlate by `r`, the logarithm of the ratio is, but for a constant, the sum over directions of
    (r a c - r^2 (a^2 + c^2) / 2) / (1 - r^2).

    Args:
        components: of the features.
        kept: the first of them that it is given.

    """

    def __init__(self, components: Components, kept: int) -> None:
        self._components, self._kept = components, kept
        stolen, known = components.public[:, :kept], components.known[:, :kept]
        self._means = stolen.mean(axis=0), known.mean(axis=0)
        stolen, known = stolen - self._means[0], known - self._means[1]
        shots = np.unique(components.people, return_counts=True)[1]
        sums = [by_person(numbers, components.people) for numbers in (stolen, known)]
        # Over all pairs of one person, a picture with itself among them: of few people that is the better estimate.
        between = sums[0].T @ sums[1] / np.square(shots).sum()
        whiten = _whitening(stolen), _whitening(known)
        left, correlations, right = np.linalg.svd(whiten[0].T @ between @ whiten[1])
        number = min(kept, DIRECTIONS)
        self._r = np.minimum(correlations[:number], SURE)
        self._directions = whiten[0] @ left[:, :number], whiten[1] @ right[:number].T

    def stolen(self, part: Part) -> Vectors:
        """Give vectors (n, d + 2), whose inner product with those of photographs is the logarithm of the ratio."""
        a, square = self._canonical(part, photographs=False)
        return np.hstack([a * self._r / (1 - self._r**2), square, np.ones_like(square)]).astype(np.float32)

    def photographs(self, part: Part) -> Vectors:
        """Give vectors (n, d + 2); see `stolen`."""
        c, square = self._canonical(part, photographs=True)
        return np.hstack([c, np.ones_like(square), square]).astype(np.float32)

    def _canonical(self, part: Part, *, photographs: bool) -> tuple[Numbers, Numbers]:
        """Give canonical directions (n, d), and what is of one side alone in the ratio (n, 1)."""
        numbers = self._components.of(part, photographs=photographs)[:, : self._kept] - self._means[photographs]
        canonical = numbers @ self._directions[photographs]
        return canonical, -(canonical**2) @ (self._r**2 / (1 - self._r**2))[:, None] / 2


def by_components(components: Components, public: Public, *, directions: bool = True) -> dict[str, Comparison]:
    """Give the ways of comparing components, of every number that is tried.

    Args:
        components: of both sides.
        public: likelihood ratios are learnt of people with several public pictures, where there are any.
        directions: whether the components of the two sides can be compared themselves.

    """
    ways: dict[str, Comparison] = {}
    for kept in components.tried:
        if directions:
            ways[f"{kept} components"] = First(components, kept)
        if public.num_people < len(public):
            ways[f"likelihood ratio of {kept}"] = LikelihoodRatio(components, kept)
    return ways


def _whitening(numbers: NDArray[np.floating]) -> Numbers:
    """Give the matrix (d, d) by which centred rows (n, d) become uncorrelated and of deviation 1."""
    covariance = numbers.T @ numbers / len(numbers)
    even = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    values, basis = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * even)
    whitening: Numbers = basis / np.sqrt(np.maximum(values, 1e-12))  # all are 0 of features that say nothing
    return whitening


def normalise(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows (n, d) to length 1; a row of zeros stays."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
