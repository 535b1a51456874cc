"""A comparison of audits as a table for a terminal."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from oneway.metrics.estimate import Estimate
from oneway.report.comparison import Compared, Comparison

STYLES = {"worse": "bold red", "better": "green", "": ""}
UNPAIRED = (
    "no score of each picture is kept, so the change is made of the two intervals, and its own is wider than it need be"
)


def comparison_table(comparison: Comparison) -> Table:
    """Lay out a comparison: a row for each figure, a column for each audit, and one for its change from the first."""
    first, *others = comparison.names
    table = Table(
        title=f"Audits of one question (value, 95 % interval over {comparison.people} test {comparison.words.people}; "
        f"change from {first}, paired by test pictures)",
        caption_justify="left",
    )
    table.add_column("")
    table.add_column(f"{first}\n{comparison.victims[0]}", justify="right")
    for name, victim in zip(others, comparison.victims[1:], strict=True):
        table.add_column(f"{name}\n{victim}", justify="right")
        table.add_column("change", justify="right")
    levels = [cell for level in comparison.levels[1:] for cell in (level, "")]
    table.add_row("verdict", comparison.levels[0], *levels, end_section=True)
    for figure, after in zip(comparison.figures, [*comparison.figures[1:], None], strict=True):
        ends = after is not None and after.group != figure.group
        table.add_row(figure.label, value_text(figure.values[0]), *_cells(figure), end_section=ends)
    lines = [f"below the last line: {UNPAIRED}"] if any(figure.group == 2 for figure in comparison.figures) else []
    table.caption = "\n".join([*lines, *comparison.remarks, *weaker_lines(comparison)]) or None
    return table


def weaker_lines(comparison: Comparison) -> list[str]:
    """Say which audits may give away more than they show."""
    return [
        f"{name}: {reason}, so it may give away more than this shows"
        for name, reasons in zip(comparison.names, comparison.weaker, strict=True)
        for reason in reasons
    ]


def value_text(figure: Estimate | None) -> str:
    """Write a figure above its interval."""
    return "–" if figure is None else str(figure).replace(" [", "\n[")


def change_text(figure: Compared, place: int, *, percent: bool = False) -> str:
    """Write a change with its signs, in as many digits as the larger end of its interval needs.

    Args:
        figure: whose change.
        place: of the audit.
        percent: write changes of shares in percentage points, as a page writes shares in percent.

    """
    change = figure.changes[place]
    if change is None:
        return "–"
    estimate, points = change.estimate, percent and change.estimate.unit in ("share", "leakage")
    scale, least = (100, 1) if points else (1, 2 if estimate.unit == "dB" else 3)
    moved = scale * max(abs(estimate.low), abs(estimate.high))
    digits = least if moved == 0 else max(least, min(1 - math.floor(math.log10(moved)), 7))
    value, low, high = (
        f"{scale * end:+.{digits}f}".replace("-", "\N{MINUS SIGN}")
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value}{' points' if points else ''} [{low}, {high}]"


def _cells(figure: Compared) -> list[Text | str]:
    cells: list[Text | str] = []
    for place in range(1, len(figure.values)):
        told, said = figure.told(place), change_text(figure, place).replace(" [", "\n[")
        cells += [value_text(figure.values[place]), Text(f"{told} {said}".strip(), style=STYLES[told])]
    return cells
