"""Drawn faces: people who do not exist, with a true label for every attribute that is drawn.

Shapes are given around the middle of an upright head, x to the right and y down, in shares of the picture's
side; only the last step knows pixels, so that one path draws every size.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass

import aggdraw
import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError

# fmt: off
Points = NDArray[np.float64]
Point = tuple[float, float]
Colour = tuple[float, float, float]

ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow", "Bald", "Bangs", "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Brown_Hair",
    "Bushy_Eyebrows", "Eyeglasses", "Goatee", "Gray_Hair", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes",
    "Pale_Skin", "Rosy_Cheeks", "Smiling", "Wavy_Hair", "Wearing_Hat", "Wearing_Lipstick")

# How often a person has the trait for life; two manners of looking make traits go together, as in the world.
_TRAITS = {
    "5_o_Clock_Shadow": (0.0, 0.26), "Bald": (0.01, 0.17), "Bangs": (0.34, 0.14), "Big_Lips": (0.30, 0.14),
    "Big_Nose": (0.14, 0.32), "Bushy_Eyebrows": (0.09, 0.32), "Goatee": (0.0, 0.22), "Mustache": (0.0, 0.24),
    "Narrow_Eyes": (0.15, 0.15), "Pale_Skin": (0.13, 0.11), "Rosy_Cheeks": (0.26, 0.06),
    "Wavy_Hair": (0.40, 0.30)}
# Share of heads, darkest shade and lightest shade. Red hair has no attribute.
_HAIR: dict[str, tuple[float, Colour, Colour]] = {
    "Black_Hair": (0.30, (24, 22, 28), (50, 43, 46)), "Brown_Hair": (0.27, (84, 52, 34), (132, 86, 54)),
    "Blond_Hair": (0.19, (205, 158, 84), (240, 210, 140)), "Red_Hair": (0.11, (146, 54, 26), (200, 92, 44)),
    "Gray_Hair": (0.13, (140, 142, 150), (208, 210, 216))}
# Mean and deviation over people of every length and ratio; deviates are cut at two.
_GEOMETRY = {
    "width": (0.212, 0.013), "top": (0.262, 0.010), "chin_y": (0.268, 0.015), "jaw": (0.78, 0.08),
    "chin": (0.42, 0.09), "ear": (0.046, 0.008), "eye_x": (0.093, 0.009), "eye_y": (-0.018, 0.011),
    "eye_width": (0.045, 0.0045), "eye_height": (0.027, 0.003), "slant": (0.04, 0.12), "iris": (0.02, 0.002),
    "brow": (0.017, 0.0025), "arch": (0.014, 0.009), "brow_gap": (0.058, 0.008), "nose_y": (0.082, 0.012),
    "nose_width": (0.034, 0.004), "mouth_y": (0.163, 0.011), "mouth_width": (0.072, 0.009),
    "lip": (0.0150, 0.0018), "volume": (0.040, 0.015), "hairline": (0.172, 0.016)}
# Even choices between 0 and 1: for life, then for one shot; and the deviations of a shot's pose.
_CHOICES = ("skin", "shade", "length", "part", "eye_colour", "lipstick", "frame", "mole", "mole_x",
            "freckles", "lashes", "beard")
_MOODS = ("smile", "open", "gaze", "lift", "hue", "angle", "tone", "bubbles", "cloth", "bright", "hat",
          "hat_hue", "light", "warmth")
_POSE = {"x": 0.014, "y": 0.010, "tilt": 0.06, "scale": 0.028, "turn": 0.5, "nod": 0.4}

_SKINS: tuple[Colour, ...] = (
    (246, 205, 172), (236, 186, 148), (217, 160, 118), (184, 126, 88), (142, 92, 64), (102, 66, 48))
_IRISES: tuple[Colour, ...] = ((74, 46, 32), (122, 80, 40), (62, 104, 150), (82, 124, 78), (112, 124, 136))
_LIPSTICKS: tuple[Colour, ...] = ((200, 30, 52), (214, 56, 112), (152, 26, 72), (226, 74, 64))
_FRAMES: tuple[Colour, ...] = ((30, 28, 34), (96, 42, 30), (34, 52, 96), (150, 34, 48))
_WHITE, _DARK, _BLOOD = (255.0, 252.0, 248.0), (46.0, 26.0, 30.0), (116.0, 40.0, 40.0)
_CENTRE, _SCALE = np.array([0.5, 0.515]), 1.16
_NO_RIM = aggdraw.Pen((0, 0, 0), 0, 0)  # without a pen, aggdraw lets shapes grow by a quarter of a pixel
_CROWN = np.array([0.0, -0.03])  # what hair stands off from
_ACROSS = np.linspace(-1, 1, 17)
_CIRCLE = np.stack([np.cos(np.arange(24) * np.pi / 12), np.sin(np.arange(24) * np.pi / 12)], 1)
_CATMULL_ROM = (np.arange(6)[:, None] / 6) ** np.arange(4) @ (
    0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]))

LANDMARKS: tuple[Point, ...] = tuple(
    (float(_CENTRE[0] + side * _SCALE * _GEOMETRY[x][0]), float(_CENTRE[1] + _SCALE * _GEOMETRY[y][0]))
    for side, x, y in ((-1, "eye_x", "eye_y"), (1, "eye_x", "eye_y"), (0, "nose_width", "nose_y"),
                       (-1, "mouth_width", "mouth_y"), (1, "mouth_width", "mouth_y")))


@dataclass(frozen=True)
class Face:
    """One shot of one drawn person, all that is needed to draw it.

    `attributes` are the names that are true, `person` the numbers of a life, `shot` those of this shot.
    """

    attributes: frozenset[str]
    person: Mapping[str, float]
    shot: Mapping[str, float]

    def labels(self) -> NDArray[np.bool_]:
        """Return the truth of every one of `ATTRIBUTES`, in their order, shape (21,)."""
        return np.array([name in self.attributes for name in ATTRIBUTES])


def sample(seed: int, identity: int, shot: int) -> Face:
    """Return shot number `shot` of person number `identity` of the world `seed`, each 0 or more."""
    for name, value in (("seed", seed), ("identity", identity), ("shot", shot)):
        if value < 0:
            raise InputError(f"{name} must be 0 or more, not {value}; count from 0")
    life = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(identity,)))
    manner = int(life.random() < 0.47)
    names = {name for name, odds in _TRAITS.items() if life.random() < odds[manner]}
    hair = str(life.choice(list(_HAIR), p=[share for share, _, _ in _HAIR.values()]))
    glasses, hats, lipstick = life.random(3) < (0.20, 0.22, (0.66, 0.02)[manner])
    means, spreads = np.array(list(_GEOMETRY.values())).T
    lengths = means + spreads * np.clip(life.standard_normal(len(means)), -2, 2)
    person = dict(zip(_GEOMETRY, lengths.tolist(), strict=True))
    person |= dict(zip(_CHOICES, life.random(len(_CHOICES)).tolist(), strict=True))
    person["length"] = 0.5 * person["length"] ** 2 if manner else 0.25 + 0.75 * person["length"]

    moment = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(identity, shot)))
    mood = dict(zip(_MOODS, moment.random(len(_MOODS)).tolist(), strict=True))
    pose = np.clip(moment.standard_normal(len(_POSE)), -2, 2) * list(_POSE.values())
    chances = {"Smiling": 0.48, "Eyeglasses": 0.8 if glasses else 0.01, "Wearing_Hat": 0.33 if hats else 0.02,
               "Wearing_Lipstick": 0.82 if lipstick else 0.01}
    names |= {name for name, odds in chances.items() if moment.random() < odds}
    if moment.random() < (0.58 if "Smiling" in names else 0.24):
        names.add("Mouth_Slightly_Open")
    names |= {hair} & set(ATTRIBUTES)
    if "Bald" in names:
        names -= {"Wavy_Hair", "Bangs", hair}
    if "Wearing_Hat" in names:
        names.discard("Bangs")  # the hat holds them back
    return Face(frozenset(names), person, mood | dict(zip(_POSE, pose.tolist(), strict=True)))


def draw(face: Face, size: int) -> NDArray[np.uint8]:
    """Draw `face` as RGB in 0..255 of shape (size, size, 3), for any `size` of 16 pixels or more."""
    if size < 16:
        raise InputError(f"size must be 16 pixels or more, not {size}; draw larger and scale down")
    pen = _Pen(face)
    for layer in (_background, _hair_behind, _body, _head, _cheeks, _nose, _beard, _mouth, _eyes, _hair_front,
                  _brows, _glasses, _hat):
        layer(pen)
    return _lit(pen.paint(size), face.shot)


class _Pen:
    """Knows the face, takes down shapes in their order and paints them all at once, which is fast."""

    def __init__(self, face: Face):
        self.names, self.person, self.shot = face.attributes, face.person, face.shot
        self.width, self.side = face.person["width"], 2 * face.shot["light"] - 1
        tone, between = divmod(face.person["skin"] * (len(_SKINS) - 1), 1)
        self.skin = _mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], between)
        if "Pale_Skin" in self.names:
            self.skin = _mix((255, 240, 232), (250, 226, 214), face.person["skin"])
        unnamed = _HAIR["Brown_Hair" if "Bald" in self.names else "Red_Hair"]  # a bald head still has brows
        _, dark, light = next((_HAIR[name] for name in _HAIR if name in self.names), unnamed)
        self.hair = _mix(dark, light, face.person["shade"])
        self.hair_end = 0.43 * face.person["length"]
        self.volume = face.person["volume"] + 0.02 * ("Wavy_Hair" in self.names)
        self.shapes: list[tuple[Points, float, Colour, float, tuple[aggdraw.Pen, ...]]] = []

    def flushed(self, weight: float) -> Colour:
        return _mix(self.skin, _BLOOD, weight)

    def fill(self, points: Points, colour: Colour, opacity: float = 1.0, depth: float = 0.0) -> None:
        """Fill a polygon; one of more `depth` before the skull's edge shifts more as the head turns."""
        self.shapes.append((points, depth, colour, opacity, (_NO_RIM,)))

    def soft(self, points: Points, edge: Colour, middle: Colour, focus: Point, steps: int = 8,
             opacity: float = 1.0, depth: float = 0.0) -> None:
        """Fill a polygon with a gradient from its `edge` to `middle` at a `focus` that sees all of it."""
        self.fill(points, edge, opacity, depth)
        for step in range(1, steps):  # a rim does no harm in here, and to leave it is three times as fast
            inside = points + (focus - points) * (0.9 * step / steps)
            self.shapes.append((inside, depth, _mix(edge, middle, step / (steps - 1)), opacity, ()))

    def stroke(self, line: Points, width: float, colour: Colour, opacity: float = 1.0,
               depth: float = 0.0) -> None:
        """Draw a line of 17 points that is `width` thick half way and thins out at both ends."""
        along = np.diff(line, axis=0, prepend=2 * line[:1] - line[1:2])
        across = along[:, ::-1] * (-1, 1) / np.hypot(along[:, :1], along[:, 1:])
        across *= width / 2 * np.sqrt(np.cos(1.52 * _ACROSS))[:, None]
        self.fill(np.concatenate([line + across, (line - across)[::-1]]), colour, opacity, depth)

    def paint(self, size: int) -> NDArray[np.uint8]:
        """Return the picture of all shapes in the shot's pose."""
        shot, counts = self.shot, [len(points) for points, *_ in self.shapes]
        points = np.concatenate([points for points, *_ in self.shapes])
        depth = np.repeat([depth for _, depth, *_ in self.shapes], counts)
        bulge = 0.05 * depth * np.maximum(1 - (points * (3.6, 2.8)) ** 2, 0).prod(1)
        points += bulge[:, None] * (shot["turn"], shot["nod"])
        cosine, sine = np.array([np.cos(shot["tilt"]), np.sin(shot["tilt"])]) * _SCALE * (1 + shot["scale"])
        points = points @ np.array([[cosine, sine], [-sine, cosine]]) + _CENTRE + (shot["x"], shot["y"])
        pixels, canvas, start = (points * size).ravel().tolist(), aggdraw.Draw("RGB", (size, size)), 0
        for (_, _, (red, green, blue), opacity, rim), count in zip(self.shapes, counts, strict=True):
            brush = aggdraw.Brush((int(red), int(green), int(blue)), round(255 * opacity))
            canvas.polygon(pixels[start : start + 2 * count], *rim, brush)
            start += 2 * count
        return np.frombuffer(canvas.tobytes(), np.uint8).reshape(size, size, 3)


