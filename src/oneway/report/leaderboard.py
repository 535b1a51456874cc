"""A leaderboard of defences as typed values, as a table for a terminal, and as a page in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.table import Table

from oneway.metrics.estimate import Estimate
from oneway.report.asked import Data, Named
from oneway.report.summary import safe, table
from oneway.report.values import SCHEMA


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Who attacked and who judged, the same for every entry.

    Attributes:
        attackers: that were trained, beside the solved ones.
        asked: further settings of the audits that decide figures.
        judges: of faces.
        pack: the data.
        seeds: of the benchmarks.
        control: utility of the unprotected encoder, of each benchmark.

    """

    attackers: list[str]
    asked: dict[str, str]
    judges: list[Named]
    pack: Data
    seeds: list[str]
    control: list[Estimate]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a defence gives away where it keeps the utility asked for.

    Attributes:
        defence: its name.
        seeds: how many it was trained with.
        strengths: the smallest and the largest that its figures are interpolated from.
        excess: by name, as far as it was measured: 0 as the task's decisions alone, 1 as no protection.
        doubts: what makes it doubtful.

    """

    defence: str
    seeds: int
    strengths: tuple[float, float]
    excess: dict[str, Estimate]
    doubts: list[str]

    @property
    def worst(self) -> Estimate | None:
        """The largest of its excesses, by which it is ranked."""
        return max(self.excess.values(), key=lambda each: each.value, default=None)


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Defences at one share of the control's utility.

    Attributes:
        cut: layer after which features leave the device.
        utility: the share.
        panel: who attacked and judged.
        leakages: those that were measured of any defence, and what each is of.
        entries: the least leaking first.
        short: what each defence keeps at most that keeps less at every strength tried.

    """

    cut: str
    utility: float
    panel: Panel
    leakages: dict[str, str]
    entries: list[Entry]
    short: dict[str, str]

    @property
    def title(self) -> str:
        """Say what the figures are."""
        return f"Excess where {self.utility:g} of the control's utility is kept, at {self.cut}"

    @property
    def apart(self) -> list[bool]:
        """Say of each entry but the last whether its worst excess lies apart from the next one's, by intervals."""
        worst = [entry.worst for entry in self.entries]
        return [one is not None and other is not None and one.high < other.low for one, other in pairwise(worst)]


def _rows(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Lay out the entries: heads, and cells."""
    heads = [
        "defence",
        "strengths",
        "seeds",
        "worst excess ↓",
        *(f"of {of}" for of in board.leakages.values()),
        "apart from the next",
        "doubtful since",
    ]
    rows = []
    apart = ["yes" if each else "no" for each in board.apart]
    apart += ["–"] * (len(board.entries) - len(apart))  # the last one has no next
    for entry, lies in zip(board.entries, apart, strict=True):
        low, high = entry.strengths
        strengths = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        figures = [entry.worst, *(entry.excess.get(name) for name in board.leakages)]
        told = [
            "–" if figure is None else f"{figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]" for figure in figures
        ]
        doubts = "; ".join(entry.doubts)
        rows.append([entry.defence, strengths, str(entry.seeds), *told, lies, doubts])
    return heads, rows


def leaderboard_table(board: Leaderboard) -> Table:
    """Lay out a leaderboard for a terminal."""
    heads, rows = _rows(board)
    laid = Table(title=board.title, caption="\n".join(_short(board)) or None, caption_justify="left")
    for head in heads:
        laid.add_column(head, overflow="fold")
    for row in rows:
        laid.add_row(*row)
    return laid


def leaderboard_page(board: Leaderboard, command: str) -> str:
    """Write a leaderboard as a page in Markdown.

    Args:
        board: the leaderboard.
        command: that makes it.

    """
    heads, rows = _rows(board)
    panel = board.panel
    judges = ", ".join(safe(str(judge)) for judge in panel.judges)
    attacked = ", ".join(map(safe, ["linear", "kernel", *panel.attackers]))
    settings = ", ".join(f"{safe(name)} {safe(value)}" for name, value in panel.asked.items())
    controls = ", ".join(map(str, panel.control))
    alone = len(panel.judges) == 1
    about = [
        f"Panel: layout {SCHEMA}; attackers {attacked}; judges {judges}; {settings}.",
        f"Pack {safe(panel.pack.name)} ({panel.pack.hash[:12]}); seeds {', '.join(panel.seeds)}; "
        f"the control's utility {controls}.",
        *(["One judge, with which attackers trained: what it sees of drawings is an upper bound."] if alone else []),
        "Excess: 0 as the task's decisions alone, 1 as no protection, on the test part, by the worst judge. "
        "Interpolated by a straight line between the two neighbouring strengths that keep more and less; the interval "
        "reaches over the curve at the ends of the interval of the utility kept. Of several seeds it is the mean, its "
        "interval from the lowest to the highest end of theirs.",
    ]
    told = [[safe(cell) for cell in row] for row in rows]
    return (
        "\n\n".join(
            [
                "# Leaderboard",
                f"**{safe(board.title)}.**",
                table(heads, told) or "No defence keeps so much.",
                *(["\n".join(f"- {safe(line)}" for line in _short(board))] if board.short else []),
                *about,
                f"```\n{command}\n```",
            ]
        )
        + "\n"
    )


def _short(board: Leaderboard) -> Sequence[str]:
    return [f"{name} does not keep so much at any strength tried: {most}" for name, most in board.short.items()]
