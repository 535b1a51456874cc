"""Whether a bundle says what the trained encoder says: features, decisions and utility, on every test picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oneway.config import Count, NotNegative, Share, from_dict, record
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.values import Utility
from oneway.shipping.contract import AGAIN, PARITY
from oneway.storage.inputs import read_object

TOLERANCE: Final = 1e-3
"""Largest difference of a number before the noise, as a share of the root mean square of all numbers."""
EQUAL: Final = 0.999
"""Least share of decisions that are equal."""
NUMBER: Final = 0.01
"""Largest difference of a decided number, in deviations of what is decided, at which it counts as equal."""


@record
@dataclass(frozen=True, kw_only=True)
class Parity:
    """How near a bundle is to the encoder in torch, both with the same noise, on every test picture.

    Attributes:
        pictures: how many.
        features: largest difference of a number before the noise, in root mean squares of all numbers; at most 1e-3.
        unrounded: share of decisions that torch's classifier makes alike by the numbers of device.onnx and by
            torch's own, both noisy and not rounded; at least 0.999.
        sent: share of decisions that server.onnx makes by what device.onnx and the contract send as torch makes them
            by its own numbers, rounded alike; at least 0.999.
        rounding: share of decisions of the bundle that are those of torch without any rounding: what the levels cost.
        torch: the utility of torch, nothing rounded.
        bundle: that of the bundle's answers to what is sent; the two intervals overlap.

    """

    pictures: Count
    features: NotNegative
    unrounded: Share
    sent: Share
    rounding: Share
    torch: Utility
    bundle: Utility

    @property
    def lines(self) -> list[str]:
        """Say it in words."""
        before, after = (f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in self._values)
        return [
            f"parity on {self.pictures:,} test pictures: numbers differ by at most {self.features:.1e} of their root "
            f"mean square; equal decisions: {self.unrounded:.5f} before rounding, {self.sent:.5f} by what is sent",
            f"rounding keeps {self.rounding:.4f} of the decisions; {self.torch.whole} {before} in torch, {after} by "
            "what is sent",
        ]

    def check(self) -> None:
        """Refuse a bundle that is not what was trained.

        Raises:
            InputError: saying which figure fails, and its limit.

        """
        failed = []
        if not self.features <= TOLERANCE:
            failed.append(f"numbers differ by up to {self.features:.2g} of their root mean square, above {TOLERANCE}")
        for name, share in (("unrounded", self.unrounded), ("sent", self.sent)):
            if not share >= EQUAL:
                failed.append(f"{share:.4f} of the decisions by {name} numbers are equal, below {EQUAL}")
        if not _overlap(self.torch.value, self.bundle.value):
            before, after = (f"{each.value:.3f} [{each.low:.3f}, {each.high:.3f}]" for each in self._values)
            failed.append(f"the {self.torch.title} falls from {before} to {after}; give more --bits")
        if failed:
            raise InputError(f"the bundle is not what was trained, and is not written: {'; '.join(failed)}")

    @property
    def _values(self) -> tuple[Estimate, Estimate]:
        return self.torch.value, self.bundle.value


def _overlap(first: Estimate, second: Estimate) -> bool:
    return first.low <= second.high and second.low <= first.high


def read_parity(folder: Path) -> Parity:
    """Read how near the bundle in `folder` is to what it was made of.

    Raises:
        InputError: if it does not say, or is damaged.

    """
    try:
        content = read_object(folder / PARITY, AGAIN)
    except FileNotFoundError as error:
        raise InputError(f"{folder / PARITY} does not exist; {AGAIN}") from error
    return from_dict(Parity, content, f"{folder / PARITY}: ", AGAIN)
