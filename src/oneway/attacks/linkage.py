"""The linkage attack: stolen features are compared with the encoder's features of photographs, to find who it is.

Each way maps the features of any part to unit vectors, whose cosine tells how likely two pictures show one person.
What it learns, it learns from public people, whose identities are known.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from oneway.attacks.access import Access
from oneway.data.packed import Part, Public
from oneway.models.scale import Standardise

Vectors = NDArray[np.float32]
COMPONENTS = 512
"""Principal components that discriminant analysis is given at most."""
DIMENSIONS = 128
"""Dimensions it keeps at most."""
SHRINKAGE = 0.1
"""Of the covariance within people, towards a multiple of the identity."""
PICTURES = 8192
"""Public pictures that it is given at most."""
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


class Discriminant:
    """Compare features after linear discriminant analysis of public people (scikit-learn)."""

    def __init__(self, access: Access, cosine: Cosine, public: Public, *, seed: int) -> None:
        self._cosine = cosine
        generator = np.random.default_rng(seed)
        # Mirrored pictures show the same person, so they are further shots of him.
        shots = len(public) * (2 if access.mirrors else 1)
        chosen = np.sort(generator.permutation(shots)[:PICTURES])
        rows, mirrored = chosen % len(public), chosen >= len(public)
        flat = torch.cat(cosine.flat(public, rows, mirrored)).cpu().numpy()
        people = public.identities[rows]
        components = min(COMPONENTS, *(side - 1 for side in flat.shape))
        self._pca = PCA(components, svd_solver="randomized", iterated_power=2, random_state=seed)
        reduced = self._pca.fit_transform(flat)
        dimensions = min(DIMENSIONS, components, len(np.unique(people)) - 1)
        self._lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE, n_components=dimensions)
        self._lda.fit(reduced, people)

    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        given = [
            self._lda.transform(self._pca.transform(flat.cpu().numpy()))
            for flat in self._cosine.flat(part, np.arange(len(part)))
        ]
        return normalise(np.concatenate(given))


def normalise(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows (n, d) to length 1; a row of zeros stays."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
