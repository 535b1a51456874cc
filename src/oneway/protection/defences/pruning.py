"""Random pruning of channels, in use as in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from oneway.config import ShareBelowAll, checked
from oneway.protection.defences.defence import Defence
from oneway.protection.defences.dropout import Dropping


@checked
@dataclass(frozen=True, kw_only=True)
class Pruning(Defence):
    """Set whole channels to 0 at random, new for every picture.

    The random baseline of DISCO (Singh et al., CVPR 2021), which learns which channels to prune; that is not here.

    Attributes:
        rate: share of the channels that is pruned.

    """

    name: Literal["pruning"] = "pruning"
    strength: ClassVar[str] = "rate"
    strengths: ClassVar[tuple[float, ...]] = (0.5, 0.8, 0.95)
    rate: ShareBelowAll = 0.7

    def wrap(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        """Drop channels."""
        return Dropping(encoder, self.rate, channels=True)
