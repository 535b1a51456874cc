"""What commands find, as typed values: an audit's report, and what it is made of. JSON only at the edge.

docs/results.schema.json describes the JSON, and is made from these types.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Discriminator, Tag

from oneway.config import from_json, record, to_dict
from oneway.errors import InputError
from oneway.files import regular
from oneway.metrics.estimate import Estimate
from oneway.runs import RESULTS

SCHEMA: Literal[4] = 4
"""Version of the layout of `results.json`."""
T = TypeVar("T")
Level = Literal["low", "partial", "open", "undecided"]


@record
@dataclass(frozen=True, kw_only=True)
class Refused:
    """What was not measured.

    Attributes:
        refused: the reason.

    """

    refused: str

    def __str__(self) -> str:
        return "–"


def _kind(value: object) -> str:
    refused = "refused" in value if isinstance(value, dict) else isinstance(value, Refused)
    return "(refused)" if refused else "(measured)"


OrRefused = Annotated[
    Annotated[T, Tag("(measured)")] | Annotated[Refused, Tag("(refused)")],
    Discriminator(_kind),
]
Scores = dict[str, Estimate | None]
"""Estimates by the names of `metrics.registry`; none where there is too little data for one."""
Floors = dict[str, Estimate | float]
Facts = dict[str, int | float | str]


@record
@dataclass(frozen=True, kw_only=True)
class Utility:
    """What an encoder is good for, on the test people.

    Attributes:
        mean_mcc: Matthews correlation of the predicted attributes, the mean over these; a constant has 0.
        mcc: of each attribute, by name.

    """

    mean_mcc: Estimate
    mcc: dict[str, Estimate]


@record
@dataclass(frozen=True, kw_only=True)
class Course:
    """How an attacker's training went.

    Attributes:
        converged: whether it ended since its error on validation people no longer improved; else its budget ended it,
            and a longer attack might get more.
        steps: for how many it was trained.
        validation_error: the lowest on validation people.
        queries: pictures sent to the encoder; none where they are not counted.

    """

    converged: bool
    steps: int
    validation_error: float
    queries: int | None = None


@record
@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of making an attack, of which the strongest counts.

    Attributes:
        scores: on test people.
        course: of its training; none where it is not trained.
        validation: its scores on validation people, by which the strongest is chosen.
        flags: why it may be weaker than it looks.
        facts: further figures that are no estimates.
        seconds: what it took; none where it is timed with the others.

    """

    scores: Scores = field(default_factory=dict)
    course: Course | None = None
    validation: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=dict)
    seconds: float | None = None


@record
@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What one attack got from the test people.

    Attributes:
        scores: of the strongest way, as chosen on validation people.
        strongest: the name of that way, by score; empty where there is one way only.
        ways: every way, by name.
        course: of the training, where there is one way only, or of the way that is trained.
        facts: further figures that are no estimates, such as the number of pictures.
        validation: of the strongest way: what a setting may be chosen by.
        seconds: what it took.

    """

    scores: Scores
    strongest: dict[str, str] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    course: Course | None = None
    facts: Facts = field(default_factory=dict)
    validation: float | None = None
    seconds: float | None = None


Attacks = dict[str, OrRefused[AttackResult]]


@record
@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What the task's decisions alone give away, a bit for each attribute.

    Attributes:
        scores: of the attacks on them.
        leakage: as shares of what the control gives away, or without one of what the encoder itself does.
        course: of the network that predicts features from them.
        seconds: what it took.

    """

    scores: Scores
    leakage: dict[str, OrRefused[Estimate]]
    course: Course | None = None
    seconds: float | None = None


@record
@dataclass(frozen=True, kw_only=True)
class Point:
    """What an attacker gets with so many pairs of a picture and its features."""

    queries: int
    converged: bool
    scores: Scores


@record
@dataclass(frozen=True, kw_only=True)
class Queries:
    """How many pairs an attack takes.

    Attributes:
        attacker: who makes the curve.
        breach: the score at which an encoder counts as breached, by its name.
        curve: from few pairs to all.
        pairs_to_breach: the fewest of the curve whose score exceeds the breach by the lower end of its interval.

    """

    attacker: str
    breach: dict[str, float]
    curve: list[Point]
    pairs_to_breach: int | None


