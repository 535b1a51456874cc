"""Limits on an audit's figures, so that a team can hold its encoder to them in continuous integration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from oneway.errors import InputError, unknown
from oneway.judge import UNITS
from oneway.report.junit import Check

LINKAGE = ("tar_at_far_1e-2", "tar_at_far_1e-3", "rank_1", "rank_5")
LEAKAGE = ("face_similarity", "feature_similarity", "linkage")
HOMES: dict[str, tuple[str, ...]] = {
    **{name: ("attacks", "inversion", name) for name in UNITS if name not in ("mse",)},
    "feature_similarity": ("attacks", "feature", "feature_similarity"),
    **{name: ("attacks", "linkage", name) for name in LINKAGE},
    "bits": ("attacks", "information", "bits"),
    **{f"leakage.{name}": ("leakage", name) for name in LEAKAGE},
}
"""Where each figure that can be limited stands in `results.json`; higher is worse in all of them."""


def read_limits(given: Mapping[str, str]) -> dict[str, float]:
    """Read limits from text.

    Raises:
        InputError: for a figure that does not exist, or a limit that is no number.

    """
    limits = {}
    for name, text in given.items():
        if name not in HOMES:
            raise unknown("figure", name, HOMES)
        try:
            limits[name] = float(text)
        except ValueError as error:
            raise InputError(f"the limit of {name} must be a number, not {text!r}") from error
        if not math.isfinite(limits[name]):
            raise InputError(f"the limit of {name} must be finite, not {text!r}")
    return limits


def check_limits(results: Mapping[str, Any], limits: Mapping[str, float]) -> list[Check]:
    """Hold results to limits: the upper end of the interval must not exceed one; what was not measured fails."""
    return [_check(results, name, limit) for name, limit in limits.items()]


def _check(results: Mapping[str, Any], name: str, limit: float) -> Check:
    found: Any = results
    for key in HOMES[name]:
        if "refused" in found:
            break
        found = found.get(key)
        if found is None:
            found = {"refused": "it was not measured"}
    if "refused" in found:
        return Check(name=name, passed=False, message=f"{name}: no figure ({found['refused']})", seconds=0.0)
    passed = found["high"] <= limit
    told = f"{name} {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"
    return Check(name=name, passed=passed, message=f"{told}, limit {limit:g} for the upper end", seconds=0.0)
