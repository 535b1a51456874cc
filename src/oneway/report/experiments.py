"""The page of the paper's experiments: tables beside the paper's, and the trade-off with a slider."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from oneway.report import figure
from oneway.report.page import environment, uri
from oneway.report.reproduction import SHOWN, TITLES, columns
from oneway.report.sweeps import ExperimentReport, ExperimentRow
from oneway.storage.atomic import whole

Pixels = NDArray[np.uint8]
PLOT = (420, 300)
"""Width and height of the slider's plot, without its margins."""


def write_experiments(
    reports: Mapping[str, ExperimentReport], pictures: Mapping[str, Mapping[str, Pixels]] | None, path: Path
) -> None:
    """Show experiments as one self-contained HTML file, written atomically.

    Its only script, `slider.js`, moves the slider: the reconstructions, the point on the curve and the figures of the
    chosen weight. It loads nothing from anywhere, and tells the browser to run no script but this one, by its hash.

    Args:
        reports: by experiment.
        pictures: by experiment and row, what the strongest attacker drew of the people that are shown,
            (k, size, size, 3) in 0..255; and `original` of `original`, those people. Without any the page says that
            they were left out.
        path: the file.

    """
    slides = []
    if "tradeoff" in reports:
        slides = _slides(reports["tradeoff"].rows, None if pictures is None else pictures["tradeoff"])
    plot = _plot(slides)
    script = files("oneway.report").joinpath("slider.js").read_text(encoding="utf-8")
    text = (
        environment()
        .get_template("experiments.html.jinja")
        .render(
            reports=reports,
            columns={name: columns(report.rows) for name, report in reports.items()},
            titles=TITLES,
            metrics=SHOWN,
            strips={
                name: {key: uri(_strip(drawn)) for key, drawn in named.items()}
                for name, named in (pictures or {}).items()
            },
            slides=slides,
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            plot=plot,
            size=PLOT,
        )
    )
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def _strip(pictures: Pixels) -> Pixels:
    """Put pictures side by side."""
    strip: Pixels = np.concatenate(list(pictures), axis=1)
    return strip


def _slides(rows: list[ExperimentRow], drawn: Mapping[str, Pixels] | None) -> list[dict[str, Any]]:
    """List the settings that the slider moves to: the paper's weights by either reward, then the recipe's noise."""
    slides = []
    for row in rows:
        shown = {name: row.scores.get(name) for name in ("mean_mcc", "picture_similarity", "feature_similarity")}
        useful, alike = shown["mean_mcc"], shown["picture_similarity"]
        if useful is None or alike is None or shown["feature_similarity"] is None:
            continue
        slides.append(
            {
                "id": row.id,
                "title": row.title,
                "protection": row.protection,
                "strip": None if drawn is None else uri(_strip(drawn[row.id])),
                "figures": {SHOWN[name]: f"{figure.value(one)} {figure.interval(one)}" for name, one in shown.items()},
                "x": alike.value,
                "y": useful.value,
            }
        )
    return slides


def _plot(slides: list[dict[str, Any]]) -> dict[str, Any]:
    """Lay out the curve, axes and a line through the points of each protection; gives each slide its place."""
    across, upward = (figure.axis(*(slide[side] for slide in slides), full=0.0) for side in ("x", "y"))
    for slide in slides:
        slide["left"] = across.place(slide["x"]) / 100 * PLOT[0]
        slide["top"] = PLOT[1] - upward.place(slide["y"]) / 100 * PLOT[1]
    lines = {
        protection: " ".join(
            f"{slide['left']:.1f},{slide['top']:.1f}" for slide in slides if slide["protection"] == protection
        )
        for protection in ("paper", "bounded", "recommended")
    }
    return {"across": across, "upward": upward, "lines": lines}
