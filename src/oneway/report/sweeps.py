"""What benchmarks and experiments find, as typed values: a row for each setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from oneway.config import record
from oneway.metrics.estimate import Estimate
from oneway.report.values import SCHEMA, Floors, Level, OrRefused, Scores
from oneway.report.words import OF_PEOPLE, OF_PICTURES

Shares = dict[str, OrRefused[Estimate]]
"""Leakages by name, or why there is none."""


@record
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a setting may be chosen by, on validation people.

    Attributes:
        utility: share of the control's; means nothing where that itself is no better than a constant.
        leakage: by name, as far as it was measured.
        excess: by name, likewise.

    """

    utility: float
    leakage: dict[str, float]
    excess: dict[str, float]


@record
@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """A setting of a benchmark of defences.

    Attributes:
        cut: layer after which features leave the device.
        defence: as `oneway protect --defence` takes it; `none` is the control.
        strength: of it.
        utility: of its task on test people, whose `title` the report says.
        control_utility: the control's.
        leakage: on test people; refused for the control, which has none to compare with.
        excess: the same above what the task's decisions alone give away.
        strongest: the inversion attacker that counts for faces.
        picture_similarity: that it reaches.
        linked: true accept rate of linkage at a false accept rate of 1e-3.
        most_bits: that one answer tells of the picture at most; none where the encoder ends in no known noise.
        verdict: of its audit.
        unconverged: the attackers that their budget ended.
        validation: what it may be chosen by.
        run: its folder, from the benchmark's.
        audit: its audit's folder, from the benchmark's.

    """

    cut: str
    defence: str
    strength: float
    utility: Annotated[Estimate, Field(validation_alias=AliasChoices("utility", "mean_mcc"))]
    control_utility: Annotated[Estimate, Field(validation_alias=AliasChoices("control_utility", "control_mean_mcc"))]
    leakage: Shares
    excess: Shares
    strongest: str | None
    picture_similarity: Estimate | None
    linked: Estimate | None
    most_bits: Estimate | None = None
    verdict: Level
    unconverged: list[str]
    validation: Choice
    run: str
    audit: str


@record
@dataclass(frozen=True, kw_only=True)
class BenchmarkReport:
    """A comparison of defences.

    Attributes:
        rows: the settings, the control of each cut first.
        decisions: by cut, the leakages of the task's decisions alone, as the control takes them.
        title: of the task's utility.
        of_pictures: whether nothing is said of people, see `reports.Subject`.
        provenance: what made it.

    """

    schema: Literal[13] = SCHEMA
    kind: Literal["benchmark"] = "benchmark"
    rows: list[BenchmarkRow]
    decisions: dict[str, Shares]
    title: str = "mean MCC"
    of_pictures: bool = False
    provenance: dict[str, object]

    @property
    def leakages(self) -> dict[str, str]:
        """The leakages that were measured of any setting, and what each is of."""
        words = OF_PICTURES if self.of_pictures else OF_PEOPLE
        of = {"picture_similarity": words.faces, "feature_similarity": "features", "linkage": "linkage"}
        decided = self.decisions.values()
        return {
            name: each
            for name, each in of.items()
            if any(isinstance(shares.get(name), Estimate) for shares in (*(row.leakage for row in self.rows), *decided))
        }


@record
@dataclass(frozen=True, kw_only=True)
class ExperimentRow:
    """A setting of an experiment of the paper's, all figures on test people.

    Attributes:
        id: names it.
        title: what it is, in words.
        protection: of its encoder.
        at: its place on the experiment's axis.
        paper: the figures of the paper's row.
        scores: ours.
        run: its folder, from the store.
        cut: layer after which features leave the device.
        attacker: whose reconstructions are scored; the strongest by default.
        strongest: attacker of the panel.
        leakage: by name.
        floor: who knows nothing.
        audit: its audit's folder, from the store.
        map: the file of places in a plane.

    """

    id: str
    title: str
    protection: str
    at: float | str | None
    paper: dict[str, float]
    scores: Scores
    run: str
    cut: str | None = None
    attacker: str | None = None
    strongest: str | None = None
    leakage: Shares = field(default_factory=dict)
    floor: Floors = field(default_factory=dict)
    audit: str | None = None
    map: str | None = None


@record
@dataclass(frozen=True, kw_only=True)
class Change:
    """A change from one row to another, its interval from the ends of theirs."""

    value: float
    low: float
    high: float


@record
@dataclass(frozen=True, kw_only=True)
class EffectReport:
    """Whether rows change as the paper's do.

    Attributes:
        claim: what the paper's table shows, in words.
        metric: whose change it is.
        before: the row it starts from.
        after: the row it leads to.
        paper: the paper's change.
        ours: ours.
        verdict: whether they agree.

    """

    claim: str
    metric: str
    before: str
    after: str
    paper: float
    ours: Change | None
    verdict: Literal["agrees", "disagrees", "within the interval", "not measured"]


@record
@dataclass(frozen=True, kw_only=True)
class ExperimentReport:
    """An experiment of the paper's, beside the paper's figures."""

    schema: Literal[13] = SCHEMA
    kind: Literal["experiment"] = "experiment"
    experiment: str
    rows: list[ExperimentRow]
    effects: list[EffectReport]
    provenance: dict[str, object]
