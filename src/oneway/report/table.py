"""Results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from oneway.metrics.estimate import Estimate

ROWS = {
    "mean_mcc": "utility: mean MCC ↑",
    "face_similarity": "face similarity ↓",
    "recognised": "recognised at FAR 1e-3 ↓",
    "ssim": "SSIM ↓",
    "psnr": "PSNR, dB ↓",
    "mse": "MSE ↑",
}
"""Every figure shown, with the direction in which the provider of an encoder wants it."""


def attack_table(results: Mapping[str, Any]) -> Table:
    """Lay out the results of an attack (docs/results.md) beside their floors and their control.

    Values stand with their 95 % intervals over people.
    """
    columns = {"this encoder": _figures(results)}
    if results["control"] is not None:
        columns["control (unprotected)"] = _figures(results["control"])
    columns |= {
        "floor: mean face": results["floors"]["mean_face"] | results["floors"]["constant_prediction"],
        "floor: by output labels": results["floors"]["nearest_by_output"],
    }
    table = Table(title="What a fresh attacker gets from the test people (value, 95 % interval)")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in ROWS.items():
        if any(key in figures for figures in columns.values()):
            table.add_row(label, *(_text(figures.get(key)) for figures in columns.values()))
    return table


def utility_line(results: Mapping[str, Any]) -> str:
    """Say in one line what a protect run's encoder is good for."""
    mean_mcc = results["utility"]["mean_mcc"]
    count = len(results["utility"]["mcc"])
    return f"mean MCC of {count} attributes on {mean_mcc['n']} test people: {Estimate(**mean_mcc)} (floor: 0)"


def verifier_line(about: Mapping[str, Any] | None) -> str:
    """Say in one line how good a verifier is, so that its scores can be read."""
    if about is None:
        return "no verifier: no person appears twice, so there are no identity scores; give one with --verifier"
    if about["true_accept_rate"] is None:
        return f"verifier {about['name']}: too few people to say how good it is, so nothing is counted as recognised"
    rate = Estimate(**about["true_accept_rate"])
    return (
        f"verifier {about['name']} accepts {rate} of real pairs of one test person at a false accept rate of "
        f"{about['false_accept_rate']:g} (threshold {about['threshold']:.3f})"
    )


def _figures(results: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean_mcc": results["utility"]["mean_mcc"], **results["attacks"]["inversion"]}


def _text(figure: Mapping[str, Any] | float | None) -> str:
    if figure is None:
        return "–"
    return str(Estimate(**figure)).replace(" [", "\n[") if isinstance(figure, Mapping) else f"{figure:.3f}"
