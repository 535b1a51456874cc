"""What a watch found, as typed values: JSON, lines for a person, and a text file for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oneway.config import Count, ShareBelowAll, Whole, record
from oneway.errors import InputError
from oneway.shipping.contract import Sha256
from oneway.storage.atomic import unwritable

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

LEAST: Final = 100
"""Answers, below which a mean is not yet spread as its bounds assume."""
RATE: Final = 0.001
"""Share of watches of honest answers that raise an alarm, unless another is asked for."""


@record
@dataclass(frozen=True, kw_only=True)
class Check:
    """One figure, and the bounds within which honest answers keep it.

    Attributes:
        name: of what was checked.
        figure: what was found.
        low: the figure raises an alarm below it; none where it cannot be too small.
        high: and above it.
        alarm: whether it does.
        sentence: what the figure is, and for an alarm what it may mean and what to do.

    """

    name: str
    figure: float
    low: float | None
    high: float | None
    alarm: bool
    sentence: str


def check(
    name: str, figure: float, said: str, way: str, *, low: float | None = None, high: float | None = None
) -> Check:
    """Hold a figure to its bounds.

    Args:
        name: of what is checked.
        figure: what was found.
        said: what the figure is, in words.
        way: for an alarm, what it may mean and what to do.
        low: the least that raises none.
        high: the most that raises none.

    """
    alarm = (low is not None and figure < low) or (high is not None and figure > high)
    bounds = " to ".join(f"{each:.4g}" for each in (low, high) if each is not None)
    word = "" if low is not None and high is not None else "at least " if high is None else "at most "
    sentence = f"{said}; honest answers: {word}{bounds}"
    return Check(
        name=name, figure=figure, low=low, high=high, alarm=alarm, sentence=f"{sentence}. {way}" if alarm else sentence
    )


@record
@dataclass(frozen=True, kw_only=True)
class WatchReport:
    """Whether what was received is what was audited. It holds no vector.

    Attributes:
        bundle: the sha256 of its contract.
        created: when, in UTC.
        answers: that were compared.
        canaries: answers for canary pictures.
        false_alarms: share of such watches, of honest answers, that raise any alarm.
        checks: each with its figure and bounds.
        unchecked: what was not, and why.

    """

    bundle: Sha256
    created: str
    answers: Count
    canaries: Whole
    false_alarms: ShareBelowAll
    checks: list[Check]
    unchecked: dict[str, str]

    @property
    def alarms(self) -> list[Check]:
        """Those that were raised."""
        return [each for each in self.checks if each.alarm]


class Gauges:
    """The figures of a bundle's last watch, for Prometheus.

    Args:
        registry: which holds them; one may hold those of one bundle after the other, and of several.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Gauge

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"oneway_watch_{name}", about, ("bundle", *labels), registry=registry)

        self._answers = gauge("answers", "Answers that were compared.")
        self._canaries = gauge("canaries", "Answers for canary pictures.")
        self._time = gauge("time_seconds", "When it was, in seconds since 1970.")
        self._figure = gauge("figure", "What was found.", "check")
        self._bound = gauge("bound", "Beyond which an alarm is raised.", "check", "side")
        self._alarm = gauge("alarm", "1 where one was raised, 0 where not.", "check")

    def show(self, report: WatchReport) -> None:
        """Let them say what a watch found."""
        self._answers.labels(report.bundle).set(report.answers)
        self._canaries.labels(report.bundle).set(report.canaries)
        self._time.labels(report.bundle).set_to_current_time()
        for each in report.checks:
            self._figure.labels(report.bundle, each.name).set(each.figure)
            self._alarm.labels(report.bundle, each.name).set(each.alarm)
            for side, value in (("low", each.low), ("high", each.high)):
                if value is not None:
                    self._bound.labels(report.bundle, each.name, side).set(value)


def write_metrics(report: WatchReport, path: Path) -> None:
    """Write the figures as a text file, atomically, which Prometheus' node exporter collects.

    Raises:
        InputError: if prometheus-client is not installed, or the file cannot be written.

    """
    try:
        from prometheus_client import CollectorRegistry, write_to_textfile
    except ImportError as error:
        raise InputError(
            "--metrics needs prometheus-client; install oneway[serve] as `oneway doctor` says, or leave it out"
        ) from error
    registry = CollectorRegistry()
    Gauges(registry).show(report)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(path), registry)
    except OSError as error:
        raise unwritable(path, error) from error
