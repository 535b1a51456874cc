"""Every defence by the name that `oneway protect --defence` takes, and the setting that makes it stronger."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from oneway.config import override
from oneway.errors import InputError, unknown
from oneway.models.encoder import EncoderConfig
from oneway.protection.config import GameConfig, ProtectConfig
from oneway.protection.defences import DEFENCES


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a defence sets.

    Attributes:
        strength: the setting that makes it stronger; 0 is no defence.
        strengths: values of it that are worth comparing, from weak to strong; none where there is no strength.
        settings: what it sets besides.

    """

    strength: str
    strengths: tuple[float, ...]
    settings: dict[str, Any] = field(default_factory=dict)


PLAIN = {"network.bottleneck": 0, "network.noise": 0.0}
"""The encoders of others have neither a bottleneck nor noise of ours, nor has the control."""
ALONE = {"game.pixel": 0.0, **PLAIN}
"""No game either."""
RECOMMENDED = {
    f"game.{name}": getattr(GameConfig(), name) for name in ("pixel", "target", "decoder_steps", "warmup", "ramp")
} | {f"network.{name}": getattr(EncoderConfig(), name) for name in ("bottleneck", "noise")}
"""The game as it is by default and the encoder's protection, whatever the preset."""
STRENGTHS = {
    "noise": (1.0, 2.0, 4.0),
    "dropout": (0.5, 0.8, 0.95),
    "pruning": (0.5, 0.8, 0.95),
    "nopeek": (0.3, 1.0, 3.0),
    "vib": (0.03, 0.3, 3.0),
    "cem": (0.01, 0.03, 0.1),
    "blur": (1.0, 3.0, 6.0),
    "downscale": (0.5, 0.75, 0.9),
    "pca": (0.9, 0.99, 0.999),
}
RECIPES: dict[str, Recipe] = {
    "none": Recipe(strength="game.pixel", strengths=(), settings=ALONE),
    "game": Recipe(strength="game.pixel", strengths=(0.03, 0.1, 0.3, 1.0), settings=RECOMMENDED),
    "paper": Recipe(
        strength="game.pixel",
        strengths=(3.0, 30.0, 300.0),
        settings={"game.target": "away", "game.decoder_steps": 1, "game.warmup": 0.0, "game.ramp": 0.0, **PLAIN},
    ),
    "deepobfuscator": Recipe(
        strength="game.pixel",
        strengths=(0.1, 1.0, 10.0),
        settings={"game.target": "ssim", "game.decoder_steps": 1, "game.warmup": 0.0, "game.ramp": 0.0, **PLAIN},
    ),
} | {
    name: Recipe(strength=f"defence.{kind.strength}", strengths=STRENGTHS[name], settings={"defence": name, **ALONE})
    for name, kind in DEFENCES.items()
}
"""`game` is the recommended recipe, `paper` the one-step game of Xiao et al. 2020, `deepobfuscator` the game on
structural similarity of Li et al. (IoTDI 2021); the others play no game. `none` is the unprotected control."""


def prescribe(config: ProtectConfig, name: str, strength: float | None = None) -> ProtectConfig:
    """Set what the defence `name` sets, as strong as `strength` or as it is by default.

    Raises:
        InputError: for a name that is not in `RECIPES`, or a strength out of range, of 0, or of what has none.

    """
    if name not in RECIPES:
        raise unknown("defence", name, RECIPES)
    recipe = RECIPES[name]
    if strength is not None and not recipe.strengths:
        raise InputError(f"the defence {name!r} has no strength, so {name}={strength:g} cannot be; give {name} alone")
    if strength == 0:
        raise InputError(
            f"the strength of the defence {name!r} must be above 0, not 0; the unprotected control is none"
        )
    settings = recipe.settings | ({} if strength is None else {recipe.strength: strength})
    return override(config, settings)


def read_recipe(text: str) -> tuple[str, float | None]:
    """Read NAME or NAME=STRENGTH.

    Raises:
        InputError: if the strength is no finite number.

    """
    name, equals, strength = text.partition("=")
    if not equals:
        return name, None
    try:
        level = float(strength)
    except ValueError as error:
        raise InputError(f"the strength of the defence {name!r} must be a number, not {strength!r}") from error
    if not math.isfinite(level):
        raise InputError(f"the strength of the defence {name!r} must be a finite number, not {strength!r}")
    return name, level
