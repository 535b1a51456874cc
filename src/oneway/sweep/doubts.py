"""What makes the figures of a benchmark's setting doubtful: attackers that were cut short, guards that do not hold."""

from __future__ import annotations

from pathlib import Path

from oneway.report.reports import AuditReport, read_report
from oneway.report.sweeps import BenchmarkRow


def doubts_of_audit(benchmark: Path, row: BenchmarkRow) -> list[str]:
    """Say what in the audit of a setting, or of the control, makes its figures doubtful.

    Raises:
        InputError: if the audit is not there, or damaged.

    """
    made = "oneway benchmark defences DATA --out NEW, with all its audits"
    report = read_report(benchmark / row.audit, AuditReport, made)
    late = [f"the budget ended {name}" for name in row.unconverged]
    return late + [f"the guard '{guard.name}' does not hold" for guard in report.guards if guard.passed is False]
