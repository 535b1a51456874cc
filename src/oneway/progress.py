"""How far a long piece of work is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from oneway.console import console

INTERVAL = 10.0  # seconds between plain lines


class Advance(Protocol):
    """Takes note of finished work."""

    def __call__(self, done: int, **figures: float) -> None:
        """Count `done` more as finished and show `figures`, such as losses; those not given keep their value."""
        ...


def track(
    description: str, total: int, unit: str = "images", enabled: bool = True, *, before: int = 0
) -> AbstractContextManager[Advance]:
    """Show on stderr how much of `total` is finished, how fast, and for how much longer.

    `before` were finished by an earlier run; they count for the bar and not for the speed. Where stderr is no
    terminal, a line without control characters is printed every ten seconds and at the end. Nothing is
    printed unless `enabled`.

        with track("training", 10_000) as advance:
            advance(256, loss=0.31)
    """
    if not enabled:
        return nullcontext(_silent)
    there = console(stderr=True)
    # Rich alone would believe variables such as FORCE_COLOR rather than the file.
    if sys.stderr.isatty() and there.is_interactive:
        return _bar(there, description, total, unit, before)
    return _lines(description, total, unit, before)


def note(line: str) -> None:
    """Say something once, on stderr, that whoever runs this should know."""
    console(stderr=True).print(line, soft_wrap=True)


def _silent(done: int, **figures: float) -> None:
    """Show nothing."""


@contextmanager
def _bar(there: Console, description: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        # On a narrow terminal the figures alone give way, to a second line.
        TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=False)),
    )
    latest: dict[str, float] = {}
    with Progress(*columns, console=there, refresh_per_second=4, speed_estimate_period=60) as progress:
        number = progress.add_task(description, total=total, completed=before, rate="", figures="")
        (task,) = progress.tasks

        def advance(done: int, **figures: float) -> None:
            latest.update(figures)
            rate = _rate(task.speed, unit) if task.speed else ""
            progress.update(number, advance=done, rate=rate, figures=_named(latest))

        yield advance


@contextmanager
def _lines(description: str, total: int, unit: str, before: int) -> Iterator[Advance]:
    latest: dict[str, float] = {}
    finished, printed = before, -1
    begun = last = monotonic()

    def line() -> None:
        nonlocal last, printed
        last, printed = monotonic(), finished
        rate = (finished - before) / max(last - begun, 1e-6)
        parts = f"{description}: {finished}/{total}", _rate(rate, unit), _named(latest)
        print(", ".join(filter(None, parts)), file=sys.stderr, flush=True)

    def advance(done: int, **figures: float) -> None:
        nonlocal finished
        finished += done
        latest.update(figures)
        if monotonic() - last >= INTERVAL:
            line()

    try:
        yield advance
    finally:
        if printed != finished:
            line()


def _rate(rate: float, unit: str) -> str:
    return f"{rate:,.0f} {unit}/s" if rate >= 10 else f"{rate:.2g} {unit}/s"


def _named(figures: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
