"""The finished steps of an audit, each kept in the audit's folder, so that a killed audit goes on where it was."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from oneway.attacks.fit import Place
from oneway.config import from_dict, record, to_dict
from oneway.data.shards import read_arrays, reading
from oneway.errors import InputError
from oneway.report.values import Course, Facts, Refused, Scores, Way
from oneway.storage import runs
from oneway.storage.atomic import held, whole

FOLDER = "parts"
AGAIN = "delete it, and --resume takes the step again"
Arrays = Mapping[str, NDArray[Any]]


@record
@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """What a step found beside arrays.

    Attributes:
        refused: why it found nothing, if it did not.
        course: of its attacker's training, if one was trained.
        trained_with: names of the judges that its attacker trained with.
        validation: scores on validation people, by which attackers, ways and settings are chosen.
        scores: on test people, as far as they are no means of `arrays`.
        ways: every way that was tried, by name, where there are several.
        strongest: the name of the way, or of the attacker, that validation people found the strongest.
        attributes: that were inferred.
        facts: further figures that are no estimates.
        seconds: what it took.

    """

    refused: str | None = None
    course: Course | None = None
    trained_with: list[str] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    strongest: str | None = None
    attributes: list[str] = field(default_factory=list)
    facts: Facts = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step found.

    Attributes:
        facts: what can be written as JSON.
        arrays: scores of each test picture, pictures, and the like.

    """

    facts: StepFacts = field(default_factory=StepFacts)
    arrays: Arrays = field(default_factory=dict)

    @property
    def refusal(self) -> Refused | None:
        """Why it found nothing, if it did not."""
        return None if self.facts.refused is None else Refused(refused=self.facts.refused)

    @property
    def course(self) -> Course:
        """How the training of its attacker went, which it has."""
        assert self.facts.course is not None
        return self.facts.course


def refused(reason: str) -> StepResult:
    """Say why a step has no result."""
    return StepResult(facts=StepFacts(refused=reason))


class Steps:
    """Takes steps, or finds them taken.

    Args:
        folder: the audit's.
        fabric: where attackers are trained.
        checkpoint_seconds: least time between two of an attacker's checkpoints.
        progress: show a bar for each.

    """

    def __init__(self, folder: Path, fabric: Fabric, *, checkpoint_seconds: float, progress: bool) -> None:
        self.home, self._folder, self.fabric = folder, folder / FOLDER, fabric
        self._checkpoint_seconds, self.progress = checkpoint_seconds, progress

    def path(self, name: str, suffix: str) -> Path:
        """Name a file of a step, which is removed when the audit has finished."""
        plain = re.sub(r"[^\w]+", "-", name)
        if plain != name.replace(" ", "-"):  # names of judges may hold anything
            plain = f"{plain[:60]}-{runs.digest(name)}"
        return self._folder / f"{plain}.{suffix}"

    def taken(self, name: str) -> bool:
        """Say whether the step of that name is finished."""
        return self.path(name, "json").exists()

    def take(self, name: str, make: Callable[[Place], StepResult]) -> StepResult | None:
        """Give what the step of that name finds, from its files if it was taken before; none while another takes it."""
        if not self.taken(name):
            with held(self.path(name, "lock")) as mine:
                if not mine:
                    return None
                if not self.taken(name):
                    self._make(name, make)
        facts, arrays = self.path(name, "json"), self.path(name, "npz")
        with reading(arrays):
            kept = from_dict(StepFacts, runs.read_json(facts), f"{facts}: ", AGAIN)
            if kept.seconds is None:
                raise InputError(f"{facts}: it says nothing of a step; {AGAIN}")
            return StepResult(facts=kept, arrays=read_arrays(arrays))

    def _make(self, name: str, make: Callable[[Place], StepResult]) -> None:
        begun = time.monotonic()
        place = Place(
            fabric=self.fabric,
            checkpoint=self.path(name, "safetensors"),
            checkpoint_seconds=self._checkpoint_seconds,
            progress=self.progress,
        )
        found = make(place)
        with whole(self.path(name, "npz")) as partial, partial.open("wb") as file:
            np.savez(file, **found.arrays)  # type: ignore[arg-type]
        # With its facts in place, the step is taken.
        facts = replace(found.facts, seconds=round(time.monotonic() - begun, 1))
        runs.write_json(self.path(name, "json"), to_dict(facts))
        place.checkpoint.unlink(missing_ok=True)
