"""What every step of an audit has at hand, and what it says of an attacker's training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from oneway.attacks.fit import Fitted
from oneway.auditing.config import AuditConfig
from oneway.auditing.stealing import Stolen
from oneway.auditing.steps import Steps
from oneway.auditing.surrogates import Surrogates
from oneway.auditing.victim import Victim
from oneway.data.packed import Pack
from oneway.judges.judge import Judge
from oneway.report.values import Course

OTHER = "another encoder"
"""In the seed of what the other encoder draws: no noise is drawn twice."""


@dataclass(frozen=True, kw_only=True)
class AuditContext:
    """Everything that a step of an audit needs.

    Attributes:
        victim: what is attacked.
        stolen: what its attackers have.
        judges: who score what they draw.
        surrogates: those that attackers train with.
        config: their budgets.
        steps: which are finished.
        images: whether pictures of people are asked for, so that steps keep some.
        other: another encoder for the same people, if one was given.

    """

    victim: Victim
    stolen: Stolen
    judges: tuple[Judge, ...]
    surrogates: Surrogates = field(default_factory=Surrogates)
    config: AuditConfig
    steps: Steps
    images: bool = False
    other: Victim | None = None

    @contextmanager
    def seeded(self, name: str) -> Iterator[None]:
        """Let what the encoders draw at random be a function of the seed and a name, in a block: each its own."""
        with ExitStack() as stack:
            stack.enter_context(self.victim.seeded(self.config.seed, name))
            if self.other is not None:
                stack.enter_context(self.other.seeded(self.config.seed, name, OTHER))
            yield

    @property
    def judge(self) -> Judge:
        """The first judge: whose features are predicted, and with whom photographs are compared."""
        return self.judges[0]

    @property
    def pack(self) -> Pack:
        """The people of the audit."""
        return self.victim.pack


def course(fitted: Fitted[Any], queries: int | None = None) -> Course:
    """Say how an attacker's training went, and how many pictures it sent to the encoder, where they are counted."""
    return Course(
        converged=fitted.converged, steps=fitted.steps, validation_error=fitted.validation_error, queries=queries
    )
