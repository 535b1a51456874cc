"""The figures of Xiao et al., AAAI 2020, and whether ours move as they do."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from oneway.report.sweeps import Change, EffectReport, ExperimentRow

METRICS = {
    "mean_mcc": "mean MCC",
    "picture_similarity": "face similarity",
    "feature_similarity": "feature similarity",
    "ssim": "SSIM",
    "psnr": "PSNR, dB",
    "lda_score": "LDA score",
}
"""What the paper's tables hold, as rows of an experiment name it."""
NAMES = {"psnr_db": "psnr"}
STILL = 0.005
"""A change of the paper's figures up to this is none: they are given in three digits, some in two."""


def table(number: int) -> list[dict[str, str]]:
    """Read one of the paper's tables 1 to 3: a dictionary for each row, by the names of the columns."""
    text = files("oneway.reproduction.paper").joinpath(f"table{number}.csv").read_text(encoding="utf-8")
    return [{NAMES.get(name, name): cell for name, cell in row.items()} for row in csv.DictReader(text.splitlines())]


def figures(row: Mapping[str, str]) -> dict[str, float]:
    """Give the figures of a row of the paper's that an experiment measures too."""
    return {name: float(row[name]) for name in METRICS if name in row}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A change that the paper's tables show, from one row to another.

    Attributes:
        claim: what it says, in words.
        metric: whose change it is.
        before: the row it starts from.
        after: the row it leads to.

    """

    claim: str
    metric: str
    before: str
    after: str


def judge(effect: Effect, rows: Mapping[str, ExperimentRow]) -> EffectReport:
    """Say whether our rows change as the paper's do.

    Our change has an interval, from the ends of the two rows' intervals: it is wider than that of the difference, which
    the same people make. One that holds 0 says nothing against the paper, nor for it, unless the paper sees no change.

    Args:
        effect: the change.
        rows: of an experiment, by their `id`.

    """
    before, after = rows[effect.before], rows[effect.after]
    theirs = after.paper[effect.metric] - before.paper[effect.metric]
    found = EffectReport(**vars(effect), paper=round(theirs, 4), ours=None, verdict="not measured")
    first, second = before.scores.get(effect.metric), after.scores.get(effect.metric)
    if first is None or second is None:
        return found
    ours = Change(value=second.value - first.value, low=second.low - first.high, high=second.high - first.low)
    unmoved = ours.low <= 0 <= ours.high
    if abs(theirs) <= STILL:
        return replace(found, ours=ours, verdict="agrees" if unmoved else "disagrees")
    if unmoved:
        return replace(found, ours=ours, verdict="within the interval")
    return replace(found, ours=ours, verdict="agrees" if (ours.value > 0) == (theirs > 0) else "disagrees")
