"""Limits on an audit's figures, so that a team can hold its encoder to them in continuous integration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from oneway.auditing.convergence import RESTS, among
from oneway.errors import InputError, unknown
from oneway.judge import UNITS
from oneway.report.junit import Check

LINKAGE = ("tar_at_far_1e-2", "tar_at_far_1e-3", "rank_1", "rank_5")
UNCONVERGED = "unconverged"
"""The number of trained attackers that their budget ended; none may be, unless a limit says otherwise."""
HOMES: dict[str, tuple[str, ...]] = {
    **{name: ("attacks", "inversion", name) for name in UNITS if name not in ("mse",)},
    "feature_similarity": ("attacks", "feature", "feature_similarity"),
    **{name: ("attacks", "linkage", name) for name in LINKAGE},
    "bits": ("attacks", "information", "bits"),
    **{f"leakage.{name}": ("leakage", name) for name in ("face_similarity", "feature_similarity", "linkage")},
}
"""Where each figure that can be limited stands in `results.json`; higher is worse in all of them."""
ATTACKS = {name: home[1] for name, home in HOMES.items() if home[0] == "attacks"} | {
    "leakage.face_similarity": "inversion",
    "leakage.feature_similarity": "feature",
    "leakage.linkage": "linkage",
}
"""The attack that each of them is of."""


def read_limits(given: Mapping[str, str]) -> dict[str, float]:
    """Read limits from text.

    Raises:
        InputError: for a figure that does not exist, or a limit that is no number.

    """
    limits = {}
    for name, text in given.items():
        if name not in (*HOMES, UNCONVERGED):
            raise unknown("figure", name, (*HOMES, UNCONVERGED))
        try:
            limits[name] = float(text)
        except ValueError as error:
            raise InputError(f"the limit of {name} must be a number, not {text!r}") from error
        if not math.isfinite(limits[name]):
            raise InputError(f"the limit of {name} must be finite, not {text!r}")
    return limits


def check_limits(results: Mapping[str, Any], limits: Mapping[str, float]) -> list[Check]:
    """Hold results to limits: the upper end of the interval must not exceed one.

    What was not measured fails, and so does a figure that rests on more attackers that their budget ended than the
    limit of `unconverged` allows, which is 0 by default: trained longer they may get more.
    """
    late: list[str] = results["unconverged"]
    allowed = limits.get(UNCONVERGED, 0.0)
    return [
        _check_number(late, limit) if name == UNCONVERGED else _check(results, name, limit, late, allowed)
        for name, limit in limits.items()
    ]


def _check_number(late: list[str], limit: float) -> Check:
    told = f"{UNCONVERGED}: {len(late)} attackers ended by their budget{_named(late)}, limit {limit:g}"
    return Check(name=UNCONVERGED, passed=len(late) <= limit, message=told, seconds=0.0)


def _check(results: Mapping[str, Any], name: str, limit: float, late: list[str], allowed: float) -> Check:
    found: Any = results
    for key in HOMES[name]:
        if "refused" in found:
            break
        found = found.get(key)
        if found is None:
            found = {"refused": "it was not measured"}
    if "refused" in found:
        return Check(name=name, passed=False, message=f"{name}: no figure ({found['refused']})", seconds=0.0)
    message = (
        f"{name} {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}], limit {limit:g} for the upper end"
    )
    under = among(late, RESTS[ATTACKS[name]])
    if len(under) > allowed:
        message += (
            f"; it rests on attackers that ended by their budget{_named(under)} and may get more: train them longer "
            f"(--set steps=N), or allow it with --fail-above {UNCONVERGED}={len(under)}"
        )
    return Check(name=name, passed=found["high"] <= limit and len(under) <= allowed, message=message, seconds=0.0)


def _named(attackers: list[str]) -> str:
    return f" ({', '.join(attackers)})" if attackers else ""
