"""What a drawn person wears: glasses and a hat."""

from __future__ import annotations

import numpy as np

from oneway.synthetic.look import DARK, WHITE, Look
from oneway.synthetic.pen import CIRCLE, Pen, bow, disc, mirrored, mix


def glasses(look: Look, pen: Pen) -> None:
    """Draw the glasses of who wears some."""
    if "Eyeglasses" not in look.names:
        return
    x, y, colour, roundness = look.person["eye_x"], look.person["eye_y"], look.frame, look.frame_roundness
    lens = np.sign(CIRCLE) * np.abs(CIRCLE) ** (0.45 + 0.55 * roundness)
    lens = np.concatenate([lens, lens[:1]]) * (0.079, 0.056 + 0.01 * roundness)
    for side in (-1, 1):
        middle = (side * (x + 0.002), y + 0.008)
        pen.fill(lens + middle, WHITE, 0.16, 1.25)
        pen.fill(np.concatenate([lens, lens[::-1] * (0.80, 0.74)]) + middle, colour, 1.0, 1.25)
        pen.stroke(bow((side * (x + 0.074), y), (side * look.width, y - 0.004)), 0.014, colour, 1.0, 0.8)
    pen.stroke(bow((0.066 - x, y + 0.004), (x - 0.066, y + 0.004), -0.012), 0.016, colour, 1.0, 1.25)


def hat(look: Look, pen: Pen) -> None:
    """Draw the hat of who wears one."""
    if "Wearing_Hat" not in look.names:
        return
    width, top, style = look.width + 0.035, -look.person["top"] - 0.085, look.shot["hat"]
    rim = look.brow_y - 0.05  # just above the brows
    dark, pale = mix(look.hat, DARK, 0.45), mix(look.hat, WHITE, 0.25)
    dome = mirrored((0, top), (0.62 * width, top + 0.03), (0.98 * width, -0.2), (width, rim), (0, rim - 0.02))
    pen.soft(dome, dark, mix(look.hat, WHITE, 0.12), (0.1 * look.side, -0.24), 10)
    if style < 0.4:  # knitted, with a turned-up edge and a bobble
        edge = mirrored((0, rim - 0.06), (width + 0.008, rim - 0.035), (width + 0.006, rim + 0.02), (0, rim))
        pen.fill(edge, pale)
        pen.fill(disc((0, top), (0.045, 0.042)), pale)
    else:  # a ribbon, then a brim that is short or long
        ribbon = mirrored((0, rim - 0.07), (width, rim - 0.06), (width, rim - 0.02), (0, rim - 0.03))
        pen.fill(ribbon, mix(look.hat, DARK, 0.75))
        pen.fill(disc((0, rim - 0.015), (width + 0.2 * (style - 0.4), 0.03)), dark)