def _mix(first: Colour, second: Colour, weight: float) -> Colour:
    (a, b, c), (x, y, z) = first, second
    return a + (x - a) * weight, b + (y - b) * weight, c + (z - c) * weight


def _hue(hue: float, lightness: float, saturation: float) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return 255 * red, 255 * green, 255 * blue


def _disc(centre: Point, radii: Point) -> Points:
    return np.asarray(_CIRCLE * radii + centre)


def _bow(left: Point, right: Point, sag: float = 0.0) -> Points:
    """Sample a line from `left` to `right` that hangs down by `sag` half way."""
    middle, half = np.add(left, right) / 2, np.subtract(right, left) / 2
    return np.asarray(middle + _ACROSS[:, None] * half + (1 - _ACROSS[:, None] ** 2) * (0, sag))


def _closed(*knots: Point) -> Points:
    """Sample a smooth outline through all knots."""
    at = np.array([knots[-1], *knots, *knots[:2]], float)
    return np.asarray(_CATMULL_ROM @ np.stack([at[:-3], at[1:-2], at[2:-1], at[3:]], 1)).reshape(-1, 2)


def _mirrored(*right: Point) -> Points:
    """Sample a smooth outline given by its right half, from the middle line's top to its bottom."""
    return _closed(*right, *((-x, y) for x, y in right[-2:0:-1]))


