"""The choice among the settings of a benchmark: made by validation people, so that test people had no part in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.limits import LEAKAGES
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow
from oneway.report.values import Refused
from oneway.storage import runs
from oneway.sweep.benchmark import CONTROL
from oneway.sweep.doubts import doubts_of_audit


def ranked(
    report: BenchmarkReport,
    cut: str,
    *,
    utility: float | None = None,
    leakage: float | None = None,
    excess: float | None = None,
) -> list[BenchmarkRow]:
    """List the settings that keep to a bound: those that leak least, or are most useful at a leakage, come first.

    A setting leaks the worst of its three leakages, or excesses; one of which a leakage was not measured that others
    have is passed over.

    Args:
        report: of `compare_defences`.
        cut: the layer.
        utility: least share of the control's utility.
        leakage: largest of the three leakages.
        excess: largest of what the three are above those of the task's decisions alone.

    Returns:
        the rows, at least one, whose figures on test people had no part in their order.

    Raises:
        InputError: if no bound or several are given, or no setting keeps to it.

    """
    given = {"utility": utility, "leakage": leakage, "excess": excess}
    bounds = {name: bound for name, bound in given.items() if bound is not None}
    if len(bounds) != 1:
        raise InputError("give one of the least utility, the largest leakage and the largest excess")
    (name, bound), kind = *bounds.items(), "leakage" if excess is None else "excess"
    if not math.isfinite(bound):
        raise InputError(f"{name} must be a finite number, not {bound}")
    rows = _settings(report, cut)
    control = rows[0].control_utility
    if control.value <= 0:
        raise InputError(
            f"the control at {cut} has {report.title} {control}, no better than a constant, so no setting can keep a "
            "share of it; train all of them longer: --set protect.steps=..."
        )
    judged = [row for row in rows if not _missing(row, rows, kind)] if _measured(rows, kind) else []
    if not judged:
        raise InputError(f"no setting at {cut} can be judged: {'; '.join(unjudged(report, cut, kind))}")

    def leaks(row: BenchmarkRow) -> float:
        return _worst(row, kind)

    if utility is not None:
        kept = [row for row in judged if row.validation.utility >= utility]
        if not kept:
            most = max(row.validation.utility for row in judged)
            raise InputError(f"no setting keeps {utility:g} of the control's utility at {cut}; the most is {most:.3f}")
        return sorted(kept, key=leaks)
    kept = [row for row in judged if leaks(row) <= bound]
    if not kept and kind == "excess":
        least = min(map(leaks, judged))
        raise InputError(f"no setting has an excess of at most {bound:g} at {cut}; the least is {least:.3f}")
    if not kept:
        decided = report.decisions[cut]
        told = [f"{share.value:.3f} of {name}" for name, share in decided.items() if isinstance(share, Estimate)]
        beside = f"; the task's decisions alone leak {', '.join(told)} on test people" if told else ""
        least = min(map(leaks, judged))
        raise InputError(f"no setting leaks at most {bound:g} at {cut}; the least is {least:.3f}{beside}")
    return sorted(kept, key=lambda row: row.validation.utility, reverse=True)


def doubts(benchmark: Path, report: BenchmarkReport, row: BenchmarkRow) -> list[str]:
    """Say what makes a setting doubtful, of its own audit or of its control's: who was attacked badly leaks least.

    Args:
        benchmark: its folder, with the audits.
        report: what it found.
        row: the setting.

    Raises:
        InputError: if an audit is damaged.

    """
    controls = [each for each in report.rows if each.cut == row.cut and each.defence == CONTROL]
    blamed: dict[str, list[str]] = {}
    for each in (row, *controls):
        for doubt in _own_doubts(benchmark, each):
            blamed.setdefault(doubt, []).append("the control" if each in controls else _name(each))
    return [f"{doubt} ({', '.join(who)})" for doubt, who in blamed.items()]


def instead(benchmark: Path, rows: Sequence[BenchmarkRow], kind: str = "leakage") -> str | None:
    """Say which of some settings, as `ranked` gives them, is without doubts of its own; nothing if it is the first.

    Args:
        benchmark: their folder, with the audits.
        rows: the settings.
        kind: by which of `limits.SHARES` they were judged.

    Raises:
        InputError: if an audit is damaged.

    """
    sure = next((row for row in rows if not _own_doubts(benchmark, row)), None)
    if sure is None:
        return "no setting that keeps to this is without such doubts"
    if sure is rows[0]:
        return None
    held = f"{sure.validation.utility:.3f} of the control's utility and leaves {_worst(sure, kind):.3f} of {kind}"
    return f"without such doubts: {_name(sure)}, which keeps {held} (validation people): {benchmark / sure.run}"


def _own_doubts(benchmark: Path, row: BenchmarkRow) -> list[str]:
    if (benchmark / row.audit / runs.RESULTS).exists():
        return doubts_of_audit(benchmark, row)
    return ["its audit is not there any more, so nothing says whether guards hold"]


def _name(row: BenchmarkRow) -> str:
    return f"{row.defence} {row.strength:g}"


def unjudged(report: BenchmarkReport, cut: str, kind: str = "leakage") -> list[str]:
    """Say by which leakages no setting of a cut was judged, and which settings were passed over, with the reason.

    Args:
        report: of `compare_defences`.
        cut: the layer.
        kind: by which of `limits.SHARES` settings were judged.

    """
    rows = _settings(report, cut)
    measured = _measured(rows, kind)
    told = [
        f"not judged by {kind} of {name}: {_reason(rows[0], name, kind)}" for name in LEAKAGES if name not in measured
    ]
    return told + [
        f"passed over: {_name(row)}, {kind} of {name}: {_reason(row, name, kind)}"
        for row in rows
        for name in _missing(row, rows, kind)
    ]


def _settings(report: BenchmarkReport, cut: str) -> list[BenchmarkRow]:
    """Give the settings of a cut, all but the control."""
    rows = [row for row in report.rows if row.cut == cut and row.defence != CONTROL]
    if not rows:
        known = ", ".join(sorted({row.cut for row in report.rows}))
        raise InputError(f"the benchmark has no cut {cut!r}; it has {known}")
    return rows


def _validated(row: BenchmarkRow, kind: str) -> dict[str, float]:
    return row.validation.excess if kind == "excess" else row.validation.leakage


def _worst(row: BenchmarkRow, kind: str) -> float:
    return max(_validated(row, kind).values())


def _measured(rows: list[BenchmarkRow], kind: str) -> list[str]:
    """Name the leakages that were measured of any setting, on validation people."""
    return [name for name in LEAKAGES if any(name in _validated(row, kind) for row in rows)]


def _missing(row: BenchmarkRow, rows: list[BenchmarkRow], kind: str) -> list[str]:
    return [name for name in _measured(rows, kind) if name not in _validated(row, kind)]


def _reason(row: BenchmarkRow, name: str, kind: str) -> str:
    share = (row.excess if kind == "excess" else row.leakage)[name]
    return share.refused if isinstance(share, Refused) else "it was not measured on validation people"
