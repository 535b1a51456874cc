"""What a server counts, for Prometheus: numbers of requests, never anything of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from oneway.serving.decider import Decider
from oneway.serving.refusal import REASONS, Refused

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper ends of the histogram of answering times."""


class Meters:
    """The figures of one server.

    Attributes:
        registry: holds them, with the memory and processor time of the process.
        requests: by their outcome: `answered`, `failed`, or the reason of a refusal.

    """

    def __init__(self, decider: Decider) -> None:
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
        told = {"bundle": decider.bundle, "oneway": decider.contract.oneway}
        Info("oneway_bundle", "What answers", registry=self.registry).info(told)

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