def _waved(pen: _Pen, points: Points) -> Points:
    """Push the outline of hair in and out if it is wavy."""
    push = 1.02 + 0.045 * np.sin(1.2 * np.arange(len(points))) if "Wavy_Hair" in pen.names else np.ones(1)
    return np.asarray(push[:, None] * (points - _CROWN) + _CROWN)


def _background(pen: _Pen) -> None:
    hue, angle, light = pen.shot["hue"], 2 * np.pi * pen.shot["angle"], 0.46 + 0.4 * pen.shot["tone"]
    near, far = _hue(hue, light, 0.3), _hue(hue + 0.2 * pen.shot["angle"] - 0.1, light - 0.16, 0.3)
    pen.soft(_disc((0, 0), (1.3, 1.3)), far, near, (0.5 * np.cos(angle), 0.4 * np.sin(angle)), 12)
    for turn, radius in ((0.0, 0.19), (2.0, 0.13), (4.2, 0.24)):
        around = 2 * np.pi * pen.shot["bubbles"] + turn
        pen.fill(_disc((0.38 * np.cos(around), 0.36 * np.sin(around)), (radius, radius)), _WHITE, 0.1)


def _hair_behind(pen: _Pen) -> None:
    width, top, end = pen.width, pen.person["top"], pen.hair_end
    more = 0.022 if "Wearing_Hat" in pen.names else pen.volume
    outline = _mirrored(
        (0, -top - more), (0.62 * width + 0.6 * more, -0.88 * top - 0.8 * more), (width + more, -0.42 * top),
        (width + 1.05 * more, 0.3 * end), (width + 1.1 * more, 0.8 * end), (0.8 * width, end), (0, end))
    if "Bald" not in pen.names:
        pen.fill(_waved(pen, outline), _mix(pen.hair, _DARK, 0.4))


