"""What an audit is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from oneway.attacks.feature import FeatureConfig
from oneway.attacks.inference import InferenceConfig
from oneway.attacks.information import InformationConfig
from oneway.attacks.inversion import InversionConfig
from oneway.attacks.optimisation import OptimisationConfig
from oneway.attacks.panel import GENERATIVE, SOLVED, attackers
from oneway.config import AsTuple, Count, Names, Several, Whole, checked
from oneway.errors import InputError, unknown
from oneway.models.onnx import Range
from oneway.runtime import RuntimeConfig


@checked
@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """The attacks of an audit and their budgets.

    Attributes:
        attackers: names of inversion attackers, see `attacks.panel`; the strongest counts.
        seeds: how often the strongest is trained, from other initial weights; the best of these counts, and the
            intervals of what it gets, and of the leakage of faces, reach over those of all.
        perceptual: a network for the perceptual attacker, and for the perceptual distance of reconstructions: `vgg16`,
            a safetensors file of VGG-16, or a timm backbone, its options and its file, such as
            `timm:mobilenetv1_100,pad_type=same,bn_eps=1e-3:FILE`; see `models.perceptual`.
        generator: an ONNX file of a generator of pictures, such as the half of a GAN that draws, from standard normal
            latents to pictures in 0..1, framed as the pack's are; see `models.generator`. With it the `generative`
            attacker is trained beside the others.
        queries: numbers of queries at which the query curve is measured, beside all of them, by a solved
            attacker or the mirror, whichever is strongest.
        breach: share of pictures recognised at which the encoder counts as breached on that curve.
        draws: sends of one picture, where the encoder adds noise: of a public one, whose average a solved attacker
            learns from, and of a stolen one, whose average the strongest of the panel attacks.
        brief: make only the attacks that leakage is made of, the panel, the features and the linkage, and the scatter,
            as a comparison of many encoders does; the others are refused.
        keep: leave the inversion attacker that counts beside the results, as an ONNX file: whoever has it turns
            features into pictures at once. `oneway export` takes it from an audit of a run. It decides no figure.
        alone: one inversion attacker, trained instead of the panel and of every other attack, as `oneway attack` does.
        surrogates: how many of the verifiers at most, the first ones, an attacker trains with; where there are several,
            the last is left out. For each of these one more trains without it, and with the next in its place. What a
            judge sees of who trained with it is an upper bound; the strongest of the others counts, and of the judges
            the worst. Networks of two families carry over to a third, where one does not.
        decided_by: who attacks the task's decisions alone: the `solved` attackers, in minutes; or the `panel`, those
            who train with judges too, which takes about as long as these take on the features, and lets the excess
            compare like with like. By the former it errs on the high side.
        steps: the most steps that any attacker is trained for, more or fewer than the budget that each has by default;
            one that converges ends before.
        renewed: another encoder for the same people, such as one of another seed: the folder of a run, an ONNX file
            that takes pictures as the audited one does, or stored features. Whether its features can be linked to the
            audited one's is then measured, and what both give together; it changes no other figure.
        pixels: the range of pixels that an ONNX encoder takes: `0..1`, `-1..1`, `0..255` or `imagenet`.
        output: which output of an ONNX encoder, or of the layer that a module is cut at, holds the features, if it has
            several: its name, or its place.
        seed: of everything.
        feature: the feature-level attack.
        inference: the attribute inference.
        information: the critic of the InfoNCE bound.
        optimisation: the white-box attack.
        runtime: where it runs.

    """

    attackers: Names = ("residual", "identity")
    seeds: Count = 1
    perceptual: str | None = None
    generator: str | None = None
    queries: Annotated[tuple[Several, ...], AsTuple] = (100, 300, 1000, 3000, 10_000)
    breach: Annotated[float, Field(gt=0, lt=1)] = 0.1
    draws: Several = 16
    brief: bool = False
    keep: bool = False
    alone: InversionConfig | None = None
    surrogates: Whole = 2
    decided_by: Literal["solved", "panel"] = "solved"
    steps: Count | None = None
    renewed: str | None = None
    pixels: Range | None = None
    output: str | None = None
    seed: Whole = 0
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    information: InformationConfig = field(default_factory=InformationConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    @property
    def trains_with_judges(self) -> bool:
        """Whether any attacker trains with judges."""
        return self.alone is None and any(attackers()[name].surrogate for name in self.panel)

    @property
    def panel(self) -> tuple[str, ...]:
        """The names of the inversion attackers, with the one who draws with the generator, where there is one."""
        added = () if self.generator is None or GENERATIVE in self.attackers else (GENERATIVE,)
        return (*self.attackers, *added)

    def __post_init__(self) -> None:
        solved = [attacker.name for attacker in SOLVED]
        for name in self.attackers:
            if name not in attackers() or name in solved:  # which are always there
                raise unknown("attackers =", name, [known for known in attackers() if known not in solved])
        if not self.attackers or len(set(self.attackers)) < len(self.attackers):
            raise InputError(f"attackers must name at least one, each once, not {', '.join(self.attackers) or 'none'}")
        if self.generator is None and (handless := [name for name in self.attackers if attackers()[name].generates]):
            raise InputError(
                f"the attacker {handless[0]!r} needs a generator of pictures to draw with; set generator to an ONNX "
                "file of one, from standard normal latents to pictures in 0..1, framed as the pack's are"
            )
        blind = [name for name in self.attackers if attackers()[name].sees and self.perceptual is None]
        if blind:
            raise InputError(
                f"the attacker {blind[0]!r} needs a network to see with; set perceptual=vgg16 (downloaded), a "
                "safetensors file of VGG-16, or BACKBONE:FILE for one of timm's"
            )


def thorough() -> AuditConfig:
    """Give the configuration of an audit that takes the time it takes.

    Every decoder that needs no further network, three trainings of the strongest, and the whole panel on the decisions.
    """
    return AuditConfig(attackers=("mirror", "transformer", "residual", "identity"), seeds=3, decided_by="panel")
