"""The verdict in words, by the rule of docs/audit.md: it follows from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LOW, OPEN = 0.25, 0.5
"""Leakage up to which a verdict is `low`, and from which it is `open`."""
TITLES = {
    "face_similarity": "the face in the reconstruction",
    "feature_similarity": "the face verifier's features",
    "linkage": "linking stolen features to photographs",
}


def verdict(
    leakage: Mapping[str, Any], linked: Mapping[str, Any] | None, *, converged: bool, beaten: bool = False
) -> dict[str, Any]:
    """Judge an encoder by its leakage.

    The worst leakage decides: `low` if all three are known, the upper end of every interval is at most 0.25, every
    attacker ended by convergence and the panel got no less than the task's decisions alone give away; `open` if the
    lower end of any is at least 0.5; `partial` otherwise. Without a single leakage (no control, no verifier) it is
    `undecided`, but for one case: features that link more than a tenth of the pairs of one person, by the lower end of
    the interval, are `open`, whatever else.

    Args:
        leakage: estimates or refusals by name, as in `results.json`.
        linked: verification from stolen features at a false accept rate of 1e-3, an estimate, if it was measured.
        converged: whether every attacker ended by convergence.
        beaten: whether the task's decisions alone give away more than the panel got.

    Returns:
        `level`, `sentence` and `reasons`.

    """
    known = {name: value for name, value in leakage.items() if "refused" not in value}
    reasons = [f"{TITLES[name]}: leakage {said(value)}" for name, value in known.items()]
    reasons += [f"{TITLES[name]}: {value['refused']}" for name, value in leakage.items() if "refused" in value]
    if not known:
        if linked is not None and linked["low"] > 0.1:
            sentence = (
                f"Stolen features are linked to photographs of the same person in {linked['value']:.0%} of pairs "
                "(false accept rate 0.1 %): who steals them learns who was there."
            )
            return {"level": "open", "sentence": sentence, "reasons": reasons}
        sentence = "There is no control to compare with, so how much is held back cannot be said; see the figures."
        return {"level": "undecided", "sentence": sentence, "reasons": reasons}
    worst = max(known, key=lambda name: known[name]["value"])
    share = f"{known[worst]['value']:.0%}"
    complete = converged and not beaten and len(known) == len(TITLES)
    if complete and all(value["high"] <= LOW for value in known.values()):
        level, sentence = "low", f"At most {share} of what the unprotected encoder gives away was recovered"
    elif any(value["low"] >= OPEN for value in known.values()):
        level, sentence = "open", f"{share} of what the unprotected encoder gives away is still there"
    else:
        level, sentence = "partial", f"Up to {share} of what the unprotected encoder gives away is still there"
    sentence += f" ({TITLES[worst]})"
    sentence += ", by the attacks tried here." if level == "low" else "."
    if not converged:
        reasons.append("not every attacker ended by convergence: longer ones may get more")
    if beaten:
        reasons.append("the task's decisions alone give away more than the panel got, so there is more to get")
    if len(known) < len(TITLES):
        reasons.append(f"{len(TITLES) - len(known)} of {len(TITLES)} leakages could not be measured")
    return {"level": level, "sentence": sentence, "reasons": reasons}


def said(value: Mapping[str, Any]) -> str:
    """Write an estimate in a sentence, with its interval."""
    return f"{value['value']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"
