"""NoPeek: features that have little distance correlation with their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from oneway import losses
from oneway.config import NotNegative, checked
from oneway.protection.defences.defence import Defence


@checked
@dataclass(frozen=True, kw_only=True)
class NoPeek(Defence):
    """Minimise the distance correlation of pictures and features (Vepakomma et al., ICDM Workshops 2020).

    Nothing is added to the features, so what is left of the picture can be read, however weakly it correlates.

    Attributes:
        weight: of the distance correlation, which is in 0..1, beside utility.

    """

    name: Literal["nopeek"] = "nopeek"
    strengths: ClassVar[tuple[float, ...]] = (0.3, 1.0, 3.0)
    weight: NotNegative = 1.0

    def penalty(self, encoder: nn.Module, pictures: Tensor, features: Tensor) -> Tensor | None:
        """Give the weighted distance correlation of the batch."""
        return self.weight * losses.distance_correlation(pictures, features)
