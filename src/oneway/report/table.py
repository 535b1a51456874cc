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
    table = Table(title="What a fresh attacker gets, on the test people")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in ROWS.items():
        if any(key in figures for figures in columns.values()):
            table.add_row(label, *(_text(figures.get(key)) for figures in columns.values()))
    return table


def _figures(results: Mapping[str, Any]) -> dict[str, Any]:
    return {"mean_mcc": results["utility"]["mean_mcc"], **results["attacks"]["inversion"]}


def _text(figure: Mapping[str, Any] | float | None) -> str:
    if figure is None:
        return "–"
    return str(Estimate(**figure)) if isinstance(figure, Mapping) else f"{figure:.3f}"
