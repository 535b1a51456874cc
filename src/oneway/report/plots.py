"""The pictures of the paper's experiments, as PNG files: trade-off, layers, maps of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oneway.metrics.estimate import Estimate
from oneway.report.reproduction import SHOWN
from oneway.report.sweeps import ExperimentRow
from oneway.storage.atomic import whole

Rows = Sequence[ExperimentRow]
SIDES = {
    "none": "unprotected",
    "paper": "the paper's game",
    "bounded": "the same, its reward bounded",
    "recommended": "the recommended recipe",
}
COLOURS = {"none": "#4d5966", "paper": "#c2562f", "bounded": "#3b6fb6", "recommended": "#2d6a4f"}
GROUPS = (("neither", "#9aa3ad"), ("{second}", "#e0a526"), ("{first}", "#3b6fb6"), ("both", "#b03a5b"))
"""Of a map of features, by two attributes, with the colours of its points."""


def draw_tradeoff(rows: Rows, path: Path) -> None:
    """Draw utility against face and feature similarity, a curve for each protection, the paper's as a dashed one."""
    figure, panels = _panels(2)
    for panel, metric in zip(panels, ("picture_similarity", "feature_similarity"), strict=True):
        for protection, colour in COLOURS.items():
            points = [(row, alike, _useful(row)) for row, alike in _measured(rows, protection, metric)]
            if points:
                _curve(panel, [(alike, useful) for _, alike, useful in points], colour, SIDES[protection])
            for row, alike, useful in points:
                if row.at is not None:
                    place = (alike.value, useful.value)
                    panel.annotate(f"{row.at:g}", place, (4, 4), textcoords="offset points", fontsize=7)
        theirs = [row.paper for row in rows if metric in row.paper and row.protection == "paper"]
        if theirs:
            x, y = ([row[name] for row in theirs] for name in (metric, "mean_mcc"))
            panel.plot(x, y, "x--", color="0.6", lw=0.8, ms=4, label="the paper's figures (its data and network)")
        panel.set(xlabel=f"{SHOWN[metric]} of the attacker (lower is safer)", ylabel="mean MCC of the task")
    panels[0].legend(fontsize="small")
    _save(figure, path)


def draw_layers(rows: Rows, path: Path) -> None:
    """Draw face similarity and utility over the cuts, a line for each protection, the paper's dashed."""
    figure, panels = _panels(2)
    cuts = list(dict.fromkeys(row.at for row in rows))
    for panel, metric in zip(panels, ("picture_similarity", "mean_mcc"), strict=True):
        for protection, colour in COLOURS.items():
            points = _measured(rows, protection, metric)
            x = [cuts.index(row.at) for row, _ in points]
            _errors(panel, x, [value for _, value in points], colour, SIDES[protection])
            if protection != "recommended":
                theirs = [(cuts.index(row.at), row.paper[metric]) for row, _ in points if metric in row.paper]
                if theirs:
                    label = f"the paper's, {SIDES[protection]}"
                    panel.plot(*zip(*theirs, strict=True), "x--", color=colour, lw=0.7, ms=4, alpha=0.6, label=label)
        panel.set_xticks(range(len(cuts)), cuts)
        panel.set(xlabel="layer after which features leave the device", ylabel=SHOWN[metric])
    panels[0].legend(fontsize="small")
    _save(figure, path)


def draw_maps(maps: Sequence[tuple[str, Path]], attributes: tuple[str, ...], path: Path) -> None:
    """Draw features laid out in a plane, a panel for each encoder, coloured by two attributes.

    Args:
        maps: titles, and files of `places` (n, 2) and `labels` (n, 2).
        attributes: the two.
        path: the PNG.

    """
    columns = 3
    figure, panels = _panels(columns, -(-len(maps) // columns), side=3.6)
    first, second = (name.replace("_", " ") for name in attributes)
    for panel, (title, file) in zip(panels, maps, strict=False):
        with np.load(file, allow_pickle=False) as stored:
            places, labels = stored["places"], stored["labels"]
        kinds = 2 * labels[:, 0].astype(int) + labels[:, 1]
        for kind, (name, colour) in enumerate(GROUPS):
            chosen = places[kinds == kind]
            panel.scatter(*chosen.T, s=4, color=colour, lw=0, label=name.format(first=first, second=second))
        panel.set(title=title, xticks=[], yticks=[])
    for panel in panels[len(maps) :]:
        panel.set_axis_off()
    panels[0].legend(fontsize="x-small", markerscale=2)
    _save(figure, path)


def _panels(columns: int, rows: int = 1, *, side: float = 4.5) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure  # its import takes half a second

    figure = Figure(figsize=(1.2 * side * columns, side * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _measured(rows: Rows, protection: str, metric: str) -> list[tuple[ExperimentRow, Estimate]]:
    """Give the rows of a protection in which a metric was measured, each with it."""
    pairs = [(row, row.scores.get(metric)) for row in rows if row.protection == protection]
    return [(row, value) for row, value in pairs if value is not None]


def _useful(row: ExperimentRow) -> Estimate:
    value = row.scores["mean_mcc"]
    assert value is not None
    return value


def ends_of(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Give how far the ends of intervals lie below and above their values, as `errorbar` takes them."""
    below = [abs(each.value - each.low) for each in estimates]
    return [below, [abs(each.high - each.value) for each in estimates]]


def _errors(panel: Any, x: Sequence[float], estimates: Sequence[Estimate], colour: str, label: str) -> None:
    values = [each.value for each in estimates]
    panel.errorbar(x, values, yerr=ends_of(estimates), fmt="o-", ms=4, lw=1, capsize=2, color=colour, label=label)


def _curve(panel: Any, points: Sequence[tuple[Estimate, Estimate]], colour: str, label: str) -> None:
    across, upward = ([point[side] for point in points] for side in (0, 1))
    x, y = ([each.value for each in side] for side in (across, upward))
    panel.errorbar(x, y, xerr=ends_of(across), yerr=ends_of(upward), fmt="o-", ms=4, lw=1, color=colour, label=label)


def _save(figure: Any, path: Path) -> None:
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
