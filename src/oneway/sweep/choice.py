"""The choice among the settings of a benchmark: made by validation people, so that test people had no part in it."""

from __future__ import annotations

import math

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.limits import LEAKAGES
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow
from oneway.report.values import Refused
from oneway.sweep.benchmark import CONTROL


def recommend(
    report: BenchmarkReport, cut: str, *, utility: float | None = None, leakage: float | None = None
) -> BenchmarkRow:
    """Name the setting that leaks least at a utility, or is most useful at a leakage, as validation people have it.

    A setting leaks the worst of its three leakages; one of which a leakage was not measured that others have is passed
    over.

    Args:
        report: of `compare_defences`.
        cut: the layer.
        utility: least share of the control's utility.
        leakage: largest of the three leakages.

    Returns:
        the row, whose figures on test people had no part in the choice.

    Raises:
        InputError: if neither or both bounds are given, or no setting keeps to it.

    """
    if (utility is None) == (leakage is None):
        raise InputError("give either the least utility or the largest leakage")
    for name, bound in (("utility", utility), ("leakage", leakage)):
        if bound is not None and not math.isfinite(bound):
            raise InputError(f"{name} must be a finite number, not {bound}")
    rows = _settings(report, cut)
    control = rows[0].control_utility
    if control.value <= 0:
        raise InputError(
            f"the control at {cut} has {report.title} {control}, no better than a constant, so no setting can keep a "
            "share of it; train all of them longer: --set protect.steps=..."
        )
    judged = [row for row in rows if not _missing(row, rows)] if _measured(rows) else []
    if not judged:
        raise InputError(f"no setting at {cut} can be judged: {'; '.join(unjudged(report, cut))}")

    def leaks(row: BenchmarkRow) -> float:
        return max(row.validation.leakage.values())

    if utility is not None:
        kept = [row for row in judged if row.validation.utility >= utility]
        if not kept:
            most = max(row.validation.utility for row in judged)
            raise InputError(f"no setting keeps {utility:g} of the control's utility at {cut}; the most is {most:.3f}")
        return min(kept, key=leaks)
    kept = [row for row in judged if leaks(row) <= float(leakage or 0)]
    if not kept:
        decided = report.decisions[cut]
        told = [f"{share.value:.3f} of {name}" for name, share in decided.items() if isinstance(share, Estimate)]
        beside = f"; the task's decisions alone leak {', '.join(told)} on test people" if told else ""
        least = min(map(leaks, judged))
        raise InputError(f"no setting leaks at most {leakage:g} at {cut}; the least is {least:.3f}{beside}")
    return max(kept, key=lambda row: row.validation.utility)


def unjudged(report: BenchmarkReport, cut: str) -> list[str]:
    """Say by which leakages no setting of a cut was judged, and which settings were passed over, with the reason."""
    rows = _settings(report, cut)
    measured = _measured(rows)
    told = [f"not judged by leakage of {name}: {_reason(rows[0], name)}" for name in LEAKAGES if name not in measured]
    return told + [
        f"passed over: {row.defence} {row.strength:g}, leakage of {name}: {_reason(row, name)}"
        for row in rows
        for name in _missing(row, rows)
    ]


def _settings(report: BenchmarkReport, cut: str) -> list[BenchmarkRow]:
    """Give the settings of a cut, all but the control."""
    rows = [row for row in report.rows if row.cut == cut and row.defence != CONTROL]
    if not rows:
        known = ", ".join(sorted({row.cut for row in report.rows}))
        raise InputError(f"the benchmark has no cut {cut!r}; it has {known}")
    return rows


def _measured(rows: list[BenchmarkRow]) -> list[str]:
    """Name the leakages that were measured of any setting, on validation people."""
    return [name for name in LEAKAGES if any(name in row.validation.leakage for row in rows)]


def _missing(row: BenchmarkRow, rows: list[BenchmarkRow]) -> list[str]:
    return [name for name in _measured(rows) if name not in row.validation.leakage]


def _reason(row: BenchmarkRow, name: str) -> str:
    share = row.leakage[name]
    return share.refused if isinstance(share, Refused) else "it was not measured on validation people"
