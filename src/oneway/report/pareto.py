"""The picture of a benchmark: utility against leakage, a panel for each cut and leakage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.metrics.estimate import Estimate
from oneway.report.plots import ends_of
from oneway.report.sweeps import BenchmarkReport
from oneway.storage.atomic import whole

SHOWN = ("picture_similarity", "linkage")
"""The leakages that have a panel, where they were measured."""
Scale = Callable[[NDArray[np.float64]], NDArray[np.float64]]
MARKS = "osD^v<>PX*hpd"


def draw_pareto(report: BenchmarkReport, path: Path) -> None:
    """Draw utility against leakage on test people, with 95 % intervals, as a PNG.

    Args:
        report: of a benchmark; a leakage that was refused is left out, and so is its panel where it always was.
        path: the PNG.

    """
    from matplotlib import colormaps  # its import takes half a second
    from matplotlib.figure import Figure

    rows = report.rows
    cuts = list(dict.fromkeys(row.cut for row in rows))
    names = list(dict.fromkeys(row.defence for row in rows))
    twenty = colormaps["tab20"].colors  # type: ignore[attr-defined]
    colours = [*twenty[::2], *twenty[1::2]]  # strong ones first
    measured = {name: of for name, of in report.leakages.items() if name in SHOWN} or {SHOWN[0]: "faces"}
    figure = Figure(figsize=(5.5 * max(len(measured), 1.4), 4.5 * len(cuts)), layout="constrained")
    panels = figure.subplots(len(cuts), len(measured), squeeze=False)
    for cut, line in zip(cuts, panels, strict=True):
        for (leakage, of), panel in zip(measured.items(), line, strict=True):
            for place, name in enumerate(names):
                shown = [
                    (share, row.utility)
                    for row in rows
                    if row.cut == cut and row.defence == name and isinstance(share := row.leakage[leakage], Estimate)
                ]
                if name == "none":
                    control = next(row.utility for row in rows if row.cut == cut and row.defence == name)
                    panel.axhspan(control.low, control.high, color="0.9", label="unprotected (leakage 1)")
                if shown:
                    x, y = ([pair[side].value for pair in shown] for side in (0, 1))
                    across, upward = (ends_of([pair[side] for pair in shown]) for side in (0, 1))
                    mark = MARKS[place % len(MARKS)]
                    color = colours[place % len(colours)]
                    panel.errorbar(
                        x, y, yerr=upward, xerr=across, fmt=f"{mark}-", color=color, ms=5, lw=0.8, label=name
                    )
            panel.axvline(0, color="0.6", lw=0.8)
            decided = report.decisions[cut][leakage]
            if isinstance(decided, Estimate):
                panel.axvline(decided.value, color="0.3", ls=":", label="the task's decisions alone")
                if decided.value < 1:
                    above = panel.secondary_xaxis("top", functions=_above(decided.value))
                    above.set_xlabel("excess over the task's decisions", fontsize="small")
            panel.set(
                title=cut,
                xlabel=f"leakage of {of} (0: knows nothing, 1: no protection)",
                ylabel=f"{report.title} of the task",
            )
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _above(decided: float) -> tuple[Scale, Scale]:
    """Give the way from leakage to excess over a leakage of the decisions, and back."""
    return (lambda leakage: (leakage - decided) / (1 - decided)), (lambda excess: decided + excess * (1 - decided))