def _body(pen: _Pen) -> None:
    neck, chin = 0.56 * pen.width, pen.person["chin_y"]
    cloth = _hue(pen.shot["cloth"], 0.3 + 0.45 * pen.shot["bright"], 0.34)
    body = _mirrored((0, 0.375), (neck, 0.352), (0.27, 0.395), (0.42, 0.50), (0.46, 0.8), (0, 0.9))
    throat = _mirrored((0, 0.1), (neck, 0.14), (0.94 * neck, 0.31), (1.14 * neck, 0.38), (0, 0.445))
    pen.soft(body, _mix(cloth, _DARK, 0.3), cloth, (0, 0.5))
    shadow = _mirrored((0, 0.1), (neck, 0.14), (0.95 * neck, chin - 0.01), (0, chin + 0.06))
    pen.fill(throat, pen.flushed(0.14))
    pen.fill(shadow, pen.flushed(0.4))
    pen.stroke(_bow((-1.2 * neck, 0.362), (1.2 * neck, 0.362), 0.086), 0.026, _mix(cloth, _WHITE, 0.3))


def _head(pen: _Pen) -> None:
    person, width, top, chin = pen.person, pen.width, pen.person["top"], pen.person["chin_y"]
    low = chin + 0.012 * ("Mouth_Slightly_Open" in pen.names)
    for side in (-1, 1):
        ear = (side * (width + 0.01) - 0.009 * pen.shot["turn"], 0.015)
        outline = _disc(ear, (0.62 * person["ear"], person["ear"]))
        pen.soft(outline, pen.flushed(0.14), pen.flushed(0.42), ear, 4)
    outline = _mirrored(
        (0, -top), (0.62 * width, -0.9 * top), (0.97 * width, -0.45 * top), (width, 0.01),
        ((0.45 + 0.55 * person["jaw"]) * width, 0.5 * chin), (0.93 * person["jaw"] * width, 0.76 * chin),
        (person["chin"] * width, 0.965 * low), (0, low))
    bright, focus = _mix(pen.skin, (255, 240, 214), 0.16), (0.55 * pen.side * width, -0.06)
    pen.soft(outline, pen.flushed(0.17 + 0.1 * abs(pen.side)), bright, focus, 12)
    if "5_o_Clock_Shadow" in pen.names:
        jaw, over = outline[outline[:, 1] > 0.07], _bow((-0.95 * width, 0.07), (0.95 * width, 0.07), 0.055)
        pen.fill(np.concatenate([jaw, over]), (62, 62, 74), 0.28)