@record
@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Mean cosine of a judge's features of two pictures of one test person, of two, and of the mean face and one."""

    same: float | None
    different: float | None
    mean_face: float


@record
@dataclass(frozen=True, kw_only=True)
class JudgeReport:
    """How good a judge of faces is on real test pictures, which bounds what its scores can show.

    Attributes:
        name: for people.
        fingerprint: by which it is told from others; none for one that cannot be.
        false_accept_rate: share of pairs of different validation people above the threshold.
        threshold: that cosine; none where they are too few to find it.
        true_accept_rate: share of pairs of pictures of one test person above it.
        similarity: of its features.
        blind: why it cannot tell who is shown; none where it can, or nobody can say.

    """

    name: str
    fingerprint: str | None
    false_accept_rate: float
    threshold: float | None
    true_accept_rate: Estimate | None
    similarity: Similarity
    blind: str | None = None


@record
@dataclass(frozen=True, kw_only=True)
class Guard:
    """A check of the audit itself: `passed` is none where nobody can know whether it holds."""

    name: str
    passed: bool | None
    message: str


@record
@dataclass(frozen=True, kw_only=True)
class Number:
    """A figure that stands first in the page.

    Attributes:
        title: what it is.
        metric: its name in `metrics.registry`; `mean_mcc` is the task's.
        value: of this encoder.
        floor: of who knows nothing.
        control: of the unprotected encoder.
        leakage: the share that it is of what the control gives away; none for a figure that no leakage is of.
        decides: whether the verdict rests on it.

    """

    title: str
    metric: str
    value: Estimate
    floor: Estimate | float | None
    control: Estimate | float | None
    leakage: OrRefused[Estimate] | None
    decides: bool


@record
@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict in words.

    Attributes:
        level: by the rule of docs/audit.md.
        sentence: that says it.
        decides: the name of the leakage whose interval decided.
        reasons: first the rule that led to the level.
        numbers: the figures that stand first.

    """

    level: Level
    sentence: str
    decides: str | None
    reasons: list[str]
    numbers: list[Number] = field(default_factory=list)


@record
@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was audited.

    Attributes:
        name: how it is called.
        kind: what was given.
        threat_models: what its attackers have.
        noisy: whether it answers differently each time.
        features: their shape.
        picture_size: pixels a side.
        task: its attributes; none where they are unknown.

    """

    name: str
    kind: Literal["run", "module", "onnx", "features"]
    threat_models: list[str]
    noisy: bool
    features: list[int]
    picture_size: int
    task: list[str] | None


@record
@dataclass(frozen=True, kw_only=True)
class Excess:
    """A score on validation people and its floor: what leakage is made of there."""

    score: float
    floor: float


@record
@dataclass(frozen=True, kw_only=True)
class ControlReport:
    """The unprotected encoder's audit: its name, its audit's folder, its utility and its attacks."""

    name: str
    audit: str
    utility: Utility | None
    attacks: Attacks


@record
@dataclass(frozen=True, kw_only=True)
class Named:
    """A judge as others know it: its name, for people, and its fingerprint, by which it is told from others."""

    name: str | None
    fingerprint: str | None

    def __str__(self) -> str:
        if self.name is None:
            return "no verifier"
        return f"{self.name} ({(self.fingerprint or 'no fingerprint')[:12]})"


@record
@dataclass(frozen=True, kw_only=True)
class Data:
    """A pack as others know it: its folder's name, and the hash of its pictures and labels."""

    name: str
    hash: str


@record
@dataclass(frozen=True, kw_only=True)
class Question:
    """What an audit is asked, whoever judges, without a path.

    Attributes:
        audit: the attacks and their budgets, files by name and hash.
        victim: what tells it from any other: names and hashes.
        data: the pack.
        images: whether pictures of people were asked for.

    """

    audit: dict[str, Any]
    victim: dict[str, Any]
    data: Data
    images: bool


@record
@dataclass(frozen=True, kw_only=True)
class Asked(Question):
    """The same with the judge: all that decides an audit's figures."""

    verifier: Named


