"""A comparison of audits as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path

from oneway.report.comparison import Change, Comparison
from oneway.report.comparison_table import UNPAIRED, change_text, weaker_lines
from oneway.report.figure import Axis
from oneway.report.page import environment
from oneway.storage.atomic import whole


def comparison_page(comparison: Comparison) -> str:
    """Show a comparison: a table of every figure, each change drawn around zero."""
    return (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            comparison=comparison,
            change_text=change_text,
            around_zero=around_zero,
            unpaired=UNPAIRED,
            weaker=weaker_lines(comparison),
        )
    )


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page of a comparison, atomically.

    Raises:
        InputError: if the file cannot be written.

    """
    with whole(path) as partial:
        partial.write_text(comparison_page(comparison), encoding="utf-8", errors="backslashreplace")


def around_zero(changes: list[Change | None]) -> Axis:
    """Make the axis of the changes of one figure: zero in its middle, wide enough for all."""
    ends = [abs(end) for each in changes if each is not None for end in (each.estimate.low, each.estimate.high)]
    most = max([*ends, 1e-9]) * 1.05
    return Axis(-most, most, 2)