def _cheeks(pen: _Pen) -> None:
    rosy, smiles = "Rosy_Cheeks" in pen.names, "Smiling" in pen.names
    blush = _mix(pen.skin, (236, 60, 80), 0.8 if rosy else 0.4)
    for side in (-1, 1):
        cheek = (side * 0.6 * pen.width, 0.085 - 0.012 * smiles)
        pen.soft(_disc(cheek, (0.064, 0.05)), blush, blush, cheek, 6, 0.17 if rosy else 0.03, 0.6)
        if smiles:
            fold = _bow((side * 0.052, 0.088), (side * 0.1, 0.16), -0.012)
            pen.stroke(fold, 0.012, pen.flushed(0.6), 0.5, 1.0)
    spots = [(0.26 * pen.person["mole_x"] - 0.13, 0.07 + 0.4 * pen.person["mole"], 0.0085)]
    spots = spots if pen.person["mole"] < 0.3 else []
    if pen.person["freckles"] > 0.85:
        spots += [(x, 0.052 + 0.016 * np.sin(90 * x), 0.0055) for x in np.linspace(-0.11, 0.11, 9)]
    for x, y, radius in spots:
        pen.fill(_disc((x, y), (radius, radius)), _mix(pen.skin, (84, 40, 26), 0.7), 0.85, 0.9)


