"""Defences side by side at one share of the control's utility, over seeds, with what makes an entry doubtful."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from oneway.config import from_dict, record
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate, spanning
from oneway.report.asked import Data, Named
from oneway.report.leaderboard import Entry, Leaderboard, Panel
from oneway.report.limits import LEAKAGES
from oneway.report.reports import read_report
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow
from oneway.sweep.benchmark import CONTROL
from oneway.sweep.doubts import doubts_of_audit

SEEDS = 3
"""Fewer of them make an entry doubtful."""
GAP = 0.1
"""Neighbouring strengths that keep shares of the utility further apart than this make an entry doubtful."""
CLOSE = 0.01
"""A setting that keeps no more than this above what was asked for stands for itself."""
_FREE = ("seed", "runtime")
"""Fields of configurations in which benchmarks of one table may differ."""


@record
@dataclass(frozen=True, kw_only=True)
class _Settings:
    """How the settings of a benchmark were trained and attacked, as its provenance has it."""

    cuts: list[str]
    defences: list[str]
    protect: dict[str, object]
    audit: dict[str, object]


@record
@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a benchmark was asked, as its provenance has it."""

    defences: _Settings
    judges: list[Named]
    data: Data

    @property
    def alike(self) -> dict[str, object]:
        """What must be the same for defences to be compared."""
        protect, audit = (
            {name: value for name, value in settings.items() if name not in _FREE and value is not None}
            for settings in (self.defences.protect, self.defences.audit)
        )
        judges = [judge.fingerprint or judge.name for judge in self.judges]
        return {"pack": self.data.hash, "judges": judges, "protect": protect, "audit": audit}


@dataclass(frozen=True, kw_only=True)
class _Benchmark:
    """A finished benchmark at one cut: its control, and the settings of each defence, weak ones first."""

    path: Path
    asked: _Asked
    leakages: dict[str, str]
    control: BenchmarkRow
    curves: dict[str, list[BenchmarkRow]]

    @property
    def seed(self) -> str:
        return str(self.asked.defences.protect.get("seed"))


@dataclass(frozen=True, kw_only=True)
class _Matched:
    """A defence of one seed at a share of utility: its excesses, and the settings that they are interpolated from."""

    excess: dict[str, Estimate]
    rows: list[BenchmarkRow]
    doubts: list[str]

    def worst(self, leakages: Mapping[str, str]) -> float:
        """Give the largest of the excesses; what is not known of any counts as everything."""
        return max(self.excess[of].value if of in self.excess else math.inf for of in leakages)


def rank(paths: Sequence[Path], cut: str, *, utility: float) -> Leaderboard:
    """Give what every defence of some benchmarks gives away where it keeps a share of the control's utility.

    Of each seed a defence's excess is interpolated, by a straight line, between the two neighbouring strengths that
    keep more and less. Its interval reaches over what the curve is at the ends of the interval of the utility kept too.
    Over seeds it is the mean, its interval from the lowest to the highest end of theirs.

    Args:
        paths: folders of finished benchmarks of one pack by one panel, of other seeds or other defences.
        cut: layer after which features leave the device.
        utility: share of the control's, above 0 and at most 1.

    Raises:
        InputError: for what is no such share, or benchmarks that cannot stand in one table.

    """
    if not 0 < utility <= 1:
        raise InputError(f"utility must be a share of the control's, above 0 and at most 1, not {utility:g}")
    benchmarks = [_read(path, cut) for path in paths]
    if not benchmarks:
        raise InputError("name at least one folder of a finished `oneway benchmark`")
    _check_alike(benchmarks)
    leakages = {name: of for each in benchmarks for name, of in each.leakages.items()}
    if not leakages:
        raise InputError("none of these benchmarks measured a leakage, by which defences are ranked; give them judges")
    entries: list[Entry] = []
    short: dict[str, str] = {}
    for name in dict.fromkeys(name for each in benchmarks for name in each.curves):
        held = [each for each in benchmarks if name in each.curves]
        seeds = [each.seed for each in held]
        if len(set(seeds)) < len(seeds):
            doubled = next(seed for seed in seeds if seeds.count(seed) > 1)
            raise InputError(f"the defence {name!r} with seed {doubled} is in two of these benchmarks; name it once")
        most = {each.seed: max(map(_share, each.curves[name])) for each in held}
        lacking = {seed: share for seed, share in most.items() if share < utility}
        if lacking:
            short[name] = ", ".join(f"{share:.3f} (seed {seed})" for seed, share in lacking.items())
        else:
            entries.append(_entry(name, held, utility, leakages))
    # Nobody comes first by what was not measured.
    entries.sort(key=lambda entry: (len(leakages) - len(entry.excess), entry.worst.value if entry.worst else 0.0))
    return Leaderboard(
        cut=cut, utility=utility, panel=_panel(benchmarks), leakages=leakages, entries=entries, short=short
    )


