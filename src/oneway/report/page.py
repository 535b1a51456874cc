"""An audit's results as one HTML file that needs nothing else: no script, no font, no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from oneway.report import figure
from oneway.report.curve import draw_curve
from oneway.report.table import ROWS, verifier_line
from oneway.storage import whole

Pixels = NDArray[np.uint8]


def _unbroken(label: str) -> str:
    """Keep an arrow with the word before it, and numbers like 1e-3 on one line."""
    return label.replace(" ↓", "\u00a0↓").replace(" ↑", "\u00a0↑").replace("e-", "e\N{NON-BREAKING HYPHEN}")


SCORES = {
    name: _unbroken(label)
    for name, label in {
        **ROWS,
        "ssim_affine": "SSIM, colours corrected ↓",
        "psnr_affine": "PSNR, colours corrected ↓",
    }.items()
    if name != "mean_mcc"
}
"""Every score of a reconstruction, with an arrow towards what is safer."""
LINKED = {
    "tar_at_far_1e-2": _unbroken("TAR at FAR 1e-2"),
    "tar_at_far_1e-3": _unbroken("TAR at FAR 1e-3"),
    "rank_1": "rank 1",
    "rank_5": "rank 5",
}
"""Every score of a linkage; for all of them lower is safer."""
LEAKS = {
    "face_similarity": "the face, redrawn (face similarity)",
    "feature_similarity": "the face, as a verifier describes it (feature similarity)",
    "linkage": _unbroken("who it is, matched to a photograph (linkage at FAR 1e-3)"),
}
"""What can leak, and the score that its share is of."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Faces to show.

    Attributes:
        people: `original`, and by attacker what it drew of the same k test people, who are spread evenly and not
            picked; `control` is the strongest attacker on the unprotected encoder. Each (k, size, size, 3) in 0..255.
        worst: `original` and `reconstruction` of the people whom the strongest attacker recovers best, shaped alike.
        worst_similarity: how alike these are, best recovered first.

    """

    people: Mapping[str, Pixels]
    worst: Mapping[str, Pixels] = field(default_factory=dict)
    worst_similarity: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert next(iter(self.people)) == "original"
        assert len({shown.shape for shown in self.people.values()}) == 1
        assert all(len(shown) == len(self.worst_similarity) for shown in self.worst.values())


def write_page(results: Mapping[str, Any], pictures: Pictures | None, path: Path) -> None:
    """Show an audit to someone who doubts it: one HTML file for screen, phone and paper, written atomically.

    The file loads nothing from anywhere, runs no script, and says so to the browser (Content-Security-Policy). What was
    not measured is there with the reason.

    Args:
        results: what an audit's `results.json` holds, as docs/results.md describes it.
        pictures: faces to embed; without any the page says that they were left out.
        path: the file to write.

    Raises:
        InputError: if the file cannot be written.

    """
    text = environment().get_template("page.html.jinja").render(results=results, pictures=pictures)
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def environment() -> Environment:
    """Give what the pages are written with: templates of this room, and how figures become text."""
    environment = Environment(
        loader=PackageLoader("oneway.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = (figure.number, figure.value, figure.interval, figure.count, figure.duration, figure.tick)
    environment.filters |= {function.__name__: function for function in written}
    environment.filters |= {"by_value": _by_value, "durations": _durations, "flat": _flat, "uri": uri}
    environment.tests |= {"refused": figure.refused, "measured": figure.measured}
    environment.globals |= {
        "axis": figure.axis,
        "draw_curve": draw_curve,
        "share_scale": figure.Axis(-0.1, 1.1, 12),
        "settled": _settled,
        "verifier_line": verifier_line,
        "scores": SCORES,
        "linked": LINKED,
        "leaks": LEAKS,
    }
    return environment


def _settled(block: object, reason: str = "it is no part of this audit") -> Mapping[str, Any]:
    """Give a block of results, or the reason why there is none."""
    return block if isinstance(block, Mapping) else {"refused": reason}


def _by_value(figures: Mapping[str, figure.Figure]) -> list[tuple[str, figure.Figure]]:
    """Sort named figures, the largest first, those without a value last."""
    return sorted(figures.items(), key=lambda item: -next(figure.ends(item[1]), -np.inf))


def _durations(seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """Give what each step took, the longest first, and the sum."""
    steps = sorted(seconds.items(), key=lambda item: -item[1])
    return [(name, figure.duration(took)) for name, took in [*steps, ("all", sum(seconds.values()))]]


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Give nested settings as rows, named like `audit.seed`."""
    rows: list[tuple[str, str]] = []
    for name, setting in content.items():
        if isinstance(setting, Mapping):
            rows += _flat(setting, f"{prefix}{name}.")
        elif isinstance(setting, list):
            rows.append((f"{prefix}{name}", ", ".join(map(str, setting)) or "none"))
        else:
            rows.append((f"{prefix}{name}", "none" if setting is None else str(setting)))
    return rows


def uri(picture: Pixels) -> str:
    """Write a picture into its own address, as PNG: nothing of a face is lost or smoothed."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
