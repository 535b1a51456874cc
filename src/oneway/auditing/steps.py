"""The finished steps of an audit, each kept in the audit's folder, so that a killed audit goes on where it was."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from oneway.attacks.fit import Place
from oneway.data.shards import read_arrays, reading
from oneway.report.values import Refused
from oneway.storage import runs
from oneway.storage.atomic import whole

FOLDER = "parts"
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step found.

    Attributes:
        facts: what can be written as JSON.
        arrays: scores of each test picture, pictures, and the like.

    """

    facts: dict[str, Any]
    arrays: Arrays = field(default_factory=dict)

    @property
    def refusal(self) -> Refused | None:
        """Why it found nothing, if it did not."""
        return Refused(refused=self.facts["refused"]) if "refused" in self.facts else None


def refused(reason: str) -> StepResult:
    """Say why a step has no result."""
    return StepResult(facts={"refused": reason})


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
        self._checkpoint_seconds, self._progress = checkpoint_seconds, progress

    def path(self, name: str, suffix: str) -> Path:
        """Name a file of a step, which is removed when the audit has finished."""
        plain = re.sub(r"[^\w]+", "-", name)
        if plain != name.replace(" ", "-"):  # names of judges may hold anything
            plain = f"{plain[:60]}-{runs.digest(name)}"
        return self._folder / f"{plain}.{suffix}"

    def take(self, name: str, make: Callable[[Place], StepResult]) -> StepResult:
        """Give what the step of that name finds, from its files if it was taken before."""
        facts, arrays = self.path(name, "json"), self.path(name, "npz")
        if not facts.exists():
            begun = time.monotonic()
            place = Place(
                fabric=self.fabric,
                checkpoint=self.path(name, "safetensors"),
                checkpoint_seconds=self._checkpoint_seconds,
                progress=self._progress,
            )
            found = make(place)
            with whole(arrays) as partial, partial.open("wb") as file:
                np.savez(file, **found.arrays)  # type: ignore[arg-type]
            # With its facts in place, the step is taken.
            runs.write_json(facts, found.facts | {"seconds": round(time.monotonic() - begun, 1)})
            place.checkpoint.unlink(missing_ok=True)
        with reading(arrays):
            return StepResult(facts=runs.read_json(facts), arrays=read_arrays(arrays))