@record
@dataclass(frozen=True, kw_only=True)
class Provenance(Asked):
    """What made a report.

    Attributes:
        oneway: its version, as those of the libraries below are theirs.
        torch: see `oneway`.
        torchvision: see `oneway`.
        python: see `oneway`.
        machine: its processors.
        created: when, in UTC.

    """

    oneway: str
    torch: str
    torchvision: str
    python: str
    machine: str
    created: str


@record
@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What someone learns who steals an encoder's features.

    Attributes:
        victim: what was audited.
        utility: of its task; none where that is unknown.
        verdict: in words.
        leakage: of `face_similarity`, `feature_similarity` and `linkage`: 0 as one who knows nothing, 1 as against no
            protection.
        attacks: by name.
        queries: how many pairs of a picture and its features it takes.
        floors: who knows nothing: `mean_face`, `random_public_face`, `mean_feature`, `constant_prediction`, `chance`.
        decisions: what the task's decisions alone give away.
        validation: what the leakages are made of, on validation people: a setting is chosen by these.
        control: the unprotected encoder beside it.
        verifier: the judge of faces.
        unconverged: the steps whose trained attacker ended by its budget.
        guards: checks of the audit itself.
        untested: what it does not show.
        seconds: of each step.
        provenance: what made it.

    """

    schema: Literal[4] = SCHEMA
    kind: Literal["audit"] = "audit"
    victim: Subject
    utility: Utility | None
    verdict: Verdict
    leakage: dict[str, OrRefused[Estimate]]
    attacks: Attacks
    queries: OrRefused[Queries]
    floors: dict[str, Floors]
    decisions: OrRefused[Decisions]
    validation: dict[str, Excess]
    control: ControlReport | None
    verifier: JudgeReport | None
    unconverged: list[str]
    guards: list[Guard]
    untested: list[str]
    seconds: dict[str, float]
    provenance: Provenance

    def __str__(self) -> str:
        from oneway.console import as_text
        from oneway.report.table import audit_table

        return as_text(audit_table(self))

    def to_json(self) -> str:
        """Write the report as JSON, as `results.json` holds it."""
        return json.dumps(to_dict(self), indent=2, allow_nan=False)

    def to_html(self) -> str:
        """Write the report as one HTML page that needs nothing else, without pictures."""
        from oneway.report.page import page

        return page(self, None)

    def passes(self, limits: Mapping[str, float]) -> bool:
        """Say whether the upper end of every figure's interval keeps to its limit; see `report.limits`.

        Raises:
            InputError: for a figure that does not exist.

        """
        from oneway.report.limits import check_limits, read_limits

        checks = check_limits(self, read_limits({name: str(limit) for name, limit in limits.items()}))
        return all(check.passed for check in checks)


def scores_of(result: AttackResult | Decisions | Refused | None) -> Scores:
    """Give the scores of an attack; none where it was refused or left out."""
    return {} if result is None or isinstance(result, Refused) else result.scores


def refusals(attacks: Attacks) -> Iterator[tuple[str, str]]:
    """Give the attacks that were refused, each with the reason."""
    for name, result in attacks.items():
        if isinstance(result, Refused):
            yield name, result.refused


@record
@dataclass(frozen=True, kw_only=True)
class Validated:
    """The task on validation people, each half's decisions made at thresholds chosen on the other half."""

    mean_mcc: float


@record
@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run of `protect` is good for; it says nothing about privacy.

    Attributes:
        utility: of its task, on test people.
        validation: on validation people.
        probes: what fresh decoders found while it was trained, where they were asked for.
        provenance: what made it.

    """

    schema: int
    kind: Literal["protect"] = "protect"
    utility: Utility
    validation: Validated
    probes: dict[str, Any] | None
    provenance: dict[str, Any]


Report = TypeVar("Report")


def read_report(folder: Path, kind: type[Report], command: str) -> Report:
    """Read the results of a kind in a folder; `command` is what makes such a folder.

    Raises:
        InputError: if there are none, or they are of another kind or version, or damaged: naming the field.

    """
    path = folder / RESULTS
    try:
        text = regular(path).read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the --out of a finished `{command}`") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from error
    remedy = f"give the --out of a finished `{command}`, or make it anew, in another folder, by that command"
    return from_json(kind, text, str(path), remedy)
