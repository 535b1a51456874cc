"""An audit's results as one HTML file that needs nothing else: no script, no font, no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from oneway.config import to_dict
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report import figure
from oneway.report.curve import draw_curve
from oneway.report.profile_table import held, left_out, seen
from oneway.report.reports import AuditReport
from oneway.report.table import verifier_line
from oneway.report.values import INFERRED, Scores, scores_of
from oneway.storage.atomic import whole
from oneway.storage.runs import flat

Pixels = NDArray[np.uint8]


def unbroken(label: str) -> str:
    """Keep an arrow with the word before it, and numbers like 1e-3 on one line."""
    return label.replace(" ↓", "\u00a0↓").replace(" ↑", "\u00a0↑").replace("e-", "e\N{NON-BREAKING HYPHEN}")


LEAKS = {
    "picture_similarity": "the {face}, redrawn ({similarity})",
    "feature_similarity": "the {face}, as a judge describes it (feature similarity)",
    "linkage": unbroken("{who} it is, matched to {same} (linkage at FAR 1e-3)"),
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


def page(report: AuditReport, pictures: Pictures | None) -> str:
    """Show an audit to someone who doubts it: one HTML file for screen, phone and paper.

    The file loads nothing from anywhere, runs no script, and says so to the browser (Content-Security-Policy). What was
    not measured is there with the reason.

    Args:
        report: of the audit.
        pictures: faces to embed; without any the page says that they were left out.

    """
    the = report.words
    named = {
        "the": the,
        "titles": {name: the.title(title) for name, title in _titles().items()},
        "scores": {name: the.title(label) for name, label in _labels("inversion").items()},
        "leaks": {name: told.format(**vars(the)) for name, told in LEAKS.items()},
    }
    return environment().get_template("page.html.jinja").render(report=report, pictures=pictures, **named)


def write_page(report: AuditReport, pictures: Pictures | None, path: Path) -> None:
    """Write the page of an audit, atomically.

    Raises:
        InputError: if the file cannot be written.

    """
    with whole(path) as partial:
        partial.write_text(page(report, pictures), encoding="utf-8", errors="backslashreplace")


@cache
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
    environment.filters |= {"by_value": _by_value, "durations": _durations, "settings": _settings, "uri": uri}
    environment.filters |= {"inferred": _inferred, "unbroken": unbroken, "sentence": _sentence}
    environment.tests |= {"refused": figure.refused, "measured": figure.measured, "estimate": _is_estimate}
    environment.globals |= {
        "axis": figure.axis,
        "draw_curve": draw_curve,
        "share_scale": figure.Axis(-0.1, 1.1, 12),
        "verifier_line": verifier_line,
        "scores_of": scores_of,
        "titles": _titles(),
        "scores": _labels("inversion"),
        "held": held,
        "seen": seen,
        "left_out": left_out,
        "linked": {name: label for name, label in _labels("linkage").items() if metrics()[name].unit == "share"},
        "linkable": {name: label for name, label in _labels("linkage").items() if metrics()[name].unit != "share"},
    }
    return environment


def _sentence(text: str) -> str:
    """Let a remark begin like a sentence; unlike jinja's own filter this keeps the case of the rest."""
    return text[:1].upper() + text[1:]


def _titles() -> dict[str, str]:
    return {name: unbroken(metric.title) for name, metric in metrics().items()}


def _is_estimate(value: object) -> bool:
    return isinstance(value, Estimate)


def _labels(attack: str) -> dict[str, str]:
    """Give the labels of an attack's figures by name, each with an arrow towards what is safer."""
    return {name: unbroken(metric.label) for name, metric in metrics().items() if metric.attack == attack}


def _by_value(figures: Mapping[str, figure.Figure]) -> list[tuple[str, figure.Figure]]:
    """Sort named figures, the largest first, those without a value last."""
    return sorted(figures.items(), key=lambda item: -next(figure.ends(item[1]), -np.inf))


def _inferred(name: str, scores: Scores) -> str:
    """Give the label of an inferred attribute; one that is not binary has a figure of its own, which is said."""
    if name == "inferred_mcc":
        return f"mean of {sum(other.startswith('inferred_mcc.') for other in scores)}"
    label, figure = name.partition(".")[2].replace("_", " "), scores[name]
    if figure is None or not name.startswith(INFERRED):
        return label
    return f"{label}, {'balanced accuracy above chance' if figure.unit == 'share' else figure.unit}"


def _durations(seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """Give what each step took, the longest first, and the sum."""
    steps = sorted(seconds.items(), key=lambda item: -item[1])
    return [(name, figure.duration(took)) for name, took in [*steps, ("all", sum(seconds.values()))]]


def _settings(record: object) -> list[tuple[str, str]]:
    """Give what a report was made with as rows."""
    return [(name, _setting(value)) for name, value in flat(to_dict(record)).items()]


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def uri(picture: Pixels) -> str:
    """Write a picture into its own address, as PNG: nothing of a face is lost or smoothed."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
