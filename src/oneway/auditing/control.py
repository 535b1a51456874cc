"""The control of an audit: the same attacks on the unprotected encoder, from its own audit's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.finished import check_same_judge, check_same_settings, without
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.victim import Victim
from oneway.errors import InputError
from oneway.files import read_array
from oneway.protection.config import read
from oneway.report.values import Asked, AuditReport, ControlReport, read_report

SCORES, PICTURES = "scores.npz", "shown.npy"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A finished audit of an unprotected encoder.

    Attributes:
        path: its folder.
        report: what it found.
        scores: scores of every test picture by attack and name, (n,).
        pictures: the strongest attacker's pictures of the people that a report shows; none if they were left out.

    """

    path: Path
    report: AuditReport
    scores: dict[str, NDArray[np.float64]]
    pictures: NDArray[np.uint8] | None

    def beside(self) -> ControlReport:
        """Give what stands in the report of the audit that it is the control of."""
        return ControlReport(
            name=self.report.victim.name,
            audit=self.path.absolute().name,
            utility=self.report.utility,
            attacks=self.report.attacks,
        )


def check_control(path: Path, victim: Victim, asked: Asked) -> Control:
    """Read the control's audit, unless it answers another question than this one's.

    Raises:
        InputError: if it is no audit, or differs in its data, attacks, judge or features, or is protected itself.

    """
    command = f"oneway {'audit' if asked.audit['alone'] is None else 'attack'} CONTROL --out NEW"
    report = read_report(path, AuditReport, command)
    made = report.provenance
    trained = read(made.victim["protect"]) if "protect" in made.victim else None
    if trained is not None and trained.protects:
        raise InputError(
            f"the control {path} audited a protected run ({', '.join(trained.protection)}); give the audit of a run "
            "with --pixel 0"
        )
    check_same_judge(path, made.verifier, asked.verifier)
    theirs: dict[str, Any] = {"data": made.data.hash, "audit": _question(made.audit)}
    ours: dict[str, Any] = {"data": asked.data.hash, "audit": _question(asked.audit)}
    if trained is not None and "protect" in victim.identity:
        theirs |= trained.of_control()
        ours |= read(victim.identity["protect"]).of_control()
    check_same_settings(path, theirs, ours, command)
    if not (path / SCORES).is_file():
        raise InputError(f"the control {path} lacks {SCORES}; make it again")
    with np.load(path / SCORES, allow_pickle=False) as stored:
        order = hidden_order(victim.pack.test)
        if not np.array_equal(stored["people"], anonymous(victim.pack.test.identities[order])):
            raise InputError(f"the control {path} scored other people; make it again")
        back = np.argsort(order)
        scores = {name: stored[name][back] for name in stored.files if name != "people"}
    pictures = read_array(path / PICTURES) if (path / PICTURES).is_file() else None
    return Control(path=path, report=report, scores=scores, pictures=pictures)


def _question(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out where it ran, how an encoder takes pictures, which is its own affair, and what it leaves behind."""
    question = without(config, "runtime", "pixels", "output")
    return question if config["alone"] is None else question | {"alone": without(config["alone"], "keep")}
