"""Limits on an audit's figures, so that a team can hold its encoder to them in continuous integration."""

from __future__ import annotations

import math
from collections.abc import Mapping

from oneway.errors import InputError, unknown
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report.convergence import RESTS, among
from oneway.report.junit import Check
from oneway.report.reports import AuditReport
from oneway.report.values import Refused, scores_of

UNCONVERGED = "unconverged"
"""The number of trained attackers that their budget ended; none may be, unless a limit says otherwise."""
LEAKAGES = {"picture_similarity": "inversion", "feature_similarity": "feature", "linkage": "linkage"}
"""The leakages, and the attack that each is of."""

SHARES = ("leakage", "excess")
"""The shares of a control, by the names of a report's fields."""


def limited() -> dict[str, str]:
    """Give every figure on which a limit can be put, higher being worse in all, with the attack that it is of."""
    own = {name: metric.attack for name, metric in metrics().items() if metric.limited}
    shares = {f"{share}.{name}": attack for share in SHARES for name, attack in LEAKAGES.items()}
    return own | shares


def read_limits(given: Mapping[str, str]) -> dict[str, float]:
    """Read limits from text.

    Raises:
        InputError: for a figure that does not exist, or a limit that is no number.

    """
    limits = {}
    for name, text in given.items():
        if name not in (*limited(), UNCONVERGED):
            raise unknown("figure", name, (*limited(), UNCONVERGED))
        try:
            limits[name] = float(text)
        except ValueError as error:
            raise InputError(f"the limit of {name} must be a number, not {text!r}") from error
        if not math.isfinite(limits[name]):
            raise InputError(f"the limit of {name} must be finite, not {text!r}")
    return limits


def check_limits(report: AuditReport, limits: Mapping[str, float]) -> list[Check]:
    """Hold a report to limits: the upper end of the interval must not exceed one.

    What was not measured fails, and so does a figure that rests on more attackers that their budget ended than the
    limit of `unconverged` allows, which is 0 by default: trained longer they may get more.
    """
    late = report.unconverged
    allowed = limits.get(UNCONVERGED, 0.0)
    return [
        _check_number(late, limit) if name == UNCONVERGED else _check(report, name, limit, late, allowed)
        for name, limit in limits.items()
    ]


def _check_number(late: list[str], limit: float) -> Check:
    told = f"{UNCONVERGED}: {len(late)} attackers ended by their budget{_named(late)}, limit {limit:g}"
    return Check(name=UNCONVERGED, passed=len(late) <= limit, message=told, seconds=0.0)


def _figure(report: AuditReport, name: str, attack: str) -> tuple[Estimate, str] | str:
    """Give a figure, of several judges the highest that one of them has and who sees it, or why there is none."""
    result = report.attacks[attack]
    kind, _, of = name.partition(".")
    if kind in SHARES:
        share = (report.leakage if kind == "leakage" else report.excess)[of]
        return (share, "") if isinstance(share, Estimate) else share.refused
    if isinstance(result, Refused):
        return result.refused
    seeing = [judge for judge in report.judges if judge.blind is None]
    if report.judges and not seeing and any(name in judge.figures for judge in report.judges):
        judge = report.judges[0]
        return f"the verifier {judge.name} cannot tell {judge.told_apart}: {judge.blind}"
    found = [(scores_of(result).get(name), "")]
    found += [(judge.figures.get(name), f" (by {judge.name})" if len(seeing) > 1 else "") for judge in seeing]
    known = [(estimate, judge) for estimate, judge in found if estimate is not None]
    # Of equals the one whose judge is known.
    return max(known, key=lambda each: (each[0].high, each[1])) if known else "it was not measured"


def _check(report: AuditReport, name: str, limit: float, late: list[str], allowed: float) -> Check:
    attack = limited()[name]
    found = _figure(report, name, attack)
    if isinstance(found, str):
        return Check(name=name, passed=False, message=f"{name}: no figure ({found})", seconds=0.0)
    figure, judge = found
    message = (
        f"{name} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]{judge}, limit {limit:g} for the upper end"
    )
    under = among(late, RESTS.get(attack, ()))
    if len(under) > allowed:
        message += (
            f"; it rests on attackers that ended by their budget{_named(under)} and may get more: train them longer "
            f"(--set steps=N), or allow it with --fail-above {UNCONVERGED}={len(under)}"
        )
    return Check(name=name, passed=figure.high <= limit and len(under) <= allowed, message=message, seconds=0.0)


def _named(attackers: list[str]) -> str:
    return f" ({', '.join(attackers)})" if attackers else ""
