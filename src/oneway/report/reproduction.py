"""The paper's experiments as text: our tables beside the paper's, and what agrees."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from oneway.metrics.estimate import Estimate
from oneway.report.sweeps import EffectReport, ExperimentReport, ExperimentRow

TITLES = {
    "strength": "The attacker's strength (Table 1)",
    "tradeoff": "Utility against privacy (Table 2)",
    "layers": "The layer (Table 3)",
    "tsne": "Features in a plane (Fig. 4)",
}
SHOWN = {
    "mean_mcc": "mean MCC",
    "picture_similarity": "face similarity",
    "strongest_picture_similarity": "the same, strongest attacker",
    "feature_similarity": "feature similarity",
    "ssim": "SSIM",
    "psnr": "PSNR, dB",
    "tar_at_far_1e-3": "linked at FAR 1e-3",
    "lda_score": "LDA score",
}
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*[]|~"})
VERDICTS = ("agrees", "disagrees", "within the interval", "not measured")


def reproduction(reports: Mapping[str, ExperimentReport]) -> str:
    """Write the tables of experiments and the judgement of each effect as Markdown.

    Args:
        reports: by experiment.

    """
    parts: list[str] = []
    for name, found in reports.items():
        parts += [f"## {TITLES[name]}", "", *_table(found.rows), ""]
        floor = found.rows[0].floor
        if floor:
            told = [f"{SHOWN[metric]} {_text(value)}" for metric, value in floor.items()]
            parts += [f"Floors (an attacker who knows nothing): {', '.join(told)}.", ""]
        if found.effects:
            parts += [*_effects(found.effects), ""]
    return "\n".join(parts)


def columns(rows: Sequence[ExperimentRow]) -> dict[str, str]:
    """Give what was measured in any row, by its name there, with the heading of its column."""
    names = [name for name in SHOWN if any(row.scores.get(name) is not None for row in rows)]
    names += sorted({name for row in rows for name in row.scores if "." in name})
    return {name: SHOWN.get(name, name.replace(".", ", ")) for name in names}


def _table(rows: Sequence[ExperimentRow]) -> Iterator[str]:
    names = columns(rows)
    header = ["", *map(_plain, names.values())]
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        cells = []
        for name in names:
            theirs = row.paper.get(name)
            cells.append(_text(row.scores.get(name)) + ("" if theirs is None else f"; paper {theirs:g}"))
        yield f"| {_plain(row.id)}: {_plain(row.title)} | {' | '.join(cells)} |"


def _effects(effects: Sequence[EffectReport]) -> Iterator[str]:
    counts: Counter[str] = Counter(effect.verdict for effect in effects)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    yield f"Of {len(effects)} changes that the paper's table shows: {said}."
    yield ""
    yield "| change | of | paper | ours | |"
    yield "|---|---|---|---|---|"
    for effect in effects:
        ours = effect.ours
        text = "–" if ours is None else f"{ours.value:+.3f} [{ours.low:+.3f}, {ours.high:+.3f}]"
        where = _plain(f"{effect.claim} ({effect.before} to {effect.after})")
        yield f"| {where} | {SHOWN[effect.metric]} | {effect.paper:+.3f} | {text} | {effect.verdict} |"


def _plain(text: str) -> str:
    """Write text that may come from data so that Markdown shows it as it is: no HTML, no link, no further column."""
    return html.escape(" ".join(text.split()), quote=False).translate(_MARKS)


def _text(value: Estimate | float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, int | float) else str(value)
