"""The control of an audit: the same attacks on the unprotected encoder, from its own audit's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.judged import as_judged
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.question import check_same_judges, check_same_settings, without
from oneway.auditing.reconstruction import shown
from oneway.auditing.renamed import names_here, report_here, score_here
from oneway.auditing.shares import Counting
from oneway.auditing.victim import Victim
from oneway.data.shards import read_arrays, reading
from oneway.errors import InputError
from oneway.protection.config import read
from oneway.protection.run import Run
from oneway.report.asked import Asked, Question
from oneway.report.reports import AuditReport, ControlReport, read_report
from oneway.storage import runs
from oneway.storage.inputs import read_array

SCORES, PICTURES = "scores.npz", "shown.npy"


@dataclass(frozen=True, kw_only=True)
class Control:
    """A finished audit of an unprotected encoder, whose judges are named as in the audit that it is the control of.

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

    def beside(self, counts: Counting) -> ControlReport:
        """Give what stands in the report of the audit that it is the control of, as the judges that count there see."""
        return ControlReport(
            name=self.report.victim.name,
            audit=self.path.absolute().name,
            victim=self.report.provenance.victim,
            utility=self.report.utility,
            attacks=as_judged(self.report.attacks, self.report.judges, counts),
        )


def is_run(path: Path) -> bool:
    """Say whether a control is given as a run, which has yet to be audited."""
    return "protect" in runs.read_json(path / runs.CONFIG)


def check_question(path: Path, victim: Victim, asked: Question) -> None:
    """Refuse a control, an audit or a run, that answers another question than this audit's, whoever judges.

    Args:
        path: its folder.
        victim: what is audited.
        asked: what the audit is asked.

    Raises:
        InputError: if it is neither, or differs in its data, attacks or network, or is protected itself.

    """
    if is_run(path):
        _compare(path, runs.named(Run.open(path, victim.pack).config), victim, {}, {}, _command(asked))
        return
    _read_audit(path, victim, asked)


def _read_audit(path: Path, victim: Victim, asked: Question) -> AuditReport:
    """Read the audit of a control, unless it answers another question."""
    report = read_report(path, AuditReport, _command(asked))
    made = report.provenance
    theirs, ours = ({"data": each.data.hash, "audit": deciding(each.audit)} for each in (made, asked))
    _compare(path, made.victim.get("protect"), victim, theirs, ours, _command(asked))
    return report


def _command(asked: Question) -> str:
    """Give the command that makes a control of an audit, or of an attack."""
    return f"oneway {'audit' if asked.audit.get('alone') is None else 'attack'} CONTROL --out NEW"


def deciding(config: Mapping[str, object]) -> dict[str, object]:
    """Leave out where it ran, how an encoder takes pictures and what renews it, its own affairs, and what it leaves."""
    question = without(config, "runtime", "pixels", "output", "renewed", "keep")
    alone = config.get("alone")
    return question | {"alone": without(alone, "keep")} if isinstance(alone, dict) else question


def _compare(
    path: Path,
    protect: object,
    victim: Victim,
    theirs: Mapping[str, object],
    ours: Mapping[str, object],
    command: str,
) -> None:
    """Hold a control to an audit: what both say of themselves, and, where both were trained here, their networks."""
    trained = None if protect is None else read(protect, f"{path}: ")
    if trained is not None and trained.protects:
        raise InputError(
            f"the control {path} is a protected run ({', '.join(trained.protection)}), or the audit of one; give a run "
            "made with --defence none, or its audit"
        )
    if trained is not None and "protect" in victim.identity:
        theirs, ours = {**theirs, **trained.of_control()}, {**ours, **read(victim.identity["protect"]).of_control()}
    check_same_settings(path, theirs, ours, command)


def read_scores(path: Path) -> dict[str, NDArray[Any]]:
    """Read the scores of a finished audit.

    Raises:
        InputError: if the file is missing or damaged.

    """
    if not path.is_file():
        raise InputError(f"the audit {path.parent} lacks {path.name}; make it again")
    with reading(path):
        return read_arrays(path)


def check_scores(path: Path, scores: Mapping[str, NDArray[Any]], num_pictures: int, made: str) -> None:
    """Hold scores to what an audit writes; `made` is what has to be made again where they are something else.

    Raises:
        InputError: naming the first score that is not a finite number for each test picture.

    """
    for name, found in scores.items():
        if found.shape != (num_pictures,) or found.dtype.kind not in "fiub" or not np.isfinite(found).all():
            raise InputError(f"{path}: {name!r} is not a number for each test picture; make {made} again")


def open_control(path: Path, victim: Victim, asked: Asked) -> Control:
    """Open the audit of a control, which must be one of the same question by the same judges, whatever they are called.

    Args:
        path: its folder.
        victim: what is audited.
        asked: what the audit is asked.

    Raises:
        InputError: as `check_question` does, and if another judged it, or its scores are damaged.

    """
    report = _read_audit(path, victim, asked)
    check_same_judges(path, report.provenance.judges, asked.judges)
    stored = read_scores(path / SCORES)
    order = hidden_order(victim.pack.test)
    people = anonymous(victim.pack.test.identities[order])
    if not np.array_equal(stored.pop("people", people[:0]), people):
        raise InputError(f"the control {path} scored other people; make it again")
    check_scores(path / SCORES, stored, len(people), "the control")
    back = np.argsort(order)
    names = names_here(report.provenance.judges, asked.judges)
    scores = {score_here(name, names): stored[name][back] for name in stored}
    pictures = None
    if (path / PICTURES).exists():
        with reading(path / PICTURES):
            pictures = read_array(path / PICTURES)
        size = victim.pack.size
        if pictures.dtype != np.uint8 or pictures.shape != (len(shown(victim.pack)), size, size, 3):
            raise InputError(
                f"{path / PICTURES}: must be uint8 pictures of {len(shown(victim.pack))} people, {size} pixels a side, "
                f"it is {pictures.dtype} of shape {pictures.shape}; make the control again"
            )
    return Control(path=path, report=report_here(report, names), scores=scores, pictures=pictures)