def _nose(pen: _Pen) -> None:
    big, tip = "Big_Nose" in pen.names, pen.person["nose_y"]
    width, bridge = pen.person["nose_width"] * (1.9 if big else 1.0), 0.024 if big else 0.011
    nose = _mirrored((0, -0.03), (bridge, 0.0), (0.55 * width, 0.66 * tip), (width, 0.97 * tip),
                     (0.5 * width, tip + 0.013), (0, tip + 0.018))
    bright, focus = _mix(pen.skin, (255, 236, 214), 0.24), (0.25 * pen.side * width, 0.82 * tip)
    pen.fill(nose + np.array([-0.01 * np.sign(pen.side), 0.004]), pen.flushed(0.34), 0.7, 1.5)
    pen.soft(nose, pen.flushed(0.34 if big else 0.15), bright, focus, depth=1.6)
    under = _bow((-width, tip), (width, tip), 0.019)
    pen.stroke(under, 0.018 if big else 0.01, _mix(pen.skin, (70, 16, 18), 0.7), 0.9, 1.6)


def _beard(pen: _Pen) -> None:
    lip, width, chin = pen.person["mouth_y"], pen.person["mouth_width"], pen.person["chin_y"]
    wide, colour = (0.75 + 0.3 * pen.person["beard"]) * width, _mix(pen.hair, _DARK, 0.15)
    if "Mustache" in pen.names:
        hairs = _mirrored((0, lip - 0.058), (0.5 * width, lip - 0.056), (1.1 * width, lip - 0.006),
                          (width, lip + 0.018), (0.45 * width, lip - 0.008), (0, lip - 0.01))
        pen.fill(hairs, colour, 0.96, 1.1)
    if "Goatee" in pen.names:
        hairs = _mirrored((0, lip + 0.03), (0.5 * width, lip + 0.03), (wide, lip + 0.07),
                          (0.5 * width, chin + 0.008), (0, chin + 0.026))
        pen.fill(hairs, colour, 0.96, 0.6)


def _mouth(pen: _Pen) -> None:
    smiles, parted = "Smiling" in pen.names, "Mouth_Slightly_Open" in pen.names
    person, shot = pen.person, pen.shot
    smile = 0.03 + 0.016 * shot["smile"] if smiles else 0.009 * shot["smile"] - 0.003
    gap = 0.03 + 0.018 * shot["open"] if parted else 0.0
    lip = person["lip"] * (2.3 if "Big_Lips" in pen.names else 1.0)
    painted, bare = _LIPSTICKS[int(4 * person["lipstick"])], _mix(pen.skin, (166, 44, 60), 0.5)
    colour = painted if "Wearing_Lipstick" in pen.names else bare
    x, arch = _ACROSS * person["mouth_width"] * (1.12 if smiles else 0.98), np.sqrt(1 - _ACROSS**2)
    middle = person["mouth_y"] + smile * (0.55 - _ACROSS**2)
    above, below, full = middle - 0.3 * gap * arch**2, middle + 0.7 * gap * arch**2, lip * arch**1.4
    bow = full * (1 - 0.3 * np.exp(-((_ACROSS / 0.16) ** 2)))
    teeth = np.minimum(above + 0.42 * gap * arch, below)
    lips, throat = (above - bow, below + 1.25 * full, colour), (above, below, (84.0, 22.0, 30.0))
    for upper, lower, shade in (lips, throat, (above, teeth, _WHITE)):
        edge = np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]])
        pen.fill(edge, shade, 1.0, 1.1)
    if not parted:
        pen.stroke(np.stack([x, middle], 1), 0.011, _mix(colour, (60, 12, 20), 0.62), 1.0, 1.1)
    shine = _disc((0, float(below[8]) + 0.65 * lip), (0.4 * person["mouth_width"], 0.3 * lip))
    pen.fill(shine, _WHITE, 0.16, 1.1)


