"""Gaussian noise on features of bounded power, the plain defence that every other must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from oneway.config import NotNegative, checked
from oneway.models.noise import Noisy
from oneway.protection.defences.defence import Defence


@checked
@dataclass(frozen=True, kw_only=True)
class Noise(Defence):
    """Normalise features within the picture and add Gaussian noise, in use as in training; see `models.noise`.

    He, Zhang and Lee, "Model inversion attacks against collaborative inference", ACSAC 2019, add noise to features;
    without normalisation an encoder that is trained through the noise scales them up until it is small.

    Attributes:
        deviation: of the noise, where features have mean square 1.

    """

    name: Literal["noise"] = "noise"
    strength: ClassVar[str] = "deviation"
    strengths: ClassVar[tuple[float, ...]] = (1.0, 2.0, 4.0)
    deviation: NotNegative = 2.0

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Make the features noisy."""
        return Noisy(encoder, self.deviation)
