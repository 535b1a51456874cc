"""What each attribute of a task gives away, as a record."""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import record
from oneway.metrics.estimate import Estimate


@record
@dataclass(frozen=True, kw_only=True)
class Price:
    """What one attribute does to what is given away.

    Attributes:
        name: the attribute's, or of what is decided together.
        share: of what all decisions give away beyond the floor.
        worth: the attribute's own utility, where an encoder decides it.

    """

    name: str
    share: Estimate
    worth: float | None = None


@record
@dataclass(frozen=True, kw_only=True)
class Prices:
    """What the attributes of a task give away of how a face verifier sees a person.

    Attributes:
        by: who decides them.
        judge: the verifier.
        similarity: of its features to what is predicted of them by all decisions.
        floor: the same by who knows nothing.
        without: the share that is saved if one attribute is left out, the largest first.
        alone: the share that one attribute gives away alone, the largest first.
        left_out: the share that is left when one after the other is left out, in this order.

    """

    by: str
    judge: str
    similarity: Estimate
    floor: Estimate
    without: list[Price]
    alone: list[Price]
    left_out: list[Price]
