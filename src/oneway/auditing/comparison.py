"""Several finished audits of one question, side by side: is an encoder worse than the last?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from oneway.auditing.control import SCORES, deciding
from oneway.auditing.figures import Figure, Finished, figures_of
from oneway.auditing.question import require_fingerprint, without
from oneway.errors import InputError
from oneway.metrics.difference import paired, unpaired
from oneway.metrics.estimate import spanning
from oneway.metrics.registry import metrics
from oneway.report.comparison import Change, Compared, Comparison
from oneway.report.limits import SHARES
from oneway.report.reports import AuditReport
from oneway.storage import runs

SAME = 1e-5
"""How near what the scores give must be to what a report says."""
NAMES = ("run", "onnx", "bundle", "features")
"""What an encoder's file or folder is called, in what tells it from any other."""


def compare(*audits: Path | str) -> Comparison:
    """Compare finished audits of one question: every figure, and its change from the first audit, with an interval.

    Where scores of every picture are kept, test people are drawn anew once for both, so that what is common to both
    audits cancels: which people are easy, how strict a judge is. Other changes are made of the two intervals.

    Args:
        audits: folders of finished audits, the one to compare with first; of one pack, by the same judges in the same
            order, with the same settings.

    Raises:
        InputError: if they are fewer than two, unfinished, damaged, or answer another question: naming what differs.

    """
    if len(audits) < 2:
        raise InputError(f"a comparison takes two audits or more, not {len(audits)}: oneway compare BEFORE AFTER")
    opened = [Finished(Path(audit)) for audit in audits]
    first, *others = opened
    seen = [audit.path.resolve() for audit in opened]
    twice = next((path for path in seen if seen.count(path) > 1), None)
    if twice is not None:
        raise InputError(f"the audit {twice} is given twice; give each once: oneway compare BEFORE AFTER")
    for other in others:
        _check_same(first, other)
    opened = [first, *(other.beside(first) for other in others)]
    figures, remarks = _figures(opened)
    return Comparison(
        names=_names(opened),
        victims=[audit.report.victim.name for audit in opened],
        levels=[audit.report.verdict.level for audit in opened],
        figures=figures,
        weaker=[_weaker(first.report, audit.report) for audit in opened],
        remarks=[*remarks, *_further(opened)],
        people=len(np.unique(first.people)),
        of_pictures=first.report.victim.of_pictures,
    )


def _names(audits: Sequence[Finished]) -> list[str]:
    """Name audits by their folders, or by their whole paths where two folders have one name."""
    short = [audit.path.absolute().name for audit in audits]
    return short if len(set(short)) == len(short) else [str(audit.path) for audit in audits]


def _check_same(first: Finished, other: Finished) -> None:
    """Refuse to compare audits of different pictures, by different judges or with different settings."""
    ours, theirs = first.report.provenance, other.report.provenance
    if ours.data.hash != theirs.data.hash:
        raise InputError(
            f"{first.path} is of the pack {ours.data.name} ({ours.data.hash[:12]}) and {other.path} of "
            f"{theirs.data.name} ({theirs.data.hash[:12]}): figures of other people do not compare; audit both on one "
            "pack: oneway audit ENCODER --data PACK --out NEW"
        )
    for audit, made in ((first, ours), (other, theirs)):
        for judge in made.judges:
            require_fingerprint(judge, str(audit.path))
    if [judge.fingerprint for judge in ours.judges] != [judge.fingerprint for judge in theirs.judges]:
        judged = [" and ".join(map(str, made.judges)) or "no verifier" for made in (ours, theirs)]
        raise InputError(
            f"{first.path} was judged by {judged[0]}, and {other.path} by {judged[1]}; audit both by the "
            "same judges in the same order: oneway audit ENCODER --verifier JUDGE --out NEW"
        )
    asked, held = runs.flat(deciding(ours.audit)), runs.flat(deciding(theirs.audit))
    for name in [*asked, *(name for name in held if name not in asked)]:
        if asked.get(name) != held.get(name):
            raise InputError(
                f"{first.path} was made with {name} = {asked.get(name)!r}, and {other.path} with {held.get(name)!r}: "
                f"stronger attackers get more; audit both alike: oneway audit ENCODER --set {name}=VALUE --out NEW"
            )
    if not np.array_equal(first.people, other.people):
        raise InputError(f"{other.path / SCORES} and that of {first.path} are of other people; make both audits again")


