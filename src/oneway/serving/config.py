"""How much a server takes at once."""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import Count, Positive, Whole, checked
from oneway.errors import InputError
from oneway.watching.report import LEAST


@checked
@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """Bounds of a server: of what one request may cost, and of how many there are.

    Attributes:
        batch: messages of one request, at most.
        requests: requests that are read or answered at a time, at most; the next is told to come again.
        seconds: in which a request's body must have arrived, and in which answers are finished at the end.
        remembered: ids of requests that are known again; the oldest is forgotten first.
        watch: answers after which what was received is compared with what was audited, again and again; 0 for never,
            else 100 or more.

    """

    batch: Count = 256
    requests: Count = 256
    seconds: Positive = 10.0
    remembered: Count = 65536
    watch: Whole = 1000

    def __post_init__(self) -> None:
        if 0 < self.watch < LEAST:
            raise InputError(f"watch is {self.watch}; a watch needs {LEAST} answers or more, and 0 makes none")
