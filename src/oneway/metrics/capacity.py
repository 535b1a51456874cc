"""How much features in Gaussian noise can say about the picture: an upper bound on mutual information, in bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from oneway.metrics.estimate import Floats

SHRINKAGES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Shares of the spread that a `Guess` may take to be alike in all directions."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A Gaussian guess at how features lie before their noise, from features of other people.

    Attributes:
        mean: (d,).
        axes: (r, d), unit vectors along which they spread.
        spread: (r,), the variance along each.

    """

    mean: Tensor
    axes: Tensor
    spread: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Guess:
        """Make the guess of features (n, d): their mean and their covariance."""
        mean = features.double().mean(dim=0)
        centred = features.double() - mean
        few = len(centred) < centred.shape[1]
        square = (centred @ centred.T if few else centred.T @ centred) / len(centred)
        spread, vectors = torch.linalg.eigh(square)
        kept = spread > 1e-9 * spread.max().clamp(min=1e-30)
        axes = vectors.T[kept]
        if few:
            axes = axes @ centred / (len(centred) * spread[kept]).sqrt()[:, None]
        return cls(mean=mean, axes=axes, spread=spread[kept])

    def distances(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Give how far features (n, d) lie from the mean, squared: along each axis, (n, r), and beside all, (n,)."""
        apart = features.double() - self.mean
        along = (apart @ self.axes.T).square()
        return along, (apart.square().sum(dim=1) - along.sum(dim=1)).clamp(min=0)

    def most_bits(self, distances: tuple[Tensor, Tensor], noise: float, *, shrinkage: float) -> Floats:
        """Say what each picture adds to an upper bound on the bits that noisy features carry of it.

        What is sent of picture x is f(x) + N(0, noise**2), independent for each number. Its mutual information with
        the picture is at most the mean over pictures of the divergence of that distribution from any one that depends
        on no picture (Barber and Agakov 2003; the rate of Alemi et al. 2017; Poole et al. 2019, eq. 2), here a
        Gaussian of the guess's mean and covariance, plus the noise's. It holds for whoever reads the features,
        whatever they try and know beside them, as long as it is not the noise; averaged over pictures of other people
        than the guess was made of, its error is that of a mean. No guess makes it wrong: a bad one makes it large.

        Args:
            distances: of the features without the noise, see `distances`.
            noise: the noise's standard deviation, above 0. The average of k answers has a k-th of its variance.
            shrinkage: share of the guess's spread that is taken to be alike in all directions, 0..1.

        Returns:
            (n,) in bits, 0 or more.

        """
        assert noise > 0, noise
        parts, rest = distances
        number, variance = len(self.mean), noise**2
        beside = variance + shrinkage * float(self.spread.sum()) / number
        along = beside + (1 - shrinkage) * self.spread
        away = (parts / along).sum(dim=1) + rest / beside
        others = number - len(along)
        wider = float((along / variance).log().sum()) + others * math.log(beside / variance)
        narrower = float((variance / along).sum()) + others * variance / beside
        bits: Floats = ((away + wider + narrower - number) / (2 * math.log(2))).cpu().numpy()
        return bits


def power_bits(number: int, noise: float) -> float:
    """Give the most bits that get through `number` channels of mean power 1 in Gaussian noise, whatever is sent."""
    return number / 2 * math.log2(1 + 1 / noise**2)
