"""How much a server takes at once."""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import Count, Positive, checked


@checked
@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Bounds of a server: of what one request may cost, and of how many there are.

    Attributes:
        batch: messages of one request, at most.
        requests: requests that are read or answered at a time, at most; the next is told to come again.
        seconds: in which a request's body must have arrived, and in which answers are finished at the end.
        remembered: ids of requests that are known again; the oldest is forgotten first.

    """

    batch: Count = 256
    requests: Count = 256
    seconds: Positive = 10.0
    remembered: Count = 65536