def _figures(audits: Sequence[Finished]) -> tuple[list[Compared], list[str]]:
    """Give every figure that an audit has, by group, and say what was not compared."""
    averaged = any(audit.report.victim.noisy for audit in audits)
    named = [figures_of(audit, averaged=averaged) for audit in audits]
    names = dict.fromkeys(name for found in named for name in found)
    figures, missing, remarks = [], list[str](), list[str]()
    one_task = all(audit.report.victim.task == audits[0].report.victim.task for audit in audits)
    one_control = _one_control([audit.report for audit in audits])
    for name in names:
        every = [found.get(name) for found in named]
        told = next(figure for figure in every if figure is not None)
        if not one_task and (told.metric == "utility" or told.metric.startswith("inferred")):
            continue
        if not one_control and told.metric.partition(".")[0] in SHARES:
            continue
        values = [None if figure is None else figure.value for figure in every]
        if None in values:
            missing.append(told.title)
        known = metrics().get(told.metric)
        figures.append(
            Compared(
                name=name,
                metric=told.metric,
                title=told.title,
                safer=None if told.metric == "utility" else "low" if known is None else known.safer,
                values=values,
                changes=[None, *(_change(audits, place, every) for place in range(1, len(audits)))],
            )
        )
    if not one_task:
        remarks.append("not compared: utility and inference, since the encoders decide different tasks")
    if not one_control:
        remarks.append("not compared: leakage and excess, which are shares of different controls")
    if missing:
        remarks.append(f"not compared, since not every audit measured it: {', '.join(missing)}")
    return sorted(figures, key=lambda figure: figure.group), remarks


def _one_control(reports: Sequence[AuditReport]) -> bool:
    """Say whether audits stand beside one control, as far as their reports say which encoder that is."""
    got = [_control(report) for report in reports]
    told = [report.control.victim for report in reports if report.control is not None]
    encoders = [without(each, *NAMES) for each in told if each is not None]
    return all(each == got[0] for each in got) and all(each == encoders[0] for each in encoders)


def _control(report: AuditReport) -> object:
    """Give what a control gave away to attackers who need no judge, in which two hardly agree if they gave any."""
    control = report.control
    return (
        None if control is None else (control.utility, control.attacks.get("linkage"), control.attacks.get("scatter"))
    )


def _change(audits: Sequence[Finished], place: int, figures: Sequence[Figure | None]) -> Change | None:
    """Give the change of a figure from the first audit to the one at a place; nothing where one did not measure it."""
    before, after = figures[0], figures[place]
    if before is None or after is None or before.value is None or after.value is None:
        return None
    if before.made_of is None or after.made_of is None:
        return Change(estimate=unpaired(before.value, after.value), paired=False)
    unit, first, later = after.value.unit, before.made_of(), after.made_of()
    best, *others = (paired(ours, theirs, audits[0].people, unit=unit) for theirs in later for ours in first)
    if abs(best.value - (after.value.value - before.value.value)) > SAME * max(1.0, abs(after.value.value)):
        raise InputError(
            f"{audits[place].path / SCORES}, or that of {audits[0].path}, gives another {after.title} than the results "
            "beside it; make both audits again"
        )
    return Change(estimate=spanning(best, others), paired=True)


def _weaker(first: AuditReport, report: AuditReport) -> list[str]:
    """Say by what an audit has tested less well than the first: attackers and guards that held there and not here."""
    late = [name for name in report.unconverged if name not in first.unconverged]
    held = {guard.name for guard in first.guards if guard.passed and guard.name != "convergence"}  # said by name
    failed = [guard.name for guard in report.guards if guard.passed is False and guard.name in held]
    reasons = [f"the attacker {name!r} was ended by its budget, and not in the first" for name in late]
    return reasons + [f"the guard {name!r} does not hold, and does in the first" for name in failed]


def _further(audits: Sequence[Finished]) -> list[str]:
    """Say what else differs that may matter: the versions that made the audits."""
    made = [audit.report.provenance for audit in audits]
    remarks = []
    for library in ("oneway", "torch"):
        versions = [str(getattr(each, library)) for each in made]
        if len(set(versions)) > 1:
            remarks.append(f"made by {library} {', '.join(versions)}, in that order: attackers may differ")
    return remarks
