"""Drawn faces: people who do not exist, with a true label for every attribute that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.synthetic.drawing import draw
from oneway.synthetic.pen import CENTRE, SCALE, Point

__all__ = ["ATTRIBUTES", "LANDMARKS", "Face", "draw", "sample"]

ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "Pale_Skin",
    "Rosy_Cheeks",
    "Smiling",
    "Wavy_Hair",
    "Wearing_Hat",
    "Wearing_Lipstick",
)

# How often a person has the trait for life; two manners of looking make traits go together, as in the world.
_TRAITS = {
    "5_o_Clock_Shadow": (0.0, 0.26),
    "Bald": (0.01, 0.17),
    "Bangs": (0.34, 0.14),
    "Big_Lips": (0.30, 0.14),
    "Big_Nose": (0.14, 0.32),
    "Bushy_Eyebrows": (0.09, 0.32),
    "Goatee": (0.0, 0.22),
    "Mustache": (0.0, 0.24),
    "Narrow_Eyes": (0.15, 0.15),
    "Pale_Skin": (0.13, 0.11),
    "Rosy_Cheeks": (0.26, 0.06),
    "Wavy_Hair": (0.40, 0.30),
}
# Share of heads. Red hair has no attribute.
_HAIR = {"Black_Hair": 0.30, "Brown_Hair": 0.27, "Blond_Hair": 0.19, "Red_Hair": 0.11, "Gray_Hair": 0.13}
# Mean and deviation over people of every length and ratio; deviates are cut at two.
_GEOMETRY = {
    "width": (0.212, 0.013),
    "top": (0.262, 0.010),
    "chin_y": (0.268, 0.015),
    "jaw": (0.78, 0.08),
    "chin": (0.42, 0.09),
    "ear": (0.046, 0.008),
    "eye_x": (0.093, 0.009),
    "eye_y": (-0.018, 0.011),
    "eye_width": (0.045, 0.0045),
    "eye_height": (0.027, 0.003),
    "slant": (0.04, 0.12),
    "iris": (0.02, 0.002),
    "brow": (0.017, 0.0025),
    "arch": (0.014, 0.009),
    "brow_gap": (0.058, 0.008),
    "nose_y": (0.082, 0.012),
    "nose_width": (0.034, 0.004),
    "mouth_y": (0.163, 0.011),
    "mouth_width": (0.072, 0.009),
    "lip": (0.0150, 0.0018),
    "volume": (0.040, 0.015),
    "hairline": (0.172, 0.016),
}
# Even choices between 0 and 1: for life, then for one shot; and the deviations of a shot's pose.
_CHOICES = (
    "skin",
    "shade",
    "length",
    "part",
    "eye_colour",
    "lipstick",
    "frame",
    "mole",
    "mole_x",
    "freckles",
    "lashes",
    "beard",
)
_MOODS = (
    "smile",
    "open",
    "gaze",
    "lift",
    "hue",
    "angle",
    "tone",
    "bubbles",
    "cloth",
    "bright",
    "hat",
    "hat_hue",
    "light",
    "warmth",
)
_POSE = {"x": 0.014, "y": 0.010, "tilt": 0.06, "scale": 0.028, "turn": 0.5, "nod": 0.4}

LANDMARKS: tuple[Point, ...] = tuple(
    (float(CENTRE[0] + side * SCALE * _GEOMETRY[x][0]), float(CENTRE[1] + SCALE * _GEOMETRY[y][0]))
    for side, x, y in (
        (-1, "eye_x", "eye_y"),
        (1, "eye_x", "eye_y"),
        (0, "nose_width", "nose_y"),
        (-1, "mouth_width", "mouth_y"),
        (1, "mouth_width", "mouth_y"),
    )
)


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
    hair = str(life.choice(list(_HAIR), p=list(_HAIR.values())))
    glasses, hats, lipstick = life.random(3) < (0.20, 0.22, (0.66, 0.02)[manner])
    means, spreads = np.array(list(_GEOMETRY.values())).T
    lengths = means + spreads * np.clip(life.standard_normal(len(means)), -2, 2)
    person = dict(zip(_GEOMETRY, lengths.tolist(), strict=True))
    person |= dict(zip(_CHOICES, life.random(len(_CHOICES)).tolist(), strict=True))
    person["length"] = 0.5 * person["length"] ** 2 if manner else 0.25 + 0.75 * person["length"]

    moment = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(identity, shot)))
    mood = dict(zip(_MOODS, moment.random(len(_MOODS)).tolist(), strict=True))
    pose = np.clip(moment.standard_normal(len(_POSE)), -2, 2) * list(_POSE.values())
    chances = {
        "Smiling": 0.48,
        "Eyeglasses": 0.8 if glasses else 0.01,
        "Wearing_Hat": 0.33 if hats else 0.02,
        "Wearing_Lipstick": 0.82 if lipstick else 0.01,
    }
    names |= {name for name, odds in chances.items() if moment.random() < odds}
    if moment.random() < (0.58 if "Smiling" in names else 0.24):
        names.add("Mouth_Slightly_Open")
    names |= {hair} & set(ATTRIBUTES)
    if "Bald" in names:
        names -= {"Wavy_Hair", "Bangs", hair}
    if "Wearing_Hat" in names:
        names.discard("Bangs")  # the hat holds them back
    return Face(frozenset(names), person, mood | dict(zip(_POSE, pose.tolist(), strict=True)))
