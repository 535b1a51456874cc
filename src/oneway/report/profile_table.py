"""What standards ask of protected features (ISO/IEC 24745), as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from oneway.metrics.registry import metrics
from oneway.report.judging import Recognised
from oneway.report.profile import Profile, Renewability, SuccessOfAttack
from oneway.report.values import AttackResult, Refused

ACROSS = ("tar_at_far_1e-3", "rank_1", "d_sys", "maximal_linkability")
"""The figures of linkage between two encoders that are said in a line."""


def profile_table(profile: Profile) -> Table:
    """Lay out the reconstructions that are accepted as the person: a row for each judge and attacker.

    Unlinkability, renewability and who holds what are said below the table.
    """
    table = Table(
        title="ISO/IEC 24745, irreversibility: share of reconstructions accepted as the person (95 % interval)",
        caption_justify="left",
    )
    rows = [] if isinstance(profile.irreversibility, Refused) else profile.irreversibility
    for heading in ("judge", "attacker", "has"):
        table.add_column(heading)
    for each in rows[0].recognised if rows else ():
        table.add_column(f"FAR {each.false_accept_rate:g} ↓", justify="right")
    for row in rows:
        table.add_row(f"{row.judge}\n{seen(row)}", row.attacker, held(row), *map(_cell, row.recognised))
    table.caption = "\n".join(_below(profile, rows))
    return table


def _cell(each: Recognised) -> str:
    """Write a share above its interval, the mean face's, and the control's where that is known."""
    if each.share is None:
        return "–"
    beside = {"floor": each.floor, "control": each.control}
    lines = [f"{name} {figure.value:.3f}" for name, figure in beside.items() if figure is not None]
    return "\n".join([*str(each.share).split(" ", 1), *lines])


def seen(row: SuccessOfAttack) -> str:
    """Say whether an attacker trained with the judge."""
    return "trained with: an upper bound" if row.trained_with else "unseen by the attacker"


def held(row: SuccessOfAttack) -> str:
    """Say what an attacker has."""
    answers = "1 answer" if row.answers == 1 else f"{row.answers} answers"
    return f"{row.threat_model}, {answers}"


def left_out(rows: list[SuccessOfAttack]) -> dict[float, int]:
    """Give the rates that a judge's validation people are too few for, and how many would do."""
    needed: dict[float, int] = {}
    for each in (each for row in rows for each in row.recognised):
        if each.people_needed is not None:
            needed[each.false_accept_rate] = each.people_needed
    return needed


def _below(profile: Profile, rows: list[SuccessOfAttack]) -> Iterator[str]:
    if isinstance(profile.irreversibility, Refused):
        yield f"irreversibility: not measured, {profile.irreversibility.refused}"
    for rate, people in left_out(rows).items():
        yield f"FAR {rate:g} is left out: it takes {people} validation people with as many pictures each"
    if isinstance(profile.unlinkability, Refused):
        yield f"unlinkability: not measured, {profile.unlinkability.refused}"
    else:
        figures = [
            f"{number.title} {number.value} (floor {_plain(number.floor)}, control {_plain(number.control)})"
            for number in profile.unlinkability
        ]
        yield f"unlinkability: {'; '.join(figures)}"
    if isinstance(profile.renewability, Refused):
        yield f"renewability: not measured, {profile.renewability.refused}"
    else:
        yield from _renewed(profile.renewability)
    yield from (f"assumed of {what}: {who}" for what, who in profile.assumed.items())


def _renewed(found: Renewability) -> Iterator[str]:
    """Say what features by another encoder are worth."""
    if isinstance(found.across, Refused):
        yield f"renewability: features are not linked to those by {found.other}, {found.across.refused}"
    else:
        across, within = found.across.scores, found.within
        figures = [
            f"{metrics()[name].title} {_plain(across[name])} (within this encoder {_plain(within.get(name))}"
            f"{_floor(found.across, name)})"
            for name in ACROSS
            if across.get(name) is not None
        ]
        yield f"renewability, features linked to those by {found.other}: {'; '.join(figures)}"
    name = "picture_similarity" if any("picture_similarity" in way.scores for way in found.drawn.values()) else "mse"
    drawn = [f"{whose} {_plain(way.scores.get(name))}" for whose, way in found.drawn.items()]
    yield f"renewability, drawn by ridge regression, {metrics()[name].title}: {'; '.join(drawn)}"


def _floor(result: AttackResult, name: str) -> str:
    floor = result.facts.get(f"{name}_floor")
    return "" if floor is None else f", floor {_plain(floor)}"


def _plain(figure: object) -> str:
    return "–" if figure is None else f"{figure:.3f}" if isinstance(figure, float | int) else str(figure)
