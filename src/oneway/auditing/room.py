"""What every step of an audit has at hand, and what it says of an attacker's training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from oneway.attacks.fit import Fitted
from oneway.auditing.config import AuditConfig
from oneway.auditing.steps import Steps
from oneway.auditing.victim import Stolen, Victim
from oneway.data.packed import Pack
from oneway.judge import Judge


@dataclass(frozen=True, kw_only=True)
class Room:
    """Everything that a step of an audit needs.

    Attributes:
        victim: what is attacked.
        stolen: what its attackers have.
        judge: who scores what they draw.
        config: their budgets.
        steps: which are finished.
        images: whether pictures of people are asked for, so that steps keep some.

    """

    victim: Victim
    stolen: Stolen
    judge: Judge
    config: AuditConfig
    steps: Steps
    images: bool = False

    @property
    def pack(self) -> Pack:
        """The people of the audit."""
        return self.victim.pack


class Budgeted(Protocol):
    """An attack's configuration, a dataclass with a budget."""

    @property
    def max_steps(self) -> int: ...  # noqa: D102
    @property
    def check_every(self) -> int: ...  # noqa: D102


Config = TypeVar("Config", bound=Budgeted)


def budget(room: Room, config: Config) -> Config:
    """Give an attack the audit's budget instead of its own, if there is one."""
    steps = room.config.steps
    if steps is None:
        return config
    return replace(config, max_steps=steps, check_every=min(steps, config.check_every))  # type: ignore[type-var]


def course(fitted: Fitted[Any]) -> dict[str, Any]:
    """Say how an attacker's training went."""
    return {
        "converged": fitted.converged,
        "steps": fitted.steps,
        "validation_error": fitted.validation_error,
    }
