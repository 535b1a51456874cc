"""An audit by the same networks in files of other names: what it found, by the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from oneway.auditing.shares import AGAIN
from oneway.judges.judge import BY, INDEPENDENT
from oneway.report.asked import Named
from oneway.report.reports import AuditReport
from oneway.report.values import AttackResult

AFTER = re.compile(f"({re.escape(INDEPENDENT)})?({re.escape(AGAIN)}[0-9]+)?")
"""What may follow a judge's name in that of a score."""
Names = Mapping[str, str]
"""Of judges: the name here by the name there."""


def names_here(there: Sequence[Named], here: Sequence[Named]) -> Names:
    """Pair the names of judges that are the same, in their order."""
    pairs = zip(there, here, strict=True)
    return {old.name: new.name for old, new in pairs if old.name is not None and new.name is not None}


def score_here(score: str, names: Names) -> str:
    """Name a score of `scores.npz`, or of validation people, after the name that its judge has here."""
    begin, by, rest = score.partition(BY)
    for there in sorted(names, key=len, reverse=True):  # one name may begin another
        if by and rest.startswith(there) and AFTER.fullmatch(rest, len(there)):
            return f"{begin}{by}{names[there]}{rest[len(there) :]}"
    return score


def report_here(report: AuditReport, names: Names) -> AuditReport:
    """Name the judges of a report, and what each saw of every attacker, as they are named here.

    Attackers, and ways of linking, keep the names that they had.
    """
    attacks, inversion = report.attacks, report.attacks.get("inversion")
    if isinstance(inversion, AttackResult):
        ways = {
            label: replace(
                way,
                validation={score_here(score, names): value for score, value in way.validation.items()},
                judged={names.get(judge, judge): scores for judge, scores in way.judged.items()},
            )
            for label, way in inversion.ways.items()
        }
        attacks = attacks | {"inversion": replace(inversion, ways=ways)}
    judges = [replace(judge, name=names.get(judge.name, judge.name)) for judge in report.judges]
    return replace(report, attacks=attacks, judges=judges)
