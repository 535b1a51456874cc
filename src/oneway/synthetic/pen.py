"""Smooth outlines, and the pen that paints them.

Shapes are given around the middle of an upright head, x to the right and y down, in shares of the picture's
side; only the last step knows pixels, so that one path draws every size.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import aggdraw
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[float, float, float]

CENTRE, SCALE = (0.5, 0.515), 1.16
ACROSS = np.linspace(-1, 1, 17)
CIRCLE = np.stack([np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)], 1)

_NO_RIM = aggdraw.Pen((0, 0, 0), 0, 0)  # without a pen, aggdraw lets shapes grow by a quarter of a pixel
_SAG = 1 - ACROSS**2
_TAPER = np.sqrt(np.cos(1.52 * ACROSS))[:, None]
_LEFTWARDS = np.array([-1.0, 1.0])
_CATMULL_ROM = (np.arange(6)[:, None] / 6) ** np.arange(4) @ (
    0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
)


def mix(first: Colour, second: Colour, weight: float) -> Colour:
    """Return the colour that goes the share `weight` of the way from `first` to `second`."""
    (a, b, c), (x, y, z) = first, second
    return a + (x - a) * weight, b + (y - b) * weight, c + (z - c) * weight


def disc(centre: Point, radii: Point | float) -> Points:
    """Sample an ellipse of two `radii`, or a circle of one."""
    return np.asarray(CIRCLE * radii + centre)


def bow(left: Point, right: Point, sag: float = 0.0) -> Points:
    """Sample a line from `left` to `right` that hangs down by `sag` half way."""
    points = np.empty((len(ACROSS), 2))
    points[:, 0] = (left[0] + right[0]) / 2 + ACROSS * ((right[0] - left[0]) / 2)
    points[:, 1] = (left[1] + right[1]) / 2 + ACROSS * ((right[1] - left[1]) / 2) + _SAG * sag
    return points


def closed(*knots: Point) -> Points:
    """Sample a smooth outline through all knots."""
    around = np.array([knots[-1], *knots, *knots[:2]], float)
    windows = np.arange(len(knots))[:, None] + np.arange(4)
    return np.asarray(_CATMULL_ROM @ around[windows]).reshape(-1, 2)


def mirrored(*right: Point) -> Points:
    """Sample a smooth outline given by its right half, from the middle line's top to its bottom."""
    return closed(*right, *((-x, y) for x, y in right[-2:0:-1]))


class Pen:
    """Takes down shapes in their order and paints them all at once, which is fast."""

    def __init__(self) -> None:
        self._points: list[Points] = []
        self._lines: list[tuple[int, Points, float]] = []
        self._fills: list[tuple[int, float, Colour, float, tuple[aggdraw.Pen, ...]]] = []

    def fill(self, points: Points, colour: Colour, opacity: float = 1.0, depth: float = 0.0) -> None:
        """Fill a polygon; one of more `depth` before the skull's edge shifts more as the head turns."""
        self._points.append(points)
        self._fills.append((len(points), depth, colour, opacity, (_NO_RIM,)))

    def soft(
        self,
        points: Points,
        edge: Colour,
        middle: Colour,
        focus: Point,
        steps: int = 8,
        opacity: float = 1.0,
        depth: float = 0.0,
    ) -> None:
        """Fill a polygon with a gradient from its `edge` to `middle` at a `focus` that sees all of it."""
        self.fill(points, edge, opacity, depth)
        shares = 0.9 * np.arange(1, steps) / steps
        inside = points + (focus - points) * shares[:, None, None]
        self._points.append(inside.reshape(-1, 2))
        for step in range(1, steps):  # a rim does no harm in here, and to leave it is three times as fast
            self._fills.append((len(points), depth, mix(edge, middle, step / (steps - 1)), opacity, ()))

    def stroke(self, line: Points, width: float, colour: Colour, opacity: float = 1.0, depth: float = 0.0) -> None:
        """Draw a line of 17 points that is `width` thick half way and thins out at both ends."""
        # All lines get their width at once when they are painted; here is only their place among the shapes.
        self._lines.append((len(self._points), line, width))
        self.fill(np.concatenate([line, line[::-1]]), colour, opacity, depth)

    def paint(self, size: int, pose: Mapping[str, float]) -> NDArray[np.uint8]:
        """Return the picture of all shapes in a shot's pose: turn, nod, tilt, scale, x and y."""
        self._widen()
        counts = [count for count, *_ in self._fills]
        depth = np.repeat([depth for _, depth, *_ in self._fills], counts)
        # Each coordinate by itself, since numpy is slow along an axis of two.
        x, y = np.concatenate(self._points).T.copy()
        bulge = 0.05 * depth * (np.maximum(1 - (3.6 * x) ** 2, 0) * np.maximum(1 - (2.8 * y) ** 2, 0))
        head = np.stack([x + bulge * pose["turn"], y + bulge * pose["nod"]])
        cosine, sine = np.array([np.cos(pose["tilt"]), np.sin(pose["tilt"])]) * SCALE * (1 + pose["scale"])
        head = np.array([[cosine, -sine], [sine, cosine]]) @ head
        head += np.array(CENTRE)[:, None]
        head += np.array([pose["x"], pose["y"]])[:, None]
        pixels, ends = (head * size).T.ravel().tolist(), accumulate(2 * count for count in counts)
        canvas, start = aggdraw.Draw("RGB", (size, size)), 0
        for end, (_, _, (red, green, blue), opacity, rim) in zip(ends, self._fills, strict=True):
            brush = aggdraw.Brush((int(red), int(green), int(blue)), round(255 * opacity))
            canvas.polygon(pixels[start:end], *rim, brush)
            start = end
        return np.frombuffer(canvas.tobytes(), np.uint8).reshape(size, size, 3)

    def _widen(self) -> None:
        if not self._lines:
            return
        places, lines, widths = zip(*self._lines, strict=True)
        line = np.stack(lines)
        along = line - np.concatenate([2 * line[:, :1] - line[:, 1:2], line[:, :-1]], 1)
        across = along[..., ::-1] * _LEFTWARDS / np.hypot(along[..., :1], along[..., 1:])
        across *= np.array(widths)[:, None, None] / 2 * _TAPER
        for place, outline in zip(places, np.concatenate([line + across, (line - across)[:, ::-1]], 1), strict=True):
            self._points[place] = outline
