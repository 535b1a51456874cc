"""Results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from oneway.metrics.estimate import Estimate
from oneway.report.reproduction import columns

ROWS = {
    "mean_mcc": "utility: mean MCC ↑",
    "face_similarity": "face similarity ↓",
    "recognised": "recognised at FAR 1e-3 ↓",
    "ssim": "SSIM ↓",
    "psnr": "PSNR, dB ↓",
    "mse": "MSE ↑",
}
"""Every figure shown, with the direction in which the provider of an encoder wants it."""


AUDIT_ROWS = ROWS | {
    "feature_similarity": "feature similarity ↓",
    "tar_at_far_1e-2": "linked, TAR at FAR 1e-2 ↓",
    "tar_at_far_1e-3": "linked, TAR at FAR 1e-3 ↓",
    "rank_1": "linked, rank 1 ↓",
    "scatter": "LDA score ↓",
    "inference": "inferred: mean MCC ↓",
    "bits": "information, bits at least ↓",
    "least_mse": "MSE of unbiased attackers, at least ↑",
}
"""The same for an audit, a row each."""
_SOURCES = {
    "feature_similarity": ("feature", "feature_similarity"),
    "tar_at_far_1e-2": ("linkage", "tar_at_far_1e-2"),
    "tar_at_far_1e-3": ("linkage", "tar_at_far_1e-3"),
    "rank_1": ("linkage", "rank_1"),
    "scatter": ("scatter", "score"),
    "inference": ("inference", "mean_mcc"),
    "bits": ("information", "bits"),
}
"""The attack, and its figure, that each of an audit's further rows shows."""


def attack_table(results: Mapping[str, Any]) -> Table:
    """Lay out the results of an attack (docs/results.md) beside their floors and their control.

    Values stand with their 95 % intervals over people.
    """
    columns = {"this encoder": _figures(results)}
    if results["control"] is not None:
        columns["control (unprotected)"] = _figures(results["control"])
    columns |= {
        "floor: mean face": results["floors"]["mean_face"] | results["floors"]["constant_prediction"],
        "floor: the task's decisions alone": results["floors"]["nearest_by_output"],
    }
    table = Table(title="What a fresh attacker gets from the test people (value, 95 % interval)")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in ROWS.items():
        if any(key in figures for figures in columns.values()):
            table.add_row(label, *(_text(figures.get(key)) for figures in columns.values()))
    return table


def audit_table(results: Mapping[str, Any]) -> Table:
    """Lay out the results of an audit (docs/results.md): a row for each figure, beside control, floors and leakage.

    What was refused, and which training its budget ended, is said below the table.
    """
    attacks, floors = results["attacks"], _block(results["floors"])
    columns = {"this encoder": _audit_figures(results)}
    if _block(results["control"]):
        columns["control (unprotected)"] = _audit_figures(results["control"])
    columns["floor: knows nothing"] = {
        **_block(floors.get("mean_face")),
        **_block(floors.get("constant_prediction")),
        **_block(floors.get("mean_feature")),
        **_block(floors.get("chance")),
        "scatter": _block(attacks["scatter"]).get("chance"),
        "inference": 0.0,
    }
    columns["the task's decisions alone"] = {
        **_block(results["decisions"]),
        "inference": _block(_block(attacks["inference"]).get("decisions")).get("mean_mcc"),
    }
    leakage: dict[str, Any] = dict(_block(results["leakage"]))
    if "linkage" in leakage:
        leakage["tar_at_far_1e-3"] = leakage.pop("linkage")
    if any(_block(share) for share in leakage.values()):
        columns["leakage"] = {name: _percent(share) for name, share in leakage.items()}
    table = Table(
        title="What attackers get from the test people (value, 95 % interval; leakage: floor 0 %, control 100 %)",
        caption_justify="left",
    )
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in AUDIT_ROWS.items():
        if columns["this encoder"].get(key) is not None:
            table.add_row(label, *(_text(figures.get(key)) for figures in columns.values()))
    queries = _block(results["queries"])
    if queries:
        most, pairs = max(point["queries"] for point in queries["curve"]), queries["pairs_to_breach"]
        score, level = next(iter(queries["breach"].items()))
        if score in queries["curve"][0]:
            table.add_row(f"pairs until {score} is {level:g} ↑", f"more than {most}" if pairs is None else f"{pairs}")
    table.caption = "\n".join(_remarks(results)) or None
    return table


def benchmark_table(results: Mapping[str, Any]) -> Table:
    """Lay out a benchmark of defences (docs/results.md): a row for each setting, on test people.

    Last of each cut stands what the task's decisions alone give away, as the control takes them.
    """
    table = Table(title="Utility and leakage on test people (value, 95 % interval; leakage: floor 0 %, control 100 %)")
    for name in ("cut", "defence", "strength", "mean MCC ↑", "of faces ↓", "of features ↓", "of linkage ↓"):
        table.add_column(name, justify="left" if name in ("cut", "defence") else "right")

    def add(cut: str, defence: str, strength: str, utility: str, leakage: Mapping[str, Any]) -> None:
        shares = [leakage[name] for name in ("face_similarity", "feature_similarity", "linkage")]
        table.add_row(cut, defence, strength, utility, *(_percent(share) or "–" for share in shares))

    for cut, decided in results["decisions"].items():
        for row in results["rows"]:
            if row["cut"] == cut:
                add(cut, row["defence"], f"{row['strength']:g}", _text(row["mean_mcc"]), row["leakage"])
        add(cut, "the task's decisions alone", "", "", decided)
    late = [row for row in results["rows"] if row.get("unconverged")]
    if late:
        table.caption = (
            f"{len(late)} of {len(results['rows'])} settings met attackers that their budget ended, so more may leak; "
            "`unconverged` in results.json names them"
        )
    return table


