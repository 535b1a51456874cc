"""What a protect run is made of, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from oneway.config import (
    Count,
    Names,
    NotNegative,
    Positive,
    Several,
    Share,
    ShareBelowAll,
    Whole,
    checked,
    from_dict,
    to_dict,
)
from oneway.errors import InputError
from oneway.losses import Target
from oneway.models.encoder import EncoderConfig
from oneway.protection.defences.defence import Defence
from oneway.protection.recipes import classes
from oneway.runtime import RuntimeConfig

if TYPE_CHECKING:
    AnyDefence = Defence
else:
    AnyDefence = Annotated[reduce(or_, classes().values()), Field(discriminator="name")]

GONE = {
    "decoders": 1,
    "decoder_restart": 0,
    "decoder_width": 1.0,
    "decoder_gan": 0.0,
    "decoder_perceptual": 0.0,
    "probe_every": 0,
    "probe_steps": 200,
}
"""Settings of the game that 0.1.0 had, with their defaults."""


@checked
@dataclass(frozen=True, kw_only=True)
class GameConfig:
    """The weights and the schedule of the game.

    Attributes:
        pixel: weight of the pixel term in the protector's loss, a mean over pixels with values in 0..1 (the first
            weight of eq. 8); where it and `perceptual` are 0, as by default, there is no game and no decoder: the
            recommended recipe's noise leaves it nothing to hide (docs/findings.md).
        target: where that term drives the decoder's pictures: `away` from the originals (the paper's), to the
            `mean_picture`, or down in `ssim`; see `losses.protection`.
        decoder_steps: steps of the adversary for each step of the protector; with one, the encoder outruns the
            decoder and a fresh attacker does as well as against no protection.
        perceptual: weight of the same term in a perceptual network's distance (the second weight of eq. 8); where
            `target` is `ssim`, the distance is driven up.
        perceptual_network: as `models.perceptual.open_perceptual` takes it; needed where `perceptual` is above 0.
        perceptual_relative: take the mean picture's own distance as 1 in each of that network's layers, so that weights
            mean the same with every network.
        decoder_batch_size: pictures in each of the adversary's batches, over all processes.
        warmup: share of the steps that train the utility alone, before the game begins.
        ramp: share of the steps over which `pixel` then rises from 0, while the decoder catches up.

    """

    pixel: NotNegative = 0.0
    target: Target = "mean_picture"
    perceptual: NotNegative = 0.0
    perceptual_network: str | None = None
    perceptual_relative: bool = False
    decoder_steps: Count = 4
    decoder_batch_size: Count = 16
    warmup: ShareBelowAll = 0.25
    ramp: Share = 0.2

    def __post_init__(self) -> None:
        if self.perceptual and self.perceptual_network is None:
            raise InputError("perceptual_network must be given (vgg16, or BACKBONE:FILE) where perceptual is, not None")

    @property
    def played(self) -> bool:
        """Say whether there is a game at all."""
        return self.pixel > 0 or self.perceptual > 0


@checked
@dataclass(frozen=True, kw_only=True)
class ProtectConfig:
    """Everything that decides a protect run, besides the data.

    By default it is the recommended recipe. The unprotected control of an encoder has no game, no other defence, no
    bottleneck and no noise: `game.pixel`, `network.bottleneck` and `network.noise` are 0.

    Attributes:
        network: the encoder's, with its bottleneck and its noise, whatever is minimised.
        game: its weights and schedule.
        defence: another defence, beside the game if `game.pixel` is above 0.
        runtime: where it runs.
        calibrate: choose on the validation people, after training, the logit above which each binary attribute is
            called present, and shift the classifier's last layer by it; otherwise even odds decide.
        task: what the encoder is for: attributes of the pack, each as COLUMN or TASK:COLUMN, such as multiclass:hair;
            by default all of them where all are binary, or the only one.
        steps: steps of the protector.
        batch_size: pictures in each of the protector's batches, over all processes.
        learning_rate: the protector's highest (AdamW, one cycle: linear rise, cosine fall).
        decoder_learning_rate: the adversary's (Adam, constant).
        weight_decay: the protector's.
        seed: of the initial weights and of the order of the data.
        keep: leave the last checkpoint in the finished run, with the adversary, which turns features into pictures. It
            is needed only to resume an unfinished one.

    """

    network: EncoderConfig = field(default_factory=EncoderConfig)
    game: GameConfig = field(default_factory=GameConfig)
    defence: AnyDefence | None = None
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    calibrate: bool = True
    task: Names = ()
    steps: Count = 3000
    batch_size: Several = 32
    learning_rate: Positive = 2e-3
    decoder_learning_rate: Positive = 4e-3
    weight_decay: NotNegative = 0.05
    seed: Whole = 0
    keep: bool = False

    @property
    def active(self) -> AnyDefence | None:
        """Give the further defence, unless its strength is 0."""
        return self.defence if self.defence is not None and self.defence.level > 0 else None

    @property
    def protection(self) -> tuple[str, ...]:
        """Name the settings that protect the encoder; where there are none, it can be the control of others."""
        settings = {
            "game.pixel": self.game.pixel,
            "game.perceptual": self.game.perceptual,
            "network.bottleneck": self.network.bottleneck,
            "network.noise": self.network.noise,
        }
        if self.active is not None:
            settings[f"defence.{self.active.strength}"] = self.active.level
        return tuple(f"{name} = {value:g}" for name, value in settings.items() if value)

    @property
    def protects(self) -> bool:
        """Say whether there is any protection, so that the encoder is no control."""
        return bool(self.protection)

    def of_control(self) -> dict[str, object]:
        """Give what the unprotected control has in common with it: the network but for its protection, and the task."""
        network = replace(self.network, bottleneck=0, noise=0.0)
        return {"network": to_dict(network), "task": list(self.task)}


def read(content: Any, where: str = "") -> ProtectConfig:
    """Read a configuration that `config.to_dict` wrote, in this version or in 0.1.0; `where` begins an error's message.

    Raises:
        InputError: for a field that does not exist, or a value that it cannot have.

    """
    return from_dict(ProtectConfig, current(content), where)


def current(content: Any) -> Any:
    """Turn the JSON of a configuration of 0.1.0 into today's.

    There the task was a list of `attributes`, and the target `mean_picture` was called `mean_face`. The bottleneck and
    the noise were settings of the game, and where none was played they did nothing; settings that are gone stay, and
    are refused, unless they are what they were by default.
    """
    if isinstance(content, dict) and "attributes" in content and "task" not in content:
        content = {"task" if name == "attributes" else name: value for name, value in content.items()}
    game = content.get("game") if isinstance(content, dict) else None
    if isinstance(game, dict) and isinstance(content.get("network", {}), dict):
        game = {name: value for name, value in game.items() if name not in GONE or value != GONE[name]}
        if game.get("target") == "mean_face":
            game["target"] = "mean_picture"
        old = {name: game[name] for name in ("bottleneck", "noise") if name in game}
        played = any(
            isinstance(game.get(weight), int | float) and game[weight] > 0 for weight in ("pixel", "perceptual")
        )
        counted = old if played else dict.fromkeys(old, 0)
        content = content | {
            "game": {name: value for name, value in game.items() if name not in old},
            "network": content.get("network", {}) | counted,
        }
    return content


def small() -> ProtectConfig:
    """A quarter-width ResNet-18 on pictures of about 64 pixels: minutes on two processors."""
    return ProtectConfig()


def paper() -> ProtectConfig:
    """ResNet-50 and the game as the paper plays it: one decoder step a step, no warm-up, an unbounded reward.

    Attributes are called at even odds. What the paper leaves open (batch size, learning rates, steps, width of fc) is
    chosen here, for one large GPU.
    """
    return ProtectConfig(
        network=EncoderConfig(
            backbone="resnet50", cut="fc", width=1.0, stem="full", feature_width=2048, bottleneck=0, noise=0.0
        ),
        game=GameConfig(
            pixel=1.0,
            target="away",
            decoder_steps=1,
            decoder_batch_size=128,
            warmup=0.0,
            ramp=0.0,
        ),
        calibrate=False,
        steps=40_000,
        batch_size=128,
        learning_rate=1e-3,
        decoder_learning_rate=1e-3,
    )


PRESETS = {"small": small, "paper": paper}
