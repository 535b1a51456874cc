"""What a server counts, for Prometheus: numbers of requests, never anything of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from oneway.serving.decider import Decider
from oneway.serving.refusal import REASONS, Refused
from oneway.shipping.contract import Numbers
from oneway.watching.report import Gauges
from oneway.watching.running import Running

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper ends of the histogram of answering times."""


class Meters:
    """The figures of one server.

    Attributes:
        registry: holds them, with the memory and processor time of the process.
        requests: by their outcome: `answered`, `failed`, or the reason of a refusal.

    """

    def __init__(self, deciders: Sequence[Decider]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("oneway_requests", "Requests by outcome", ["outcome"], registry=self.registry)
        for outcome in ("answered", "failed", *REASONS):
            self.requests.labels(outcome)
        self._messages = Counter("oneway_messages", "Messages that were answered", registry=self.registry)
        self._seconds = Histogram(
            "oneway_decide_seconds", "Time to answer a request", registry=self.registry, buckets=SECONDS
        )
        self._busy = Gauge("oneway_requests_in_progress", "Requests that are read or answered", registry=self.registry)
        self._taken = 0
        told = Gauge("oneway_bundle_info", "What answers", ["bundle", "oneway"], registry=self.registry)
        for each in deciders:
            told.labels(each.bundle, each.contract.oneway).set(1)
        self._watches = Counter(
            "oneway_watches", "Watches, by whether they raised an alarm", ["bundle", "alarm"], registry=self.registry
        )
        self._gauges = Gauges(self.registry)

    def watch(self, decider: Decider, answers: int) -> Callable[[Numbers], None] | None:
        """Give what watches the levels (n, numbers) that a bundle is sent, once in so many; none if nothing can be."""
        if decider.reference is None or answers == 0:
            return None
        running = Running(decider.bundle, decider.reference, answers)
        for alarm in ("no", "yes"):
            self._watches.labels(decider.bundle, alarm)

        def take(levels: Numbers) -> None:
            report = running.take(levels)
            if report is not None:
                self._gauges.show(report)
                self._watches.labels(decider.bundle, "yes" if report.alarms else "no").inc()

        return take

    @contextmanager
    def place(self, most: int) -> Iterator[None]:
        """Take one of `most` places for a request.

        Raises:
            Refused: if all are taken.

        """
        if self._taken >= most:
            raise Refused("busy", f"{most} requests are being answered; send it again in a second")
        self._taken += 1
        self._busy.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._busy.set(self._taken)

    def answered(self, messages: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests.labels("answered").inc()
        self._messages.inc(messages)
        self._seconds.observe(seconds)
