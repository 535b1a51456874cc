"""Figures as text, and the axes they are drawn on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from oneway.metrics.estimate import Estimate
from oneway.report.values import Refused

Figure = Estimate | Refused | float | None
"""An estimate, a bare number, a refusal with its reason, or nothing."""
NOTHING = "–"
_PERCENT = ("share", "leakage")
_THIN = "\N{NARROW NO-BREAK SPACE}"


def refused(block: object) -> bool:
    """Say whether a block of results holds only the reason why it was not measured."""
    return isinstance(block, Refused)


def measured(figure: Figure) -> bool:
    """Say whether there is a number to show."""
    return isinstance(figure, Estimate | float | int)


def ends(*figures: Figure) -> Iterator[float]:
    """Give every number that must have a place on the axis of these figures: values and ends of intervals."""
    for figure in figures:
        if isinstance(figure, Estimate):
            yield from (figure.value, figure.low, figure.high)
        elif isinstance(figure, float | int):
            yield figure


def number(value: float | None, unit: str = "") -> str:
    """Write a number in as many digits as its unit deserves, shares and leakage in percent."""
    if value is None:
        return NOTHING
    if unit in _PERCENT:
        return f"{_plain(100 * value, 1)}{_THIN}%"
    if unit == "dB":
        return f"{_plain(value, 1)}{_THIN}dB"
    if unit == "bits":
        return f"{_plain(value, 2)}{_THIN}bits"
    return _plain(value, 4 if unit == "MSE" else 3)


def tick(value: float, unit: str = "") -> str:
    """Write a round number at an axis, as short as it can be."""
    text = f"{100 * value:g}{_THIN}%" if unit in _PERCENT else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}")


def value(figure: Figure, unit: str = "") -> str:
    """Write a figure without its interval; a bare number is taken to be of `unit`."""
    if figure is None or isinstance(figure, Refused):
        return NOTHING
    if isinstance(figure, Estimate):
        return number(figure.value, figure.unit)
    return number(figure, unit)


def interval(figure: Figure) -> str:
    """Write the 95 % interval of an estimate, `[low, high]`; a bare number has none."""
    if not isinstance(figure, Estimate):
        return ""
    low, high = (number(end, figure.unit).split(_THIN)[0] for end in (figure.low, figure.high))
    return f"[{low}, {high}]"


def count(whole: float | None) -> str:
    """Write a count with its thousands apart."""
    return NOTHING if whole is None else f"{whole:,.0f}".replace(",", _THIN)


def duration(seconds: float | None) -> str:
    """Write a time in the two largest units that it has."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f}{_THIN}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_THIN}min {rest}{_THIN}s"
    return f"{minutes // 60}{_THIN}h {minutes % 60}{_THIN}min"


def _plain(value: float, digits: int) -> str:
    if abs(value) >= 1000:
        digits = 0
    text = f"{value:,.{digits}f}".replace(",", _THIN)
    if not text.strip("-0."):
        text = text.removeprefix("-")  # a zero has no sign
    return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Axis:
    """A scale whose ends and ticks are round numbers.

    Attributes:
        low: its lower end.
        high: its upper end, above `low`.
        steps: into how many equal parts the ticks divide it.

    """

    low: float
    high: float
    steps: int

    def place(self, value: float) -> float:
        """Give the place of a value in percent of the axis; what lies beyond an end stands at that end."""
        return round(100 * min(max((value - self.low) / (self.high - self.low), 0.0), 1.0), 2)

    def span(self, first: float, second: float) -> tuple[float, float]:
        """Give where the part between two values begins and how long it is, both in percent."""
        start, stop = sorted((self.place(first), self.place(second)))
        return start, round(stop - start, 2)

    @property
    def ticks(self) -> list[float]:
        """The round numbers, from end to end."""
        step = (self.high - self.low) / self.steps
        return [round(self.low + place * step, 10) or 0.0 for place in range(self.steps + 1)]  # 0, never -0


def axis(*figures: Figure, full: float = 1.0) -> Axis:
    """Make the axis that holds zero, all the figures, and `full`: the unit's largest value, or 0 if it has none."""
    values = [0.0, full, *ends(*figures)]
    low, high = min(values), max(values)
    if high == low:
        high = low + 1.0
    least = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Axis(round(first * step, 10), round(last * step, 10), last - first)
