"""An audit or a comparison in Markdown, as a pull request shows it: the verdict, the figures, what failed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.comparison import Comparison
from oneway.report.comparison_table import UNPAIRED, change_text, weaker_lines
from oneway.report.figure import interval, value
from oneway.report.junit import Check
from oneway.report.reports import AuditReport
from oneway.storage.atomic import check_file, whole

GITHUB = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows with a job, to which every step adds."""
ESCAPED = {ord(mark): f"&#{ord(mark)};" for mark in "\\`*_[]<>|#&"}
"""What is markup in Markdown, as entities."""
TOLD = {"worse": "**worse** ", "better": "better ", "": ""}


def audit_summary(report: AuditReport, checks: Sequence[Check] = ()) -> str:
    """Say in Markdown what an audit found: verdict, the numbers that stand first, limits, guards that do not hold."""
    rows = [
        [safe(number.title), _text(number.value), _plain(number.floor), _plain(number.control), _plain(number.leakage)]
        for number in report.verdict.numbers
    ]
    guards = [
        f"guard {'is unknown' if guard.passed is None else 'FAILED'}: {guard.name}: {guard.message}"
        for guard in report.guards
        if not guard.passed
    ]
    return _joined(
        f"### Audit of {safe(report.victim.name)}: {report.verdict.level}",
        safe(report.verdict.sentence),
        table(["", "this encoder", "floor", "control", "leakage"], rows),
        _checked(checks),
        _list([*guards, *report.verdict.reasons]),
        f"{len(report.untested)} points that this audit does not show are listed in its report.",
    )


def comparison_summary(comparison: Comparison, checks: Sequence[Check] = ()) -> str:
    """Say in Markdown how audits compare: every figure with its change from the first, and what fails."""
    first, *others = comparison.names
    heads = ["", safe(first), *(head for name in others for head in (safe(name), "change"))]
    rows = []
    for figure in comparison.figures:
        cells = [safe(figure.label), _text(figure.values[0])]
        for place in range(1, len(comparison.names)):
            change = safe(change_text(figure, place, percent=True))
            cells += [_text(figure.values[place]), f"{TOLD[figure.told(place)]}{change}"]
        rows.append(cells)
    levels = ", ".join(f"{name} {level}" for name, level in zip(comparison.names, comparison.levels, strict=True))
    unpaired = [f"of the last {sum(figure.group == 2 for figure in comparison.figures)} figures {UNPAIRED}"]
    return _joined(
        f"### Privacy audits compared with {safe(first)}",
        f"Verdicts: {safe(levels)}. Changes with 95 % intervals, paired by test pictures.",
        table(heads, rows),
        _checked([check for check in checks if not check.passed]),
        _list([*unpaired, *comparison.remarks, *([] if checks else weaker_lines(comparison))]),
    )


def write_summary(path: Path, text: str) -> None:
    """Write Markdown into a file, atomically; to the file that GITHUB_STEP_SUMMARY names it is appended.

    Raises:
        InputError: if the file cannot be written.

    """
    check_file(path)
    shared = os.environ.get(GITHUB)
    if shared is None or path.absolute() != Path(shared).absolute():
        with whole(path) as partial:
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}); unset {GITHUB}") from error


def _text(figure: Estimate | None) -> str:
    return "–" if figure is None else safe(f"{value(figure)} {interval(figure)}")


def _plain(figure: object) -> str:
    if isinstance(figure, Estimate):
        return _text(figure)
    return f"{figure:.3f}" if isinstance(figure, float | int) else "–"


def _checked(checks: Sequence[Check]) -> str:
    """Give a list of what was held and what not."""
    return "\n".join(f"- {'passed' if check.passed else '**FAILED**'}: {safe(check.message)}" for check in checks)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {safe(line)}" for line in lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out cells, in which markup is markup, as a table in Markdown; nothing where there are no rows."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) if rows else ""


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def safe(text: str) -> str:
    """Write a text that may hold anything in one line, in which nothing is markup."""
    return " ".join(text.translate(ESCAPED).split())
