"""A watch of a running server: sums of what it receives, and never a vector."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from oneway.shipping.contract import Numbers
from oneway.shipping.reference import Reference
from oneway.shipping.statistics import Means
from oneway.watching.drift import drift, means_of
from oneway.watching.report import RATE, WatchReport

CANARIES: Final = "a running server knows no canaries; give some to `oneway watch --canary`"
UNCHECKED: Final = {
    "duplicates": "every two answers would have to be compared, so kept; give a sample to `oneway watch`",
    "noise": CANARIES,
    "shared noise": CANARIES,
    "linkage": CANARIES,
}
"""What sums do not tell."""


class Running:
    """Holds what a server receives to what was audited, once in so many answers; the sums then begin anew.

    Args:
        bundle: its sha256.
        reference: of it.
        answers: at which a watch is made, `LEAST` or more.

    """

    def __init__(self, bundle: str, reference: Reference, answers: int) -> None:
        self._bundle, self._reference, self._answers = bundle, reference, answers
        self._sums: dict[str, Means] = {}
        self._count = 0

    def take(self, levels: Numbers) -> WatchReport | None:
        """Count levels (n, numbers) that were received; gives a report when they are enough for one."""
        found = means_of(self._reference, self._reference.quantisation.values(levels))
        for name, mean in found.items():
            self._sums[name] = self._sums.get(name, 0.0) + len(levels) * mean
        self._count += len(levels)
        if self._count < self._answers:
            return None
        means, count = {name: sums / self._count for name, sums in self._sums.items()}, self._count
        self._sums, self._count = {}, 0
        return WatchReport(
            bundle=self._bundle,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            answers=count,
            canaries=0,
            false_alarms=RATE,
            checks=drift(self._reference, means, count, RATE / len(means)),
            unchecked=UNCHECKED,
        )