def _read(path: Path, cut: str) -> _Benchmark:
    report = read_report(path, BenchmarkReport, "oneway benchmark defences DATA --out NEW")
    rows = [row for row in report.rows if row.cut == cut]
    controls = [row for row in rows if row.defence == CONTROL]
    if not controls:
        known = ", ".join(sorted({row.cut for row in report.rows}))
        raise InputError(f"the benchmark {path} has no cut {cut!r}; it has {known}")
    if any(row.control_utility.value <= 0 for row in rows):
        raise InputError(f"the control of {path} has {report.title} {controls[0].utility}, no better than a constant")
    curves: dict[str, list[BenchmarkRow]] = {}
    for row in sorted(rows, key=lambda row: row.strength):
        if row.defence != CONTROL:
            curves.setdefault(row.defence, []).append(row)
    told = {name: report.provenance.get(name) for name in ("defences", "judges", "data")}
    asked = from_dict(_Asked, told, f"{path}: ", "make the benchmark anew")
    return _Benchmark(path=path, asked=asked, leakages=report.leakages, control=controls[0], curves=curves)


def _check_alike(benchmarks: Sequence[_Benchmark]) -> None:
    first, *others = benchmarks
    for other in others:
        unlike = [name for name, value in first.asked.alike.items() if other.asked.alike[name] != value]
        if unlike:
            raise InputError(
                f"{first.path} and {other.path} differ in {', '.join(unlike)}; defences are compared on one pack, with "
                "one network and one panel: make them anew with the same settings"
            )


def _share(row: BenchmarkRow) -> float:
    return row.utility.value / row.control_utility.value


def _entry(name: str, benchmarks: Sequence[_Benchmark], utility: float, leakages: Mapping[str, str]) -> Entry:
    matched = [_match(each.curves[name], utility, leakages) for each in benchmarks]
    excess = {
        of: _over_seeds([each.excess[of] for each in matched])
        for of in leakages
        if all(of in each.excess for each in matched)
    }
    doubts = [] if len(benchmarks) >= SEEDS else [f"{len(benchmarks)} of {SEEDS} seeds"]
    doubts += [f"excess of {told} was not measured everywhere" for of, told in leakages.items() if of not in excess]
    doubts += [doubt for each in matched for doubt in each.doubts]
    blamed: dict[str, list[str]] = {}
    for each, benchmark in zip(matched, benchmarks, strict=True):
        for row in (*each.rows, benchmark.control):
            who = "the control" if row.defence == CONTROL else f"strength {row.strength:g}"
            for doubt in doubts_of_audit(benchmark.path, row):
                blamed.setdefault(doubt, []).append(who)
    doubts += [f"{doubt} ({', '.join(dict.fromkeys(who))})" for doubt, who in blamed.items()]
    strengths = [row.strength for each in matched for row in each.rows]
    return Entry(
        defence=name,
        seeds=len(benchmarks),
        strengths=(min(strengths), max(strengths)),
        excess=excess,
        doubts=list(dict.fromkeys(doubts)),
    )


