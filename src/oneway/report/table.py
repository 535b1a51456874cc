"""Results as a table for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.table import Table

from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report.judging import JudgeReport
from oneway.report.profile_table import profile_table
from oneway.report.reports import AuditReport
from oneway.report.reproduction import columns
from oneway.report.sweeps import BenchmarkReport, ExperimentReport, Shares
from oneway.report.values import INFERRED, Attacks, OrRefused, Queries, Refused, Scores, Utility, refusals, scores_of
from oneway.report.words import OF_PEOPLE, OF_PICTURES

UTILITY = "utility"
"""The task's figure, among those of attacks."""
Figure = Estimate | Refused | float | str | None
Figures = Mapping[str, Figure]


def audit_tables(report: AuditReport) -> list[Table]:
    """Lay out an audit: its figures, and what standards ask of protected features."""
    return [audit_table(report), *([] if report.iso24745 is None else [profile_table(report.iso24745)])]


def audit_table(report: AuditReport) -> Table:
    """Lay out an audit: a row for each figure, beside control, floors, the decisions alone, leakage and excess.

    What was refused, and which training its budget ended, is said below the table.
    """
    decided = scores_of(report.decisions)
    named: dict[str, Figures] = {"this encoder": _figures(report.attacks, report.utility)}
    if report.control is not None:
        named["control (unprotected)"] = _figures(report.control.attacks, report.control.utility)
    named["floor: knows nothing"] = (
        {UTILITY: 0.0}
        | dict.fromkeys(_inferred(report.attacks), 0.0)
        | {
            name: value
            for floor in ("mean_picture", "constant_prediction", "mean_feature", "chance")
            for name, value in report.floors.get(floor, {}).items()
        }
    )
    named["the task's decisions alone"] = decided
    for title, found in (("leakage", report.leakage), ("excess", report.excess)):
        shares = {
            "tar_at_far_1e-3" if name == "linkage" else name: _percent(share)
            for name, share in found.items()
            if isinstance(share, Estimate)
        }
        if shares:
            named[title] = shares
    table = Table(
        title=f"What attackers get from the test {report.words.people} (value, 95 % interval; leakage: floor 0 %, "
        "control 100 %; excess: decisions 0 %)",
        caption_justify="left",
    )
    table.add_column("")
    for name in named:
        table.add_column(name, justify="right")
    title = "" if report.utility is None else report.utility.title
    named_so = {name: report.words.title(metric.label) for name, metric in metrics().items()}
    labels = {UTILITY: f"utility: {title} ↑"} | named_so
    labels |= {name: f"inferred: {name.removeprefix(INFERRED)} ↓" for name in _inferred(report.attacks)}
    for key, label in labels.items():
        if named["this encoder"].get(key) is not None and not key.endswith("_affine") and key != "rank_5":
            table.add_row(label, *(_text(figures.get(key)) for figures in named.values()))
    if isinstance(report.queries, Queries):
        _add_queries(table, report.queries)
    table.caption = "\n".join([*map(_seen_by, report.judges), *_remarks(report)]) or None
    return table


def _seen_by(judge: JudgeReport) -> str:
    """Say in a line or two what a judge sees in the reconstructions."""
    if judge.pictures is None:
        return f"judge {judge.name}: saw no reconstruction"
    words = OF_PICTURES if judge.of_pictures else OF_PEOPLE
    lines, alike, people = [], words.similarity, words.people
    for how, counts, faces in judge.seen():
        recognised = ", ".join(
            f"{each.share} at FAR {each.false_accept_rate:g}" for each in faces.recognised if each.share is not None
        )
        said = f"judge {judge.name} ({how}{'; counts' if counts else ''}): {alike} {faces.picture_similarity}"
        found = "" if faces.found_first is None else f"; original found first {faces.found_first}"
        lines.append(f"{said} by {faces.attacker}; recognised {recognised or 'unknown: too few people'}{found}")
    if judge.features is not None:
        known = "known to attackers; counts" if judge.features.counts else "known to attackers"
        said = f"judge {judge.name} ({known}): similarity to its features {judge.features.similarity}"
        lines.append(f"{said} by {judge.features.strongest}")
        if judge.features.gained is not None:
            lines[-1] += (
                f"; a kernel regression gained {judge.features.gained} from the second half of the public {people}"
            )
    return "\n".join(lines)


def _add_queries(table: Table, queries: Queries) -> None:
    most, pairs = max(point.queries for point in queries.curve), queries.pairs_to_breach
    for score, level in queries.breach.items():
        if score in queries.curve[0].scores:
            table.add_row(f"pairs until {score} is {level:g} ↑", f"more than {most}" if pairs is None else f"{pairs}")


