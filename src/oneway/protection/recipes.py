"""Every defence by the name that `oneway protect --defence` takes, and what it makes of a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from oneway.errors import InputError, unknown
from oneway.losses import Target
from oneway.models.encoder import EncoderConfig
from oneway.protection.config import GameConfig, ProtectConfig
from oneway.protection.defences import DEFENCES
from oneway.protection.defences.defence import Defence


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a defence makes of a configuration.

    Attributes:
        make: sets what the defence sets, as strong as it is by default, or at a strength.
        strengths: those worth comparing, from weak to strong; none where there is no strength.

    """

    make: Callable[[ProtectConfig, float | None], ProtectConfig]
    strengths: tuple[float, ...] = ()


def control(config: ProtectConfig, _: float | None = None) -> ProtectConfig:
    """The unprotected control: neither a game, nor a bottleneck, nor noise."""
    return replace(config, game=replace(config.game, pixel=0.0), network=_plain(config.network))


def game(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The recommended recipe: the game as it is by default and the encoder's protection, whatever the preset."""
    names, ours = ("target", "decoder_steps", "warmup", "ramp"), GameConfig()
    played = {name: getattr(ours, name) for name in names} | {"pixel": ours.pixel if strength is None else strength}
    protected = {name: getattr(EncoderConfig(), name) for name in ("bottleneck", "noise")}
    return replace(config, game=replace(config.game, **played), network=replace(config.network, **protected))


def paper(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The one-step game of Xiao et al. 2020."""
    return _one_step(config, "away", strength)


def deepobfuscator(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The game on structural similarity of Li et al. (IoTDI 2021)."""
    return _one_step(config, "ssim", strength)


def _one_step(config: ProtectConfig, target: Target, strength: float | None) -> ProtectConfig:
    pixel = config.game.pixel if strength is None else strength
    played = replace(config.game, pixel=pixel, target=target, decoder_steps=1, warmup=0.0, ramp=0.0)
    return replace(config, game=played, network=_plain(config.network))


def _plain(network: EncoderConfig) -> EncoderConfig:
    """The encoders of others have neither a bottleneck nor noise of ours, nor has the control."""
    return replace(network, bottleneck=0, noise=0.0)


def _alone(kind: type[Defence], config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """A defence of `protection.defences`, without a game."""
    fields: dict[str, Any] = {} if strength is None else {kind.strength: strength}
    defence: Any = kind(**fields)
    return replace(control(config), defence=defence)


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
    "none": Recipe(make=control),
    "game": Recipe(make=game, strengths=(0.03, 0.1, 0.3, 1.0)),
    "paper": Recipe(make=paper, strengths=(3.0, 30.0, 300.0)),
    "deepobfuscator": Recipe(make=deepobfuscator, strengths=(0.1, 1.0, 10.0)),
} | {name: Recipe(make=partial(_alone, kind), strengths=STRENGTHS[name]) for name, kind in DEFENCES.items()}
"""All but `game`, `paper` and `deepobfuscator` play no game; `none` is the unprotected control."""


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
    try:
        return recipe.make(config, strength)
    except InputError as error:
        raise InputError(f"the strength of the defence {name!r}: {error}") from None


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
