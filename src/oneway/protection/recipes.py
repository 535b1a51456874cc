"""Every defence by the name that `oneway protect --defence` takes, and what it makes of a configuration.

They are listed without being loaded. Another package adds one by an entry point of the group `oneway.defences` that
names a class of `protection.defences.defence.Defence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal

from oneway.errors import InputError, unknown
from oneway.plugins import loaded, points

if TYPE_CHECKING:  # help names the defences, and imports no torch
    from oneway.losses import Target
    from oneway.models.encoder import EncoderConfig
    from oneway.protection.config import ProtectConfig
    from oneway.protection.defences.defence import Defence

GROUP = "oneway.defences"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a defence makes of a configuration.

    Attributes:
        make: sets what the defence sets, as strong as it is by default, or at a strength.
        strengths: those worth comparing, from weak to strong.
        scaled: whether it can be made as strong as is asked for; the control cannot.

    """

    make: Callable[[ProtectConfig, float | None], ProtectConfig]
    strengths: tuple[float, ...] = ()
    scaled: bool = True


def control(config: ProtectConfig, _: float | None = None) -> ProtectConfig:
    """The unprotected control: neither a game, nor a bottleneck, nor noise."""
    return replace(config, game=replace(config.game, pixel=0.0), network=_plain(config.network))


def recipe(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The recommended recipe, whatever the preset: a bottleneck, and noise of deviation `strength`."""
    from oneway.protection.config import ProtectConfig

    ours = ProtectConfig().network
    noise = ours.noise if strength is None else strength
    return replace(control(config), network=replace(config.network, bottleneck=ours.bottleneck, noise=noise))


def paper(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The one-step game of Xiao et al. 2020."""
    return _one_step(config, "away", strength)


def deepobfuscator(config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """The game on structural similarity of Li et al. (IoTDI 2021)."""
    return _one_step(config, "ssim", strength)


def _one_step(config: ProtectConfig, target: Target, strength: float | None) -> ProtectConfig:
    pixel = 1.0 if strength is None else strength
    played = replace(config.game, pixel=pixel, target=target, decoder_steps=1, warmup=0.0, ramp=0.0)
    return replace(config, game=played, network=_plain(config.network))


def _plain(network: EncoderConfig) -> EncoderConfig:
    """The encoders of others have neither a bottleneck nor noise of ours, nor has the control."""
    return replace(network, bottleneck=0, noise=0.0)


def _alone(kind: type[Defence], config: ProtectConfig, strength: float | None) -> ProtectConfig:
    """A defence of `protection.defences`, without a game."""
    made: Any = kind
    defence = made() if strength is None else made(**{kind.strength: strength})
    return replace(control(config), defence=defence)


_RECIPES = {
    "none": Recipe(make=control, scaled=False),
    "recipe": Recipe(make=recipe, strengths=(0.5, 1.0, 1.5, 2.0)),
    "paper": Recipe(make=paper, strengths=(3.0, 30.0, 300.0)),
    "deepobfuscator": Recipe(make=deepobfuscator, strengths=(0.1, 1.0, 10.0)),
}
"""The unprotected control, the recommended recipe, and those that are settings of the game."""
_CLASSES = ("Noise", "Dropout", "Pruning", "NoPeek", "VIB", "CEM", "Blur", "Downscale", "PCA")
"""Those that play no game, each in its file, called like it in small letters."""


def names() -> list[str]:
    """List every defence, those of other packages last.

    Raises:
        InputError: for a name of another package's that is taken or no identifier.

    """
    return [*_RECIPES, *_listed()]


@cache
def classes() -> dict[str, type[Defence]]:
    """Give the class of every defence that plays no game.

    Raises:
        InputError: for another package's that cannot be used: naming the package and the entry point.

    """
    return {name: loaded(point, partial(_wrong, name)) for name, point in _listed().items()}


@cache
def recipes() -> dict[str, Recipe]:
    """Give what every defence makes of a configuration; raises as `classes` does."""
    alone = {name: Recipe(make=partial(_alone, kind), strengths=kind.strengths) for name, kind in classes().items()}
    return _RECIPES | alone


def _listed() -> dict[str, EntryPoint]:
    files = {kind.lower(): f"oneway.protection.defences.{kind.lower()}:{kind}" for kind in _CLASSES}
    own = {name: EntryPoint(name, value, GROUP) for name, value in files.items()}
    return own | points(GROUP, taken=(*_RECIPES, *own))


def _wrong(name: str, made: Any) -> str | None:
    """Say what is wrong with the class of a defence."""
    from oneway.laws import hints_of
    from oneway.protection.defences.defence import Defence

    if not (isinstance(made, type) and issubclass(made, Defence)):
        return f"must be a class of Defence, not {made!r}"
    if "__pydantic_fields__" not in vars(made):
        return "must be made by `@checked` of oneway.config above `@dataclass(frozen=True, kw_only=True)`"
    kind: Any = made
    fields = hints_of(kind)
    if fields["name"] != Literal[name]:
        return f'must have a field `name: Literal["{name}"] = "{name}"`'
    if made.strength not in fields:
        return f"must name by `strength` the field that says how strong it is, not {made.strength!r}"
    if not all(isinstance(level, int | float) and 0 < level < math.inf for level in made.strengths):
        return f"must have strengths that are numbers above 0, not {made.strengths!r}"
    if made.wrap is Defence.wrap and made.penalty is Defence.penalty:
        return "must have a method `wrap` or `penalty`, or it does nothing"
    return None


def prescribe(config: ProtectConfig, name: str, strength: float | None = None) -> ProtectConfig:
    """Set what the defence `name` sets, as strong as `strength` or as it is by default.

    Raises:
        InputError: for a name that is not in `recipes`, or a strength out of range, of 0, or of what has none.

    """
    if name not in recipes():
        raise unknown("defence", name, recipes())
    recipe = recipes()[name]
    if strength is not None and not recipe.scaled:
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