def benchmark_table(report: BenchmarkReport) -> Table:
    """Lay out a benchmark of defences: a row for each setting, on test people.

    Last of each cut stands what the task's decisions alone give away, as the control takes them.
    """
    table = Table(
        title="Utility and leakage on test people (value, 95 % interval; leakage: floor 0 %, control 100 %; "
        "excess: decisions 0 %)"
    )
    shares = (*(f"of {of} ↓" for of in report.leakages.values()), "worst excess ↓", "bits at most ↓")
    for name in ("cut", "defence", "strength", f"{report.title} ↑", *shares):
        table.add_column(name, justify="left" if name in ("cut", "defence") else "right")

    def add(cut: str, told: Sequence[str], leakage: Shares, excess: Shares, bits: Estimate | None = None) -> None:
        known = [share for share in excess.values() if isinstance(share, Estimate)]
        worst = _percent(max(known, key=lambda share: share.value)) if known else "–"
        most = "–" if bits is None else f"{bits.value:.1f}"
        table.add_row(cut, *told, *(_percent(leakage[name]) for name in report.leakages), worst, most)

    for cut, decided in report.decisions.items():
        for row in report.rows:
            if row.cut == cut:
                told = (row.defence, f"{row.strength:g}", _text(row.utility))
                add(cut, told, row.leakage, row.excess, row.most_bits)
        add(cut, ("the task's decisions alone", "", ""), decided, {})
    late = [row for row in report.rows if row.unconverged]
    if late:
        table.caption = (
            f"{len(late)} of {len(report.rows)} settings met attackers that their budget ended, so more may leak; "
            "`unconverged` in results.json names them"
        )
    return table


def experiment_table(report: ExperimentReport) -> Table:
    """Lay out an experiment: a row for each setting, on test people, with the paper's figures."""
    names = columns(report.rows)
    table = Table(title=f"{report.experiment} (value, 95 % interval; p: the paper's figure)")
    table.add_column("")
    for heading in names.values():
        table.add_column(heading, justify="right")
    for row in report.rows:
        cells = []
        for name in names:
            theirs = row.paper.get(name)
            cells.append(_text(row.scores.get(name)) + ("" if theirs is None else f"\np {theirs:g}"))
        table.add_row(f"{row.id}: {row.title}", *cells)
    if report.effects:
        counts = Counter(effect.verdict for effect in report.effects)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        table.caption = f"of {len(report.effects)} changes that the paper's table shows: {said}"
    return table


def utility_line(utility: Utility, unknown: int = 0) -> str:
    """Say in one line what an encoder is good for, where so many test pictures do not say whom they show."""
    mean, shown = utility.value, list[str]()
    if mean.n > unknown:
        shown.append(f"{mean.n - unknown} test people")
    if unknown:
        shown.append(f"{unknown} test pictures" + (" of unknown people" if shown else ""))
    further = "".join(f"; {title} {figure}" for title, figure in utility.further.items())
    return f"{utility.whole} on {_listed(shown)}: {mean} (floor: 0){further}"


def verifier_line(judge: JudgeReport | None) -> str:
    """Say in one line how good a verifier is, so that its scores can be read."""
    if judge is None:
        return (
            "no verifier: whether people are recognised is unknown; give one with --verifier (a pack's own is trained "
            "where people are known to appear more than once)"
        )
    if judge.blind is not None:
        return f"verifier {judge.name} cannot tell {judge.told_apart}: {judge.blind}; as a judge it is worth nothing"
    if judge.true_accept_rate is None or judge.threshold is None:
        few = "pictures" if judge.of_pictures else "people"
        return f"verifier {judge.name}: too few {few} to say how good it is, so nothing is counted as recognised"
    if judge.of_pictures:
        return (
            f"{judge.name} finds the original first of {judge.found_first} of test pictures that are shifted, cropped "
            f"and brightened slightly, and accepts {judge.true_accept_rate} of them at a false accept rate of "
            f"{judge.false_accept_rate:g} (threshold {judge.threshold:.3f})"
        )
    return (
        f"verifier {judge.name} accepts {judge.true_accept_rate} of real pairs of one test person at a false accept "
        f"rate of {judge.false_accept_rate:g} (threshold {judge.threshold:.3f})"
    )


def _figures(attacks: Attacks, utility: Utility | None) -> dict[str, Figure]:
    """Give every figure of an encoder by its metric: of reconstructions those of the panel."""
    named: dict[str, Figure] = {} if utility is None else {UTILITY: utility.value}
    for name, metric in metrics().items():
        named[name] = scores_of(attacks.get(metric.attack)).get(name)
    return named | _inferred(attacks)


def _inferred(attacks: Attacks) -> Scores:
    """Give how well each attribute that is not binary is inferred."""
    scores = scores_of(attacks.get("inference"))
    return {name: figure for name, figure in scores.items() if name.startswith(INFERRED)}


def _remarks(report: AuditReport) -> list[str]:
    """Say what an audit could not measure, and what it did not measure to the end."""
    silent: dict[str, list[str]] = {}
    further = {"queries": report.queries, "the task's decisions alone": report.decisions}
    others = [(name, block.refused) for name, block in further.items() if isinstance(block, Refused)]
    for name, reason in (*refusals(report.attacks), *others):
        silent.setdefault(reason, []).append(name)
    remarks = [f"not measured: {_listed(names)}, {reason}" for reason, names in silent.items()]
    if report.unconverged:
        late = ", ".join(report.unconverged)
        remarks.append(f"ended by the budget before they converged, so more may be had: {late}")
    return remarks


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _percent(share: OrRefused[Estimate]) -> str:
    return share.in_percent(0).replace(" [", "\n[") if isinstance(share, Estimate) else "–"


def _text(figure: Figure) -> str:
    if figure is None or isinstance(figure, Refused):
        return "–"
    return f"{figure:.3f}" if isinstance(figure, float | int) else str(figure).replace(" [", "\n[")