def experiment_table(results: Mapping[str, Any]) -> Table:
    """Lay out an experiment (docs/results.md): a row for each setting, on test people, with the paper's figures."""
    rows = results["rows"]
    names = columns(rows)
    table = Table(title=f"{results['experiment']} (value, 95 % interval; p: the paper's figure)")
    table.add_column("")
    for heading in names.values():
        table.add_column(heading, justify="right")
    for row in rows:
        cells = []
        for name in names:
            theirs = row["paper"].get(name)
            cells.append(_text(row.get(name)) + ("" if theirs is None else f"\np {theirs:g}"))
        table.add_row(f"{row['id']}: {row['title']}", *cells)
    effects = results["effects"]
    if effects:
        verdicts = [effect["verdict"] for effect in effects]
        counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        table.caption = f"of {len(effects)} changes that the paper's table shows: {said}"
    return table


def utility_line(results: Mapping[str, Any]) -> str:
    """Say in one line what a protect run's encoder is good for."""
    mean_mcc = results["utility"]["mean_mcc"]
    count = len(results["utility"]["mcc"])
    return f"mean MCC of {count} attributes on {mean_mcc['n']} test people: {Estimate(**mean_mcc)} (floor: 0)"


def probe_line(results: Mapping[str, Any]) -> str | None:
    """Say in one line what the last fresh probe of a protect run found, if there was one."""
    last = (results.get("probes") or {}).get("last")
    if last is None:
        return None
    alarm = "the encoder outran its opponent, so raise game.decoder_steps" if last["alarm"] else "no alarm"
    return (
        f"a decoder drawn afresh errs {last['error']:.4f} on validation people after a short training, the one that "
        f"played {last['playing_error']:.4f}: {alarm}"
    )


def verifier_line(about: Mapping[str, Any] | None) -> str:
    """Say in one line how good a verifier is, so that its scores can be read."""
    if about is None:
        return (
            "no verifier: whether people are recognised is unknown; give one with --verifier (a pack's own is trained "
            "where people are known to appear more than once)"
        )
    if about["blind"] is not None:
        return f"verifier {about['name']} cannot tell who is shown: {about['blind']}; as a judge it is worth nothing"
    if about["true_accept_rate"] is None:
        return f"verifier {about['name']}: too few people to say how good it is, so nothing is counted as recognised"
    rate = Estimate(**about["true_accept_rate"])
    return (
        f"verifier {about['name']} accepts {rate} of real pairs of one test person at a false accept rate of "
        f"{about['false_accept_rate']:g} (threshold {about['threshold']:.3f})"
    )


def _figures(results: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean_mcc": results["utility"]["mean_mcc"], **results["attacks"]["inversion"]}


def _block(block: object) -> Mapping[str, Any]:
    """Give a block of an audit's results, nothing if it was refused or never made."""
    return block if isinstance(block, Mapping) and "refused" not in block else {}


def _audit_figures(side: Mapping[str, Any]) -> dict[str, Any]:
    attacks = {name: _block(block) for name, block in _block(side["attacks"]).items()}
    figures = {name: attacks.get(block, {}).get(key) for name, (block, key) in _SOURCES.items()}
    figures["least_mse"] = _block(side.get("bound")).get("least_mse")
    return {"mean_mcc": _block(side["utility"]).get("mean_mcc"), **attacks.get("inversion", {}), **figures}


def _remarks(results: Mapping[str, Any]) -> list[str]:
    """Say what an audit could not measure, and what it did not measure to the end."""
    late = results["unconverged"]
    parts = {
        **results["attacks"],
        "queries": results["queries"],
        "the task's decisions alone": results["decisions"],
        "error of unbiased attackers": results.get("bound"),
    }
    remarks = [f"not measured: {name}, {part['refused']}" for name, part in parts.items() if part and not _block(part)]
    if late:
        remarks.append(f"ended by the budget before they converged, so more may be had: {', '.join(late)}")
    return remarks


def _percent(share: Mapping[str, Any]) -> str | None:
    if not _block(share):
        return None
    value, low, high = (f"{100 * share[end]:.0f}" for end in ("value", "low", "high"))
    return f"{value} %\n[{low}, {high}]"


def _text(figure: Mapping[str, Any] | float | str | None) -> str:
    if figure is None or (isinstance(figure, Mapping) and "refused" in figure):
        return "–"
    if isinstance(figure, str):
        return figure
    return str(Estimate(**figure)).replace(" [", "\n[") if isinstance(figure, Mapping) else f"{figure:.3f}"
