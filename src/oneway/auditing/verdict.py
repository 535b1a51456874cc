"""The verdict in words, by the rule of docs/audit.md: it follows from numbers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oneway.metrics.estimate import Estimate, percent
from oneway.report.values import Level, OrRefused, Refused, Verdict

LOW, OPEN = 0.25, 0.5
"""Leakage up to which a verdict is `low`, and from which it is `open`."""
LINKED = 0.1
"""Share of the pairs of one person linked above which a verdict is `open` where no leakage is known."""
TITLES = {
    "picture_similarity": "the reconstruction",
    "feature_similarity": "the judge's features",
    "linkage": "linking stolen features to photographs",
}


def verdict(
    leakage: Mapping[str, OrRefused[Estimate]],
    linked: Estimate | None,
    *,
    doubts: Sequence[str] = (),
    judged: Sequence[Mapping[str, Estimate]] = (),
) -> Verdict:
    """Judge an encoder by its leakage.

    The worst end of an interval decides: `open` if the lower end of any is at least 0.5; `low` if all three leakages
    are known, the upper end of every interval is at most 0.25 and there is no doubt; `partial` otherwise. Without a
    single leakage (no control, no verifier) it is `undecided`, but for one case: features that link more than a tenth
    of the pairs of one person, by the lower end of the interval, are `open`, whatever else.

    Args:
        leakage: estimates or refusals by name.
        linked: verification from stolen features at a false accept rate of 1e-3, if it was measured.
        doubts: why more may leak than was measured, a clause each.
        judged: the leakages by each judge, of which `leakage` has those by the highest upper ends.

    """
    known = {name: share for name, share in leakage.items() if isinstance(share, Estimate)}
    refusals = [f"{TITLES[name]}: {share.refused}" for name, share in leakage.items() if isinstance(share, Refused)]
    if not known:
        return _without_leakage(linked, [*refusals, *doubts])
    missing = len(TITLES) - len(known)
    against = [*doubts, *([f"{missing} of {len(TITLES)} leakages could not be measured"] if missing else [])]
    least = {
        name: max([share.low, *(each[name].low for each in judged if name in each)]) for name, share in known.items()
    }
    lower = max(known, key=lambda name: least[name])
    upper = max(known, key=lambda name: known[name].high)
    low, high = percent(least[lower]), percent(known[upper].high)
    level: Level
    above = f"the upper end of the interval of {TITLES[upper]}, {high}, is above {percent(LOW, 0)}"
    gone = "of what the unprotected encoder gives away was recovered"
    if least[lower] >= OPEN:
        level, decides = "open", lower
        sentence = f"At least {low} {gone} ({TITLES[lower]})."
        rule = [f"the lower end of the interval of {TITLES[lower]}, {low}, is at least {percent(OPEN, 0)}"]
    elif known[upper].high <= LOW and not against:
        level, decides = "low", upper
        most = percent(max(known[upper].high, 0.0))
        sentence = f"At most {most} {gone} ({TITLES[upper]}), by the attacks tried here."
        rule = [
            f"the upper end of every interval is at most {percent(LOW, 0)}",
            f"the highest is that of {TITLES[upper]}, {high}",
        ]
    else:
        level, decides = "partial", upper
        sentence = f"Between {percent(known[upper].low)} and {high} {gone} ({TITLES[upper]}, 95 % interval)."
        rule = ([above] if known[upper].high > LOW else []) + against
        rule.append(f"the lower end of no interval is {percent(OPEN, 0)} or more")
    told = [f"{TITLES[name]}: leakage {share.in_percent()}" for name, share in known.items()]
    beside = [] if level == "partial" else against
    reasons = [f"{level}, because {'; '.join(rule)}", *told, *refusals, *beside]
    return Verdict(level=level, sentence=sentence, decides=decides, reasons=reasons)


def _without_leakage(linked: Estimate | None, doubts: Sequence[str]) -> Verdict:
    """Judge an encoder whose leakage is not known, by the pairs of one person that its features link."""
    if linked is None or linked.low <= LINKED:
        sentence = "No leakage could be measured, so how much is held back cannot be said; see the figures."
        reasons = ["undecided, because no leakage is known", *doubts]
        return Verdict(level="undecided", sentence=sentence, decides=None, reasons=reasons)
    low = percent(linked.low)
    sentence = (
        f"Stolen features are linked to photographs of the same person in at least {low} of pairs "
        "(false accept rate 0.1 %): who steals them learns who was there."
    )
    rule = f"open, because the lower end of the share of pairs that are linked, {low}, is above {percent(LINKED, 0)}"
    return Verdict(level="open", sentence=sentence, decides="linkage", reasons=[rule, *doubts])
