"""The query curve as the geometry of a small drawing: what an attacker gets for so many pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oneway.metrics.estimate import Estimate
from oneway.report import values
from oneway.report.figure import Figure, axis, count, number, tick, value

WIDTH, HEIGHT = 400.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 286.0, 26.0, 216.0
"""Edges of the plot; what is left of the drawing is for labels."""
LINE = 15.0
"""Height of a label."""


@dataclass(frozen=True)
class Point:
    """One measured number of queries: its place, the ends of its interval, and whether training converged."""

    x: float
    y: float
    low: float
    high: float
    text: str
    converged: bool


@dataclass(frozen=True)
class Line:
    """A level to compare with, and the height of its label, which stays clear of the others."""

    name: str
    y: float
    label: float
    text: str


@dataclass(frozen=True)
class Curve:
    """A drawing of `WIDTH` by `HEIGHT`, y downwards.

    Attributes:
        points: in the order of their queries.
        path: SVG path through the points.
        band: SVG path around their intervals.
        across: ticks of the logarithmic axis of queries, place and text.
        upward: ticks of the axis of the score.
        lines: floor, control and breach.
        breach: where the breach was reached, if it was.

    """

    points: list[Point]
    path: str
    band: str
    across: list[tuple[float, str]]
    upward: list[tuple[float, str]]
    lines: list[Line]
    breach: float | None


def draw_curve(
    measured: Sequence[values.Point], score: str, levels: Mapping[str, Figure], breach: float | None = None
) -> Curve:
    """Lay out how a score grows with the number of queries.

    Args:
        measured: the points, at least one; those without the score are left out.
        score: which score.
        levels: by name, what the curve is compared with; nothing is drawn for those that are missing.
        breach: the number of queries at which the breach was reached.

    """
    ordered, figures = [], []
    for point in sorted(measured, key=lambda point: point.queries):
        figure = point.scores.get(score)
        if figure is not None:
            ordered.append(point)
            figures.append(figure)
    unit = figures[0].unit
    known = {
        name: level.value if isinstance(level, Estimate) else level
        for name, level in levels.items()
        if isinstance(level, Estimate | float | int)
    }
    scale = axis(*figures, *known.values(), full=0.0)
    first, last = (math.log10(ordered[end].queries) for end in (0, -1))
    if last - first < 0.1:  # a single number of queries stands in the middle
        first, last = first - 0.5, last + 0.5

    def across(queries: float) -> float:
        part = (math.log10(queries) - first) / (last - first)
        return round(LEFT + min(max(part, 0.0), 1.0) * (RIGHT - LEFT), 1)

    def upward(height: float) -> float:
        return round(BOTTOM - scale.place(height) / 100 * (BOTTOM - TOP), 1)

    points = [
        Point(
            across(point.queries),
            upward(figure.value),
            upward(figure.low),
            upward(figure.high),
            f"{count(point.queries)} pairs: {value(figure)}",
            point.converged,
        )
        for point, figure in zip(ordered, figures, strict=True)
    ]
    heights = {name: upward(level) for name, level in known.items()}
    labels = spread(list(heights.values()), LINE)
    return Curve(
        points=points,
        path=_path([(point.x, point.y) for point in points]),
        band=_path([(p.x, p.high) for p in points] + [(p.x, p.low) for p in reversed(points)]) + " Z",
        across=[(across(mark), _short(mark)) for mark in decades(10**first, 10**last)],
        upward=[(upward(mark), tick(mark, unit)) for mark in scale.ticks],
        lines=[
            Line(name, heights[name], label, number(level, unit))
            for (name, level), label in zip(known.items(), labels, strict=True)
        ],
        breach=None if breach is None else across(breach),
    )


def decades(low: float, high: float) -> list[float]:
    """Give the powers of ten between two positive numbers, where these are few 1, 2 and 5 times them, or the ends."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        ticks = [factor * 10.0**power for power in powers for factor in factors]
        inside = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) >= 2:
            return inside
    return [low, high]


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move labels apart until no two are nearer than `gap`, in their order and around their common middle."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    groups: list[list[float]] = []  # each: how many labels, and the middle of what they want
    for place in order:
        groups.append([1, heights[place]])
        while len(groups) > 1 and groups[-1][1] - groups[-2][1] < gap * (groups[-1][0] + groups[-2][0]) / 2 - 1e-9:
            (count_below, below), (count_above, above) = groups.pop(-2), groups.pop()
            total = count_below + count_above
            groups.append([total, (count_below * below + count_above * above) / total])
    placed = [middle + gap * (place - (size - 1) / 2) for size, middle in groups for place in range(int(size))]
    moved = [0.0] * len(heights)
    for place, height in zip(order, placed, strict=True):
        moved[place] = round(height, 1)
    return moved


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M " + " L ".join(f"{x:g} {y:g}" for x, y in places)


def _short(tick: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if tick >= size:
            return f"{tick / size:g}{letter}"
    return f"{tick:g}"
