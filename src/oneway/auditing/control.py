"""The control of an audit: the same attacks on the unprotected encoder, from its own audit's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.finished import check_same_judge, check_same_settings, read_results, without
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.victim import Victim
from oneway.errors import InputError
from oneway.files import read_array
from oneway.protection.config import read

COMMAND = "oneway audit CONTROL --out NEW"
SCORES, PICTURES = "scores.npz", "shown.npy"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A finished audit of an unprotected encoder.

    Attributes:
        path: its folder.
        results: its `results.json`.
        scores: scores of every test picture by attack and name, (n,).
        pictures: the strongest attacker's pictures of the people that a report shows; none if they were left out.

    """

    path: Path
    results: dict[str, Any]
    scores: dict[str, NDArray[np.float64]]
    pictures: NDArray[np.uint8] | None

    def to_dict(self) -> dict[str, Any]:
        """Give what stands in the results of the audit that it is the control of."""
        return {
            "name": self.results["victim"]["name"],
            "audit": self.path.absolute().name,
            "utility": self.results["utility"],
            "attacks": self.results["attacks"],
        }


def check_control(path: Path, victim: Victim, described: dict[str, Any]) -> Control:
    """Read the control's audit, unless it answers another question than this one's.

    Raises:
        InputError: if it is no audit, or differs in its data, attacks, judge or features, or is protected itself.

    """
    results = read_results(path, "audit", COMMAND)
    made = results["provenance"]
    trained = read(made["victim"]["protect"]) if "protect" in made["victim"] else None
    if trained is not None and trained.protects:
        raise InputError(
            f"the control {path} audited a protected run ({', '.join(trained.protection)}); give the audit of a run "
            "with --pixel 0"
        )
    check_same_judge(path, made["verifier"], described["verifier"])
    theirs: dict[str, Any] = {"data": made["data"]["hash"], "audit": _question(made["audit"])}
    ours: dict[str, Any] = {"data": described["data"]["hash"], "audit": _question(described["audit"])}
    if trained is not None and "protect" in victim.identity:
        theirs |= trained.of_control()
        ours |= read(victim.identity["protect"]).of_control()
    check_same_settings(path, theirs, ours, COMMAND)
    if not (path / SCORES).is_file():
        raise InputError(f"the control {path} lacks {SCORES}; make it again")
    with np.load(path / SCORES, allow_pickle=False) as stored:
        order = hidden_order(victim.pack.test)
        if not np.array_equal(stored["people"], anonymous(victim.pack.test.identities[order])):
            raise InputError(f"the control {path} scored other people; make it again")
        back = np.argsort(order)
        scores = {name: stored[name][back] for name in stored.files if name != "people"}
    pictures = read_array(path / PICTURES) if (path / PICTURES).is_file() else None
    return Control(path=path, results=results, scores=scores, pictures=pictures)


def _question(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out where it ran, and how an encoder takes pictures, which is the encoder's own affair."""
    return without(config, "runtime", "pixels", "output")
