"""The linkage attack: stolen features are compared with the encoder's features of photographs, to find who it is.

Each way maps the features of any part to unit vectors, whose cosine tells how likely two pictures show one person.
What it learns, it learns from public people, whose identities are known.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from oneway.attacks.access import Access
from oneway.data.packed import Part, Public
from oneway.models.scale import Standardise

Vectors = NDArray[np.float32]
COMPONENTS = 512
"""Principal components taken at most."""
EXACT = 1024
"""Numbers in a picture's features up to which components are computed exactly; of more, approximately."""
KEPT = (8, 16, 32, 128, COMPONENTS)
"""Numbers of them that are tried; validation people choose."""
DIMENSIONS = 128
"""Dimensions that discriminant analysis keeps at most."""
SHRINKAGE = 0.1
"""Of the covariance within people, towards a multiple of the identity."""
PICTURES = 8192
"""Public pictures that it and the components are given at most."""
SAMPLE = 1024
"""Public pictures that tell the scale and the mean of the features."""


class Cosine:
    """Compare features as they are: each channel standardised, the mean of public pictures taken off."""

    def __init__(self, access: Access, public: Public) -> None:
        self._access = access
        self._standardise = Standardise(access.shape).to(access.device)
        features = access.features(public, np.arange(0, len(public), -(-len(public) // SAMPLE)))
        self._standardise.observe(features)
        self._mean = self._standardise(features).flatten(1).mean(dim=0)

    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        return torch.cat([F.normalize(flat, dim=1) for flat in self.flat(part, np.arange(len(part)))]).cpu().numpy()

    def flat(self, part: Part, rows: NDArray[np.int64], mirrored: NDArray[np.bool_] | None = None) -> list[Tensor]:
        """Give the standardised features of pictures of a part, in batches (k, d)."""
        batches = np.array_split(np.arange(len(rows)), -(-len(rows) // 256))
        return [
            self._standardise(
                self._access.features(part, rows[batch], None if mirrored is None else mirrored[batch])
            ).flatten(1)
            - self._mean
            for batch in batches
        ]


class Components:
    """Compare features by their first principal components, each scaled to deviation 1, after those of public pictures.

    So no number outshouts the others: the larger components of a face's features are often not what tells people apart.
    Few components serve against an encoder that adds noise, which hides the smaller ones.
    """

    def __init__(self, access: Access, cosine: Cosine, public: Public, *, seed: int) -> None:
        self._cosine = cosine
        self._known: dict[str, NDArray[np.float32]] = {}
        generator = np.random.default_rng(seed)
        # Mirrored pictures show the same person, so they are further shots of him.
        shots = len(public) * (2 if access.mirrors else 1)
        chosen = np.sort(generator.permutation(shots)[:PICTURES])
        rows, mirrored = chosen % len(public), chosen >= len(public)
        flat = torch.cat(cosine.flat(public, rows, mirrored)).cpu().numpy()
        few = flat.shape[1] <= EXACT
        if few:  # some hold a billionth of the largest's variance, which only this solver and precision find
            flat = flat.astype(np.float64)
        self.number = min(COMPONENTS, len(flat) - 1, flat.shape[1])
        solver = "covariance_eigh" if few else "randomized"
        self._pca = PCA(self.number, whiten=True, svd_solver=solver, iterated_power=2, random_state=seed)
        self.public, self.people = self._pca.fit_transform(flat), public.identities[rows]

    def __call__(self, part: Part) -> NDArray[np.float32]:
        """Give the scaled components of every picture of a part: (n, number)."""
        if part.split not in self._known:
            parts = self._cosine.flat(part, np.arange(len(part)))
            known = np.concatenate([self._pca.transform(flat.cpu().numpy()) for flat in parts])
            self._known[part.split] = known.astype(np.float32)
        return self._known[part.split]

    def first(self, kept: int, part: Part) -> Vectors:
        """Give the direction of the first `kept` of them as unit vectors: (n, kept)."""
        return normalise(self(part)[:, :kept])


class Discriminant:
    """Compare components after linear discriminant analysis of public people (scikit-learn).

    Args:
        components: of the features.
        kept: the first of them that it is given.

    """

    def __init__(self, components: Components, kept: int) -> None:
        dimensions = min(DIMENSIONS, kept, len(np.unique(components.people)) - 1)
        self._components, self._kept = components, kept
        self._lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE, n_components=dimensions)
        # Scikit-learn would check its arguments anew for every person, which takes longer than the analysis itself.
        with config_context(assume_finite=True, skip_parameter_validation=True), warnings.catch_warnings():
            # Some people have one picture here, which tells nothing within a person.
            warnings.filterwarnings("ignore", message="Only one sample available")
            self._lda.fit(components.public[:, :kept], components.people)

    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        return normalise(self._lda.transform(self._components(part)[:, : self._kept]))


def normalise(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows (n, d) to length 1; a row of zeros stays."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