def _eyes(pen: _Pen) -> None:
    person, wide, iris, slant = pen.person, pen.person["eye_width"], pen.person["iris"], pen.person["slant"]
    colour, look = _IRISES[int(5 * person["eye_colour"])], 0.016 * (pen.shot["gaze"] - 0.5)
    squint = (0.36 if "Narrow_Eyes" in pen.names else 1.0) * (0.88 if "Smiling" in pen.names else 1.0)
    high = person["eye_height"] * squint
    discs = ((0.0, 0.0, wide, _WHITE), (look, 0.0, iris, colour), (look, 0.0, 0.5 * iris, (18.0, 14.0, 18.0)),
             (look + 0.007, -0.008, 0.0065, _WHITE))
    for side in (-1, 1):
        eye = (side * person["eye_x"], person["eye_y"])
        pen.fill(_disc(eye, (1.2 * wide, 1.5 * person["eye_height"])), pen.flushed(0.5), 0.2, 1.0)
        for x, y, radius, shade in discs:
            disc = _disc((x, y), (radius, radius))
            lid = high * np.maximum(1 - (disc[:, 0] / wide) ** 2, 0) ** 0.8
            disc[:, 1] = disc[:, 1].clip(-lid, 0.85 * lid) - slant * side * disc[:, 0]
            pen.fill(disc + eye, shade, 1.0, 1.0)
        ends = (eye[0] - side * wide, eye[1] + slant * wide), (eye[0] + side * wide, eye[1] - slant * wide)
        lid = _bow(*ends, -high)
        pen.stroke(lid, 0.011 + 0.010 * person["lashes"], _DARK, 1.0, 1.0)


def _brows(pen: _Pen) -> None:
    person, thick = pen.person, 0.036 if "Bushy_Eyebrows" in pen.names else pen.person["brow"]
    high = person["eye_y"] - person["brow_gap"] - 0.01 * pen.shot["lift"]
    for side in (-1, 1):
        inner, outer = side * (person["eye_x"] - 0.053), side * (person["eye_x"] + 0.061)
        hairs = _bow((inner, high + 0.008), (outer, high + 0.012), -0.01 - person["arch"])
        pen.stroke(hairs, thick, _mix(pen.hair, _DARK, 0.65), 0.95, 1.0)


def _hair_front(pen: _Pen) -> None:
    person, width, more, top = pen.person, pen.width, pen.volume, pen.person["top"]
    if "Bald" in pen.names:
        return
    end = pen.hair_end if pen.hair_end > 0.12 else 0.02
    for side in (-width, width):  # beside the face, and over the ears if it is long
        out = side * (1 + 0.9 * more / width)
        lock = _closed((0.72 * side, -0.2), (out, -0.12), (1.02 * out, 0.6 * end), (1.03 * side, end),
                       (0.92 * side, 0.5 * end), (0.86 * side, -0.06))
        pen.fill(_waved(pen, lock), pen.hair)
    if "Wearing_Hat" in pen.names:
        return
    part, line = 0.9 * width * (2 * person["part"] - 1), -person["hairline"] - 0.012
    crown = ((width + 0.2 * more, -0.05), (width + 0.8 * more, -0.12),
             (0.8 * width + 0.7 * more, -0.72 * top - 0.5 * more),
             (0.42 * width + 0.4 * more, -0.96 * top - 0.9 * more))
    edge = [(x * width, line + 0.9 * (x * width - part) ** 2) for x in (0.62, 0.3, 0.0, -0.3, -0.62)]
    cap = _closed(*((-x, y) for x, y in crown), (0, -top - more), *crown[::-1],
                  (0.88 * width, -0.08), *edge, (-0.88 * width, -0.08))
    pen.fill(_waved(pen, cap), pen.hair, 1.0, 0.35)
    if "Bangs" in pen.names:
        low = person["eye_y"] - person["brow_gap"] - 0.025
        bangs = _mirrored((0, line - 0.05), (0.5 * width, line - 0.04), (0.93 * width, -0.09),
                          (0.8 * width, low), (0, low - 0.01))
        pen.fill(bangs, _mix(pen.hair, _DARK, 0.07), 1.0, 0.5)
        for x in (-0.12, -0.045, 0.045, 0.12):
            strand = _bow((0.6 * x, line - 0.04), (x, low - 0.01))
            pen.stroke(strand, 0.007, _mix(pen.hair, _DARK, 0.4), 0.7, 0.5)
    for reach in (0.9, 0.78):
        high = 0.03 - reach * (top + more)
        shine = _waved(pen, _bow((-0.55 * width, high), (0.55 * width, high), -0.03))
        pen.stroke(shine, 0.02, _mix(pen.hair, (255, 236, 206), 0.32), 0.9 * reach - 0.4, 0.3)


