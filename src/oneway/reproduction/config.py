"""What the paper's experiments are made of, and their presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated

from oneway.auditing.config import AuditConfig
from oneway.config import AsTuple, Names, NotNegative, Positive, checked
from oneway.errors import InputError
from oneway.models.encoder import EncoderConfig
from oneway.protection import config as protection
from oneway.protection.config import ProtectConfig


@checked
@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """The network and the budgets of all experiments, and what each of them varies.

    Attributes:
        protect: the network, its cut (where an experiment does not vary it) and the budget of training.
        audit: the attackers and their budgets; the experiment on strength adds the GAN attacker.
        cuts: of the experiment on layers.
        pixel: the paper's weight of the pixel term, which it does not give.
        perceptual: the weights of the perceptual term in the trade-off, each with the paper's reward and a bounded one.
        strengths: deviations of the recommended recipe's noise that stand beside that trade-off.
        perceptual_network: through which the perceptual term sees, as `open_perceptual` takes it.
        single: the attribute of the runs on one attribute.
        shown: the two attributes by which the pictures of features are coloured.
        images: show pictures of test people and what attackers drew of them; without, none is written. Drawn faces are
            shown all the same.

    """

    protect: ProtectConfig = field(default_factory=ProtectConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    cuts: Names = ("conv1", "layer1", "layer2", "layer3", "avgpool", "fc")
    pixel: Positive = 1.0
    perceptual: Annotated[tuple[NotNegative, ...], AsTuple] = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)
    strengths: Annotated[tuple[Positive, ...], AsTuple] = (0.5, 1.0, 1.5)
    perceptual_network: str | None = None
    single: str = "Smiling"
    shown: Names = ("Eyeglasses", "Smiling")
    images: bool = False

    def __post_init__(self) -> None:
        if len(self.shown) != 2:
            raise InputError(f"shown must name two attributes, not {', '.join(self.shown) or 'none'}")
        if not self.perceptual or self.perceptual[0] != 0:
            raise InputError("perceptual must begin with 0, from which the trade-off starts")


def small() -> ExperimentConfig:
    """A quarter-width ResNet-18 and 800 steps: all experiments in some hours on two processors.

    Trained so briefly, utility is below what the network can do, and a panel of two attackers, ended after 600 steps,
    says less than an audit does; the figures order settings.
    """
    base = protection.small()
    return ExperimentConfig(
        protect=replace(base, network=replace(base.network, cut="fc"), steps=800),
        audit=AuditConfig(attackers=("mirror",), brief=True, steps=600),
    )


def middle() -> ExperimentConfig:
    """A whole ResNet-18, longer training and the panel of an audit, for one GPU."""
    base = protection.small()
    return ExperimentConfig(
        protect=replace(
            base,
            network=EncoderConfig(cut="fc", backbone="resnet18", width=1.0, feature_width=512),
            steps=4000,
            batch_size=64,
            learning_rate=1e-3,
        ),
        audit=AuditConfig(brief=True),
    )


def paper() -> ExperimentConfig:
    """The paper as far as it is known: ResNet-50, VGG-16's features, all weights of its Table 2."""
    base = protection.paper()
    return ExperimentConfig(
        protect=replace(base, network=replace(base.network, cut="fc")),
        audit=AuditConfig(brief=True),
        perceptual_network="vgg16",
    )


PRESETS: dict[str, Callable[[], ExperimentConfig]] = {"small": small, "middle": middle, "paper": paper}
