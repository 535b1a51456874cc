"""Who draws pictures of what a bundle sends, as its contract says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from oneway.config import Count, checked


@checked
@dataclass(frozen=True, kw_only=True)
class Attacker:
    """A decoder that an attack trained from scratch, as attacker.onnx: what its thief would draw of the bytes.

    It takes `levels`, int8 (n, numbers), as server.onnx does, to `picture`, uint8 (n, size, size, 3). It learned from
    numbers that were not rounded, and a stronger attacker may exist: that of an audit, for one.

    Attributes:
        decoder: its kind.
        pictures: of other people, which it learned from.
        converged: whether it had stopped getting better; else its budget ended it.
        ssim: mean structural similarity of what it draws of test people to their pictures, -1..1.
        floor: the same of who always draws the mean picture.
        results: the sha256 of the attack's results.json.

    """

    decoder: str
    pictures: Count
    converged: bool
    ssim: Annotated[float, Field(ge=-1, le=1)]
    floor: Annotated[float, Field(ge=-1, le=1)]
    results: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