def _glasses(pen: _Pen) -> None:
    if "Eyeglasses" not in pen.names:
        return
    x, y, (style, roundness) = pen.person["eye_x"], pen.person["eye_y"], divmod(4 * pen.person["frame"], 1)
    colour, lens = _FRAMES[int(style)], np.sign(_CIRCLE) * np.abs(_CIRCLE) ** (0.45 + 0.55 * roundness)
    lens = np.concatenate([lens, lens[:1]]) * (0.079, 0.056 + 0.01 * roundness)
    for side in (-1, 1):
        middle = (side * (x + 0.002), y + 0.008)
        pen.fill(lens + middle, _WHITE, 0.16, 1.25)
        pen.fill(np.concatenate([lens, lens[::-1] * (0.80, 0.74)]) + middle, colour, 1.0, 1.25)
        pen.stroke(_bow((side * (x + 0.074), y), (side * pen.width, y - 0.004)), 0.014, colour, 1.0, 0.8)
    pen.stroke(_bow((0.066 - x, y + 0.004), (x - 0.066, y + 0.004), -0.012), 0.016, colour, 1.0, 1.25)


def _hat(pen: _Pen) -> None:
    if "Wearing_Hat" not in pen.names:
        return
    width, top, style = pen.width + 0.035, -pen.person["top"] - 0.085, pen.shot["hat"]
    rim = pen.person["eye_y"] - pen.person["brow_gap"] - 0.05  # just above the brows
    cloth = _hue(pen.shot["hat_hue"], 0.3 + 0.35 * pen.shot["bright"], 0.42)
    dark, pale = _mix(cloth, _DARK, 0.45), _mix(cloth, _WHITE, 0.25)
    dome = _mirrored((0, top), (0.62 * width, top + 0.03), (0.98 * width, -0.2), (width, rim),
                     (0, rim - 0.02))
    pen.soft(dome, dark, _mix(cloth, _WHITE, 0.12), (0.1 * pen.side, -0.24), 10)
    if style < 0.4:  # knitted, with a turned-up edge and a bobble
        edge = _mirrored((0, rim - 0.06), (width + 0.008, rim - 0.035), (width + 0.006, rim + 0.02), (0, rim))
        pen.fill(edge, pale)
        pen.fill(_disc((0, top), (0.045, 0.042)), pale)
    else:  # a ribbon, then a brim that is short or long
        ribbon = _mirrored((0, rim - 0.07), (width, rim - 0.06), (width, rim - 0.02), (0, rim - 0.03))
        pen.fill(ribbon, _mix(cloth, _DARK, 0.75))
        pen.fill(_disc((0, rim - 0.015), (width + 0.2 * (style - 0.4), 0.03)), dark)


def _lit(picture: NDArray[np.uint8], shot: Mapping[str, float]) -> NDArray[np.uint8]:
    """Brighten the whole picture to one side and give it the light's own colour."""
    line = np.linspace(-1, 1, len(picture), dtype=np.float32)[:, None]
    slope = 1 + (0.32 * shot["light"] - 0.16) * line - 0.05 * line[:, None]
    tint = np.array([0.95 + 0.1 * shot["warmth"], 1, 1.05 - 0.1 * shot["warmth"]], np.float32)
    return (picture * (slope * tint) + np.float32(0.5)).clip(0, 255).astype(np.uint8)
