"""What an audit is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from oneway.attacks.feature import FeatureConfig
from oneway.attacks.inference import InferenceConfig
from oneway.attacks.information import InformationConfig
from oneway.attacks.inversion import attackers
from oneway.attacks.optimisation import OptimisationConfig
from oneway.errors import InputError, refuse_infinite, unknown
from oneway.runtime import RuntimeConfig


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """The attacks of an audit and their budgets.

    Attributes:
        attackers: names of inversion attackers, see `attacks.inversion.attackers`; the strongest counts.
        seeds: how often each is trained, from other initial weights.
        perceptual: a network for the perceptual attacker: `vgg16`, a safetensors file of VGG-16, or a timm backbone,
            its options and its file, such as `mobilenetv1_100,pad_type=same,bn_eps=1e-3:FILE`; see
            `models.perceptual`.
        queries: numbers of queries at which the query curve is measured, beside all of them, by the linear attacker or
            the mirror, whichever is stronger.
        breach: share of pictures recognised at which the encoder counts as breached on that curve.
        draws: sends of one picture, where the encoder adds noise: of a public one, whose average a solved attacker
            learns from, and of a stolen one, whose average the strongest of the panel attacks.
        brief: make only the attacks that leakage is made of, the panel, the features and the linkage, and the scatter,
            as a comparison of many encoders does; the others are refused.
        steps: the most steps that any attacker is trained for, more or fewer than the budget that each has by default;
            one that converges ends before.
        pixels: the range of pixels that an ONNX encoder takes: `0..1`, `-1..1`, `0..255` or `imagenet`.
        output: which output of an ONNX encoder holds the features, if it has several.
        seed: of everything.
        feature: the feature-level attack.
        inference: the attribute inference.
        information: the critic of the InfoNCE bound.
        optimisation: the white-box attack.
        runtime: where it runs.

    """

    attackers: tuple[str, ...] = ("mirror", "residual", "transformer")
    seeds: int = 1
    perceptual: str | None = None
    queries: tuple[int, ...] = (100, 300, 1000, 3000, 10_000)
    breach: float = 0.1
    draws: int = 16
    brief: bool = False
    steps: int | None = None
    pixels: str | None = None
    output: str | None = None
    seed: int = 0
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    information: InformationConfig = field(default_factory=InformationConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    def __post_init__(self) -> None:
        refuse_infinite(self)
        for name in self.attackers:
            if name not in attackers():
                raise unknown("attacker", name, attackers())
        if not self.attackers or len(set(self.attackers)) < len(self.attackers):
            raise InputError(f"attackers must name at least one, each once, not {', '.join(self.attackers) or 'none'}")
        if "perceptual" in self.attackers and self.perceptual is None:
            raise InputError(
                "the attacker 'perceptual' needs a network to see with; set perceptual=vgg16 (downloaded), a "
                "safetensors file of VGG-16, or BACKBONE:FILE for one of timm's"
            )
        laws = {
            "seeds": (self.seeds, self.seeds >= 1, "at least 1"),
            "breach": (self.breach, 0 < self.breach < 1, "a share between 0 and 1"),
            "draws": (self.draws, self.draws >= 2, "at least 2"),
            "steps": (self.steps, self.steps is None or self.steps >= 1, "at least 1"),
            "queries": (self.queries, all(number >= 2 for number in self.queries), "at least 2 each"),
            "seed": (self.seed, self.seed >= 0, "0 or more"),
        }
        for name, (value, holds, law) in laws.items():
            if not holds:
                raise InputError(f"{name} must be {law}, not {value}")


def thorough(config: AuditConfig) -> AuditConfig:
    """Add every attacker that can be had, each trained three times."""
    from dataclasses import replace

    names = [name for name in attackers() if name != "perceptual" or config.perceptual is not None]
    return replace(config, attackers=tuple(names), seeds=3)
