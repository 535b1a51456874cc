"""What an audit is asked, on which data and by which judges, and what made its report, as typed values."""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import record


@record
@dataclass(frozen=True, kw_only=True)
class Named:
    """A judge as others know it: its name, for people, and its fingerprint, by which it is told from others."""

    name: str | None
    fingerprint: str | None

    def __str__(self) -> str:
        if self.name is None:
            return "no verifier"
        return f"{self.name} ({(self.fingerprint or 'no fingerprint')[:12]})"


@record
@dataclass(frozen=True, kw_only=True)
class Data:
    """A pack as others know it: its folder's name, and the hash of its pictures and labels."""

    name: str
    hash: str


@record
@dataclass(frozen=True, kw_only=True)
class Question:
    """What an audit is asked, whoever judges, without a path.

    Attributes:
        audit: the attacks and their budgets, files by name and hash.
        victim: what tells it from any other: names and hashes.
        data: the pack.
        images: whether pictures of people were asked for.

    """

    audit: dict[str, object]
    victim: dict[str, object]
    data: Data
    images: bool


@record
@dataclass(frozen=True, kw_only=True)
class Asked(Question):
    """The same with the judges, the first of whom attackers train with: all that decides an audit's figures."""

    judges: list[Named]


@record
@dataclass(frozen=True, kw_only=True)
class Provenance(Asked):
    """What made a report.

    Attributes:
        oneway: its version, as those of the libraries below are theirs.
        torch: see `oneway`.
        torchvision: see `oneway`.
        python: see `oneway`.
        machine: its processors.
        created: when, in UTC.

    """

    oneway: str
    torch: str
    torchvision: str
    python: str
    machine: str
    created: str
