"""The drawing of a face: every part of it is a layer, from the background to the hat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.synthetic.look import DARK, WHITE, Look, hue
from oneway.synthetic.pen import ACROSS, Pen, Points, bow, closed, disc, mirrored, mix
from oneway.synthetic.worn import glasses, hat

if TYPE_CHECKING:
    from oneway.synthetic.faces import Face

_CROWN = np.array([0.0, -0.03])  # what hair stands off from


def draw(face: Face, size: int) -> NDArray[np.uint8]:
    """Draw `face` as RGB in 0..255 of shape (size, size, 3), for any `size` of 16 pixels or more."""
    if size < 16:
        raise InputError(f"size must be 16 pixels or more, not {size}; draw larger and scale down")
    look, pen = Look(face), Pen()
    behind = (_background, _hair_behind, _body)
    features = (_head, _cheeks, _nose, _beard, _mouth, _eyes)
    for layer in (*behind, *features, _hair_front, _brows, glasses, hat):
        layer(look, pen)
    return _lit(pen.paint(size, face.shot), face.shot)


def _waved(look: Look, points: Points) -> Points:
    """Push the outline of hair in and out if it is wavy."""
    if "Wavy_Hair" not in look.names:
        return points
    push = 1.02 + 0.045 * np.sin(1.2 * np.arange(len(points)))
    return np.asarray(push[:, None] * (points - _CROWN) + _CROWN)


def _background(look: Look, pen: Pen) -> None:
    tint, turn, light = look.shot["hue"], look.shot["angle"], 0.46 + 0.4 * look.shot["tone"]
    near, far = hue(tint, light, 0.3), hue(tint + 0.2 * turn - 0.1, light - 0.16, 0.3)
    angle = 2 * np.pi * turn
    pen.soft(disc((0, 0), 1.3), far, near, (0.5 * np.cos(angle), 0.4 * np.sin(angle)), 12)
    for further, radius in ((0.0, 0.19), (2.0, 0.13), (4.2, 0.24)):
        around = 2 * np.pi * look.shot["bubbles"] + further
        pen.fill(disc((0.38 * np.cos(around), 0.36 * np.sin(around)), radius), WHITE, 0.1)


def _hair_behind(look: Look, pen: Pen) -> None:
    width, top, end = look.width, look.person["top"], look.hair_end
    more = 0.022 if "Wearing_Hat" in look.names else look.volume
    outline = mirrored(
        (0, -top - more),
        (0.62 * width + 0.6 * more, -0.88 * top - 0.8 * more),
        (width + more, -0.42 * top),
        (width + 1.05 * more, 0.3 * end),
        (width + 1.1 * more, 0.8 * end),
        (0.8 * width, end),
        (0, end),
    )
    if "Bald" not in look.names:
        pen.fill(_waved(look, outline), mix(look.hair, DARK, 0.4))


def _body(look: Look, pen: Pen) -> None:
    neck, chin, cloth = 0.56 * look.width, look.person["chin_y"], look.cloth
    body = mirrored((0, 0.375), (neck, 0.352), (0.27, 0.395), (0.42, 0.50), (0.46, 0.8), (0, 0.9))
    throat = mirrored((0, 0.1), (neck, 0.14), (0.94 * neck, 0.31), (1.14 * neck, 0.38), (0, 0.445))
    pen.soft(body, mix(cloth, DARK, 0.3), cloth, (0, 0.5))
    shadow = mirrored((0, 0.1), (neck, 0.14), (0.95 * neck, chin - 0.01), (0, chin + 0.06))
    pen.fill(throat, look.flushed(0.14))
    pen.fill(shadow, look.flushed(0.4))
    pen.stroke(bow((-1.2 * neck, 0.362), (1.2 * neck, 0.362), 0.086), 0.026, mix(cloth, WHITE, 0.3))


def _head(look: Look, pen: Pen) -> None:
    person, width, top, chin = look.person, look.width, look.person["top"], look.person["chin_y"]
    low = chin + 0.012 * ("Mouth_Slightly_Open" in look.names)
    for side in (-1, 1):
        ear = (side * (width + 0.01) - 0.009 * look.shot["turn"], 0.015)
        outline = disc(ear, (0.62 * person["ear"], person["ear"]))
        pen.soft(outline, look.flushed(0.14), look.flushed(0.42), ear, 4)
    outline = mirrored(
        (0, -top),
        (0.62 * width, -0.9 * top),
        (0.97 * width, -0.45 * top),
        (width, 0.01),
        ((0.45 + 0.55 * person["jaw"]) * width, 0.5 * chin),
        (0.93 * person["jaw"] * width, 0.76 * chin),
        (person["chin"] * width, 0.965 * low),
        (0, low),
    )
    bright, focus = mix(look.skin, (255, 240, 214), 0.16), (0.55 * look.side * width, -0.06)
    pen.soft(outline, look.flushed(0.17 + 0.1 * abs(look.side)), bright, focus, 12)
    if "5_o_Clock_Shadow" in look.names:
        jaw, over = outline[outline[:, 1] > 0.07], bow((-0.95 * width, 0.07), (0.95 * width, 0.07), 0.055)
        pen.fill(np.concatenate([jaw, over]), (62, 62, 74), 0.28)


def _cheeks(look: Look, pen: Pen) -> None:
    rosy, smiles = "Rosy_Cheeks" in look.names, "Smiling" in look.names
    blush = mix(look.skin, (236, 60, 80), 0.8 if rosy else 0.4)
    for side in (-1, 1):
        cheek = (side * 0.6 * look.width, 0.085 - 0.012 * smiles)
        pen.soft(disc(cheek, (0.064, 0.05)), blush, blush, cheek, 6, 0.17 if rosy else 0.03, 0.6)
        if smiles:
            fold = bow((side * 0.052, 0.088), (side * 0.1, 0.16), -0.012)
            pen.stroke(fold, 0.012, look.flushed(0.6), 0.5, 1.0)
    spots = []
    if look.person["mole"] < 0.3:
        spots += [(0.26 * look.person["mole_x"] - 0.13, 0.07 + 0.4 * look.person["mole"], 0.0085)]
    if look.person["freckles"] > 0.85:
        spots += [(x, 0.052 + 0.016 * np.sin(90 * x), 0.0055) for x in np.linspace(-0.11, 0.11, 9)]
    for x, y, radius in spots:
        pen.fill(disc((x, y), radius), mix(look.skin, (84, 40, 26), 0.7), 0.85, 0.9)


def _nose(look: Look, pen: Pen) -> None:
    big, tip = "Big_Nose" in look.names, look.person["nose_y"]
    width, bridge = look.person["nose_width"] * (1.9 if big else 1.0), 0.024 if big else 0.011
    nose = mirrored(
        (0, -0.03),
        (bridge, 0.0),
        (0.55 * width, 0.66 * tip),
        (width, 0.97 * tip),
        (0.5 * width, tip + 0.013),
        (0, tip + 0.018),
    )
    bright, focus = mix(look.skin, (255, 236, 214), 0.24), (0.25 * look.side * width, 0.82 * tip)
    pen.fill(nose + np.array([-0.01 * np.sign(look.side), 0.004]), look.flushed(0.34), 0.7, 1.5)
    pen.soft(nose, look.flushed(0.34 if big else 0.15), bright, focus, depth=1.6)
    under = bow((-width, tip), (width, tip), 0.019)
    pen.stroke(under, 0.018 if big else 0.01, mix(look.skin, (70, 16, 18), 0.7), 0.9, 1.6)


def _beard(look: Look, pen: Pen) -> None:
    lip, width, chin = look.person["mouth_y"], look.person["mouth_width"], look.person["chin_y"]
    wide, colour = (0.75 + 0.3 * look.person["beard"]) * width, mix(look.hair, DARK, 0.15)
    if "Mustache" in look.names:
        hairs = mirrored(
            (0, lip - 0.058),
            (0.5 * width, lip - 0.056),
            (1.1 * width, lip - 0.006),
            (width, lip + 0.018),
            (0.45 * width, lip - 0.008),
            (0, lip - 0.01),
        )
        pen.fill(hairs, colour, 0.96, 1.1)
    if "Goatee" in look.names:
        hairs = mirrored(
            (0, lip + 0.03),
            (0.5 * width, lip + 0.03),
            (wide, lip + 0.07),
            (0.5 * width, chin + 0.008),
            (0, chin + 0.026),
        )
        pen.fill(hairs, colour, 0.96, 0.6)


def _mouth(look: Look, pen: Pen) -> None:
    smiles, parted = "Smiling" in look.names, "Mouth_Slightly_Open" in look.names
    person, shot = look.person, look.shot
    smile = 0.03 + 0.016 * shot["smile"] if smiles else 0.009 * shot["smile"] - 0.003
    gap = 0.03 + 0.018 * shot["open"] if parted else 0.0
    lip = person["lip"] * (2.3 if "Big_Lips" in look.names else 1.0)
    x, arch = ACROSS * person["mouth_width"] * (1.12 if smiles else 0.98), np.sqrt(1 - ACROSS**2)
    middle = person["mouth_y"] + smile * (0.55 - ACROSS**2)
    above, below, full = middle - 0.3 * gap * arch**2, middle + 0.7 * gap * arch**2, lip * arch**1.4
    upper_lip = full * (1 - 0.3 * np.exp(-((ACROSS / 0.16) ** 2)))
    teeth = np.minimum(above + 0.42 * gap * arch, below)
    lips, throat = (above - upper_lip, below + 1.25 * full, look.lips), (above, below, (84.0, 22.0, 30.0))
    for upper, lower, shade in (lips, throat, (above, teeth, WHITE)):
        edge = np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]])
        pen.fill(edge, shade, 1.0, 1.1)
    if not parted:
        pen.stroke(np.stack([x, middle], 1), 0.011, mix(look.lips, (60, 12, 20), 0.62), 1.0, 1.1)
    shine = disc((0, float(below[8]) + 0.65 * lip), (0.4 * person["mouth_width"], 0.3 * lip))
    pen.fill(shine, WHITE, 0.16, 1.1)


def _eyes(look: Look, pen: Pen) -> None:
    person, wide, iris, slant = look.person, look.person["eye_width"], look.person["iris"], look.person["slant"]
    squint = (0.36 if "Narrow_Eyes" in look.names else 1.0) * (0.88 if "Smiling" in look.names else 1.0)
    high, gaze = person["eye_height"] * squint, 0.016 * (look.shot["gaze"] - 0.5)
    rounds = (
        ((0.0, 0.0), wide, WHITE),
        ((gaze, 0.0), iris, look.iris),
        ((gaze, 0.0), 0.5 * iris, (18.0, 14.0, 18.0)),
        ((gaze + 0.007, -0.008), 0.0065, WHITE),
    )
    x, y = np.stack([disc(centre, radius) for centre, radius, _ in rounds]).transpose(2, 0, 1)
    lid = high * np.maximum(1 - (x / wide) ** 2, 0) ** 0.8
    y = y.clip(-lid, 0.85 * lid)
    for side in (-1, 1):
        eye = (side * person["eye_x"], person["eye_y"])
        pen.fill(disc(eye, (1.2 * wide, 1.5 * person["eye_height"])), look.flushed(0.5), 0.2, 1.0)
        for outline, (_, _, colour) in zip(np.stack([x, y - slant * side * x], 2) + eye, rounds, strict=True):
            pen.fill(outline, colour, 1.0, 1.0)
        ends = (eye[0] - side * wide, eye[1] + slant * wide), (eye[0] + side * wide, eye[1] - slant * wide)
        pen.stroke(bow(*ends, -high), 0.011 + 0.010 * person["lashes"], DARK, 1.0, 1.0)


def _brows(look: Look, pen: Pen) -> None:
    person, thick = look.person, 0.036 if "Bushy_Eyebrows" in look.names else look.person["brow"]
    high = look.brow_y - 0.01 * look.shot["lift"]
    for side in (-1, 1):
        inner, outer = side * (person["eye_x"] - 0.053), side * (person["eye_x"] + 0.061)
        hairs = bow((inner, high + 0.008), (outer, high + 0.012), -0.01 - person["arch"])
        pen.stroke(hairs, thick, mix(look.hair, DARK, 0.65), 0.95, 1.0)


def _hair_front(look: Look, pen: Pen) -> None:
    person, width, more, top = look.person, look.width, look.volume, look.person["top"]
    if "Bald" in look.names:
        return
    end = look.hair_end if look.hair_end > 0.12 else 0.02
    for side in (-width, width):  # beside the face, and over the ears if it is long
        out = side * (1 + 0.9 * more / width)
        lock = closed(
            (0.72 * side, -0.2),
            (out, -0.12),
            (1.02 * out, 0.6 * end),
            (1.03 * side, end),
            (0.92 * side, 0.5 * end),
            (0.86 * side, -0.06),
        )
        pen.fill(_waved(look, lock), look.hair)
    if "Wearing_Hat" in look.names:
        return
    part, line = 0.9 * width * (2 * person["part"] - 1), -person["hairline"] - 0.012
    crown = (
        (width + 0.2 * more, -0.05),
        (width + 0.8 * more, -0.12),
        (0.8 * width + 0.7 * more, -0.72 * top - 0.5 * more),
        (0.42 * width + 0.4 * more, -0.96 * top - 0.9 * more),
    )
    edge = [(x * width, line + 0.9 * (x * width - part) ** 2) for x in (0.62, 0.3, 0.0, -0.3, -0.62)]
    cap = closed(
        *((-x, y) for x, y in crown),
        (0, -top - more),
        *crown[::-1],
        (0.88 * width, -0.08),
        *edge,
        (-0.88 * width, -0.08),
    )
    pen.fill(_waved(look, cap), look.hair, 1.0, 0.35)
    if "Bangs" in look.names:
        low = look.brow_y - 0.025
        bangs = mirrored(
            (0, line - 0.05), (0.5 * width, line - 0.04), (0.93 * width, -0.09), (0.8 * width, low), (0, low - 0.01)
        )
        pen.fill(bangs, mix(look.hair, DARK, 0.07), 1.0, 0.5)
        for x in (-0.12, -0.045, 0.045, 0.12):
            strand = bow((0.6 * x, line - 0.04), (x, low - 0.01))
            pen.stroke(strand, 0.007, mix(look.hair, DARK, 0.4), 0.7, 0.5)
    for reach in (0.9, 0.78):
        high = 0.03 - reach * (top + more)
        shine = _waved(look, bow((-0.55 * width, high), (0.55 * width, high), -0.03))
        pen.stroke(shine, 0.02, mix(look.hair, (255, 236, 206), 0.32), 0.9 * reach - 0.4, 0.3)


def _lit(picture: NDArray[np.uint8], shot: Mapping[str, float]) -> NDArray[np.uint8]:
    """Brighten the whole picture to one side and give it the light's own colour."""
    line = np.linspace(-1, 1, len(picture), dtype=np.float32)[:, None]
    slope = 1 + (0.32 * shot["light"] - 0.16) * line - 0.05 * line[:, None]
    tint = np.array([0.95 + 0.1 * shot["warmth"], 1, 1.05 - 0.1 * shot["warmth"]], np.float32)
    lit = picture * (slope * tint)
    lit += np.float32(0.5)
    return np.minimum(lit, 255, out=lit).astype(np.uint8)