def _match(rows: Sequence[BenchmarkRow], utility: float, leakages: Mapping[str, str]) -> _Matched:
    """Read a curve at a share of utility, with what it is where the share's own interval ends."""
    matched = _at(rows, utility, leakages)
    half = max(map(_half_share, matched.rows))
    least, most = min(map(_share, rows)), max(map(_share, rows))
    ends = [_at(rows, min(max(utility + side * half, least), most), leakages).excess for side in (-1, 1)]
    excess = {of: spanning(each, [end[of] for end in ends if of in end]) for of, each in matched.excess.items()}
    uneven = any(_share(strong) > _share(weak) for weak, strong in pairwise(rows))
    told = ["utility does not fall with every strength"] if uneven else []
    if utility + half > most or utility - half < min(least, utility):
        told.append("its interval is cut off where the strengths tried end")
    return replace(matched, excess=excess, doubts=[*matched.doubts, *told])


def _at(rows: Sequence[BenchmarkRow], utility: float, leakages: Mapping[str, str]) -> _Matched:
    """Interpolate a curve where it crosses a share of utility; of several such places the most leaking one counts."""
    found = [
        _between(weak, strong, utility)
        for weak, strong in pairwise(rows)
        if min(_share(weak), _share(strong)) <= utility <= max(_share(weak), _share(strong))
    ]
    if found:
        return max(found, key=lambda each: each.worst(leakages))
    least = min(rows, key=_share)  # all keep more, or there is but one
    told = f"strength {least.strength:g}, the least useful one tried, keeps {_share(least):.3f}"
    return _Matched(excess=_known(least), rows=[least], doubts=[told] if _share(least) > utility + CLOSE else [])


def _between(weak: BenchmarkRow, strong: BenchmarkRow, utility: float) -> _Matched:
    apart = _share(weak) - _share(strong)
    ours, theirs = _known(weak), _known(strong)
    excess: dict[str, Estimate] = {}
    for of in ours.keys() & theirs.keys():
        one, other = ours[of], theirs[of]
        along = (_share(weak) - utility) / apart if apart else float(other.value > one.value)
        value, low, high = (
            (1 - along) * getattr(one, end) + along * getattr(other, end) for end in ("value", "low", "high")
        )
        excess[of] = replace(one, value=value, low=low, high=high)
    wide = f"strengths {weak.strength:g} and {strong.strength:g} keep {_share(weak):.3f} and {_share(strong):.3f}"
    return _Matched(excess=excess, rows=[weak, strong], doubts=[wide] if abs(apart) > GAP else [])


def _half_share(row: BenchmarkRow) -> float:
    """Give half the width of the interval of a share, its two utilities taken as if they were of other people."""
    ours, control = ((each.high - each.low) / 2 for each in (row.utility, row.control_utility))
    return math.hypot(ours, _share(row) * control) / row.control_utility.value


def _known(row: BenchmarkRow) -> dict[str, Estimate]:
    return {of: share for of in LEAKAGES if isinstance(share := row.excess.get(of), Estimate)}


def _over_seeds(several: Sequence[Estimate]) -> Estimate:
    return replace(spanning(several[0], several), value=sum(each.value for each in several) / len(several))


def _panel(benchmarks: Sequence[_Benchmark]) -> Panel:
    asked = benchmarks[0].asked
    attackers = asked.defences.audit.get("attackers")
    return Panel(
        attackers=[str(name) for name in attackers] if isinstance(attackers, list) else [],
        asked={
            name: str(asked.defences.audit.get(name))
            for name in ("brief", "surrogates", "draws", "decided_by", "seeds", "generator")
            if name != "generator" or asked.defences.audit.get(name) is not None
        },
        judges=asked.judges,
        pack=asked.data,
        seeds=list(dict.fromkeys(each.seed for each in benchmarks)),
        control=[each.control.utility for each in benchmarks],
    )
