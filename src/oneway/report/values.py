"""What commands find, as typed values: an audit's report, and what it is made of. JSON only at the edge.

docs/results.schema.json describes the JSON, and is made from these types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeVar

from pydantic import AliasChoices, Discriminator, Field, Tag

from oneway.config import record
from oneway.metrics.estimate import Estimate

SCHEMA: Literal[13] = 13
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
INFERRED = "inferred."
"""Begins the name of the score of an attribute that is not binary: how well it is inferred, in its task's utility."""
Floors = dict[str, Estimate | float]
Facts = dict[str, int | float | str]


@record
@dataclass(frozen=True, kw_only=True)
class Utility:
    """What an encoder is good for, on the test people: what its task's decisions are worth.

    Attributes:
        value: the figure that encoders are compared by: 0 for who decides alike for everybody, 1 without error.
        title: of this figure, such as mean MCC.
        of: what is decided, such as 40 attributes; empty in results that were made when there was no other task.
        each: of each attribute, or of each class, by name.
        further: other figures, by title.

    """

    value: Annotated[Estimate, Field(validation_alias=AliasChoices("value", "mean_mcc"))]
    title: str = "mean MCC"
    of: str = ""
    each: Annotated[dict[str, Estimate], Field(validation_alias=AliasChoices("each", "mcc"))]
    further: dict[str, Estimate] = field(default_factory=dict)

    @property
    def whole(self) -> str:
        """Its title, and what is decided."""
        return f"{self.title} of {self.of or f'{len(self.each)} attributes'}"


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
        judged: scores of faces by the name of each judge.

    """

    scores: Scores = field(default_factory=dict)
    course: Course | None = None
    validation: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=dict)
    seconds: float | None = None
    judged: dict[str, Scores] = field(default_factory=dict)


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
        course: of the network that predicts features from them; of several judges' one that its budget ended, if any.
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
        attacker: who makes the curve, but for its last point, which is of the panel's strongest with all it has.
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
        metric: its name in `metrics.registry`; `utility` is the task's.
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
class ValidationScore:
    """What a leakage and its excess are made of on validation people.

    Attributes:
        score: of the attacker that counts.
        floor: of who knows nothing.
        decisions: of who has the task's decisions alone; none where that was not measured.

    """

    score: float
    floor: float
    decisions: float | None
