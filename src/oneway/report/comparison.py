"""Several audits of one question side by side: every figure, and its change from the first of them, as typed values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oneway.config import record, to_dict
from oneway.errors import InputError, unknown
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import Safer, metrics
from oneway.report.junit import Check
from oneway.report.limits import LEAKAGES, SHARES
from oneway.report.values import Level
from oneway.report.words import OF_PEOPLE, OF_PICTURES, Words

BOUNDED = ("cosine", "share", "SSIM", "MCC", "D_sys", "leakage")
"""Units of figures that run to 1, for which one margin can be given."""
Margins = float | Mapping[str, float]


@record
@dataclass(frozen=True, kw_only=True)
class Change:
    """What a figure of a later audit is above that of the first.

    Attributes:
        estimate: later - first, with its 95 % interval.
        paired: whether both were of the same pictures, person by person; else it is made of the two intervals.

    """

    estimate: Estimate
    paired: bool

    def worsening(self, safer: Safer) -> tuple[float, float, float]:
        """Give by how much more is given away: value, low, high."""
        moved = self.estimate
        return (moved.value, moved.low, moved.high) if safer == "low" else (-moved.value, -moved.high, -moved.low)


@record
@dataclass(frozen=True, kw_only=True)
class Compared:
    """One figure of every audit.

    Attributes:
        name: that no other has, such as `picture_similarity by dlib.onnx`.
        metric: its name in limits, such as `picture_similarity`, `leakage.linkage`; `utility` is the task's.
        title: for people.
        safer: which way less is given away; none for utility, of which more is better and nothing is given away.
        values: of every audit, in order; none where it was not measured.
        changes: of every audit from the first, none for the first itself and where one of the two was not measured.

    """

    name: str
    metric: str
    title: str
    safer: Safer | None
    values: list[Estimate | None]
    changes: list[Change | None]

    @property
    def group(self) -> int:
        """Its place in the order: 0 for utility, 1 where its changes are paired, 2 where they are not."""
        if self.safer is None:
            return 0
        return 1 if any(change is not None and change.paired for change in self.changes) else 2

    @property
    def label(self) -> str:
        """The title with an arrow towards what is safer, or better."""
        return f"{self.title} {'↓' if self.safer == 'low' else '↑'}"

    def told(self, place: int) -> str:
        """Say whether the audit at a place gives more or less away than the first; nothing where that is not shown."""
        change = self.changes[place]
        if change is None:
            return ""
        _, low, high = change.worsening(self.safer or "high")
        return "worse" if low > 0 else "better" if high < 0 else ""


@record
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Audits of one question side by side; the first is what the others are compared with.

    Attributes:
        names: of the audits' folders, each another.
        victims: what was audited.
        levels: of their verdicts.
        figures: by group: utility first, then those whose changes are paired, then the others.
        weaker: of every audit, which checks and attackers of the first it lacks, so that it may give away more than it
            shows; empty for the first.
        remarks: what was not compared, and what else differs.
        people: how many test people the figures are of.
        of_pictures: whether nothing is said of people.

    """

    names: list[str]
    victims: list[str]
    levels: list[Level]
    figures: list[Compared]
    weaker: list[list[str]]
    remarks: list[str]
    people: int
    of_pictures: bool = field(default=False)

    @property
    def words(self) -> Words:
        """How it names what the pictures show."""
        return OF_PICTURES if self.of_pictures else OF_PEOPLE

    def __str__(self) -> str:
        from oneway.console import as_text
        from oneway.report.comparison_table import comparison_table

        return as_text(comparison_table(self))

    def to_json(self) -> str:
        """Write the comparison as JSON."""
        return json.dumps(to_dict(self), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """Write the comparison as one HTML page that needs nothing else."""
        from oneway.report.comparison_page import comparison_page

        return comparison_page(self)

    def count(self, place: int, told: str) -> int:
        """Count the figures of privacy of the audit at a place that are `worse` or `better` than the first's."""
        return sum(figure.told(place) == told for figure in self.figures if figure.safer is not None)

    def passes(self, margin: Margins = 0.0) -> bool:
        """Say whether no audit gives more away than the first; see `checks`.

        Raises:
            InputError: for a margin of a figure that does not exist, or that is negative or not finite.

        """
        return all(check.passed for check in self.checks(margin))

    def checks(self, margin: Margins = 0.0) -> list[Check]:
        """Hold every audit to the first: no figure of privacy may be worse, by the lower end of its interval.

        What shows the first as tested better fails too: an attacker that its budget ended, a guard that does not hold.

        Args:
            margin: by how much it may be worse, each in its own unit: one number for all figures that run to 1 (cosine,
                SSIM, share, MCC, D_sys, leakage), or numbers by their names in limits.

        Raises:
            InputError: for a margin of a figure that does not exist, or that is negative or not finite.

        """
        allowed = _allowed(margin)
        found = []
        for place, name in enumerate(self.names):
            for figure in self.figures:
                change = figure.changes[place]
                if change is None or figure.safer is None:
                    continue
                most = allowed.get(figure.metric, allowed[""] if change.estimate.unit in BOUNDED else 0.0)
                value, low, high = change.worsening(figure.safer)
                said = (
                    f"{name}: {figure.title} {figure.values[0]} -> {figure.values[place]}, "
                    f"worse by {value:.3f} [{low:.3f}, {high:.3f}], margin {most:g} for the lower end"
                )
                found.append(Check(name=f"{name}: {figure.name}", passed=low <= most, message=said, seconds=0.0))
            for reason in self.weaker[place]:
                said = f"{name}: {reason}, so it may give away more than this shows"
                found.append(Check(name=f"{name}: {reason}", passed=False, message=said, seconds=0.0))
        return found


def margined() -> list[str]:
    """Name every figure that a margin can be given for."""
    return [*metrics(), *(f"{share}.{name}" for share in SHARES for name in LEAKAGES)]


def read_margins(given: Sequence[str]) -> dict[str, float]:
    """Read margins from text: a number for all figures that run to 1, or NAME=NUMBER for one.

    Raises:
        InputError: for a figure that does not exist, or what is no number of 0 or more.

    """
    margins = {}
    for text in given:
        name, equals, amount = text.rpartition("=")
        try:
            margins[name] = float(amount)
        except ValueError as error:
            raise InputError(f"--margin takes a number, or NAME=NUMBER for one figure, not {text!r}") from error
        if equals and not name:
            raise InputError(f"--margin takes a number, or NAME=NUMBER for one figure, not {text!r}")
    return _allowed(margins)


def _allowed(margin: Margins) -> dict[str, float]:
    """Give margins by name, that of all others under the empty one."""
    margins = dict(margin) if isinstance(margin, Mapping) else {"": margin}
    for name, amount in margins.items():
        if name and name not in margined():
            raise unknown("figure", name, margined())
        if not math.isfinite(amount) or amount < 0:
            raise InputError(f"the margin{f' of {name}' if name else ''} must be 0 or more and finite, not {amount:g}")
    return {"": 0.0} | margins
