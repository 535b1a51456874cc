"""The reports that commands write, as typed values: an audit's and a run's; and how they are read again.

docs/results.schema.json describes their JSON, and is made from these types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AliasChoices, Field

from oneway.config import from_json, record, to_dict
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.report.asked import Provenance
from oneway.report.judging import JudgeReport
from oneway.report.profile import Profile
from oneway.report.values import (
    SCHEMA,
    Attacks,
    Decisions,
    Floors,
    Guard,
    OrRefused,
    Queries,
    Utility,
    ValidationScore,
    Verdict,
)
from oneway.report.words import OF_PEOPLE, OF_PICTURES, Words
from oneway.storage.inputs import regular
from oneway.storage.runs import RESULTS


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
        task: the attributes that it decides; none where they are unknown.
        of_pictures: whether nothing is said of people: judges tell pictures apart, or there is none and no picture says
            whom it shows.

    """

    name: str
    kind: Literal["run", "module", "onnx", "bundle", "features"]
    threat_models: list[str]
    noisy: bool
    features: list[int]
    picture_size: int
    task: list[str] | None
    of_pictures: bool = False


@record
@dataclass(frozen=True, kw_only=True)
class ControlReport:
    """The unprotected encoder's audit.

    Attributes:
        name: of the encoder.
        audit: its audit's folder.
        victim: what tells the encoder from any other: names and hashes; none in reports that were made before it was
            kept.
        utility: of its task.
        attacks: on it.

    """

    name: str
    audit: str
    victim: dict[str, object] | None = None
    utility: Utility | None
    attacks: Attacks


@record
@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """What someone learns who steals an encoder's features.

    Attributes:
        victim: what was audited.
        utility: of its task; none where that is unknown.
        verdict: in words.
        leakage: of `picture_similarity`, `feature_similarity` and `linkage`: 0 as one who knows nothing, 1 as against
            no protection.
        excess: of the same, above what the task's decisions alone give away: 0 as these, 1 as against no protection.
        attacks: by name.
        queries: how many pairs of a picture and its features it takes.
        floors: who knows nothing: `mean_picture`, `random_public_picture`, `mean_feature`, `constant_prediction`,
            `chance`.
        decisions: what the task's decisions alone give away.
        validation: what the leakages are made of, on validation people: a setting is chosen by these.
        control: the unprotected encoder beside it.
        judges: of faces.
        iso24745: what standards ask of protected features, gathered; none in reports that were made before it was.
        unconverged: the steps whose trained attacker ended by its budget.
        guards: checks of the audit itself.
        untested: what it does not show.
        seconds: of each step.
        provenance: what made it.

    """

    schema: Literal[13] = SCHEMA
    kind: Literal["audit"] = "audit"
    victim: Subject
    utility: Utility | None
    verdict: Verdict
    leakage: dict[str, OrRefused[Estimate]]
    excess: dict[str, OrRefused[Estimate]]
    attacks: Attacks
    queries: OrRefused[Queries]
    floors: dict[str, Floors]
    decisions: OrRefused[Decisions]
    validation: dict[str, ValidationScore]
    control: ControlReport | None
    judges: list[JudgeReport]
    iso24745: Profile | None = None
    unconverged: list[str]
    guards: list[Guard]
    untested: list[str]
    seconds: dict[str, float]
    provenance: Provenance

    @property
    def judge(self) -> JudgeReport | None:
        """The judge of faces that counts; none where there is no verifier."""
        return next((judge for judge in self.judges if judge.counts), None)

    @property
    def words(self) -> Words:
        """How it names what its pictures show."""
        return OF_PICTURES if self.victim.of_pictures else OF_PEOPLE

    def __str__(self) -> str:
        from oneway.console import as_text
        from oneway.report.table import audit_tables

        return "\n".join(map(as_text, audit_tables(self)))

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


@record
@dataclass(frozen=True, kw_only=True)
class Validated:
    """The task's utility on validation people, each half's decisions made at thresholds chosen on the other half."""

    utility: Annotated[float, Field(validation_alias=AliasChoices("utility", "mean_mcc"))]


@record
@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What a run of `protect` is good for; it says nothing about privacy.

    Attributes:
        utility: of its task, on test people.
        validation: on validation people.
        provenance: what made it.

    """

    schema: Annotated[int, Field(ge=1, le=SCHEMA)]
    kind: Literal["protect"] = "protect"
    utility: Utility
    validation: Validated
    probes: Annotated[None, Field(exclude=True)] = None  # of 0.1.0, where none were asked for
    provenance: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What every report must say of itself, whatever else it holds; what it says is held to by its own type."""

    schema: object
    kind: object


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
    from_json(_Kind, text, str(path), remedy)
    return from_json(kind, text, str(path), remedy)
