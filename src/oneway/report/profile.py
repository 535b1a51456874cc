"""What standards ask of protected biometric features (ISO/IEC 24745), gathered in one place, with who has what.

Irreversibility, that no face is had from stolen features which is accepted as the person; unlinkability, that they say
not whose they are; renewability, that those by a new encoder are worth no more for having those by the old one.
"""

from __future__ import annotations

from dataclasses import dataclass

from oneway.config import record
from oneway.report.judging import Recognised
from oneway.report.values import AttackResult, Number, OrRefused, Scores, Way


@record
@dataclass(frozen=True, kw_only=True)
class SuccessOfAttack:
    """How many of an attacker's reconstructions a judge accepts as the person: the success attack rate.

    Attributes:
        judge: who accepts.
        trained_with: whether the attacker trained with that judge; such a figure is an upper bound.
        threat_model: what the attacker has: `black box`, `white box` or `feature dump`.
        answers: of the encoder for each stolen picture, of which the average is attacked.
        attacker: the strongest of these, as that judge finds on validation people.
        recognised: the share at each false accept rate.

    """

    judge: str
    trained_with: bool
    threat_model: str
    answers: int
    attacker: str
    recognised: list[Recognised]


@record
@dataclass(frozen=True, kw_only=True)
class Renewability:
    """What features by one encoder are worth to who has those of the same people by another.

    Attributes:
        other: the other encoder's name.
        across: how well features by one are linked to features of other pictures of the same people by the other.
        within: the same figures of features that are both by this encoder.
        drawn: what a ridge regression draws, from the features of `this encoder`, of `the other encoder` and of `both`.
        strongest: which of these draws best, as validation people find.

    """

    other: str
    across: OrRefused[AttackResult]
    within: Scores
    drawn: dict[str, Way]
    strongest: str


@record
@dataclass(frozen=True, kw_only=True)
class Profile:
    """What standards ask of protected biometric features.

    Attributes:
        assumed: who is assumed to hold what: `weights`, `queries`, `stolen`, `public pictures`, `judges`.
        irreversibility: how many reconstructions are accepted as the person, by judge and attacker.
        unlinkability: how far the strongest way of linking tells pairs of one person from those of two.
        renewability: against another encoder, where one was given.

    """

    assumed: dict[str, str]
    irreversibility: OrRefused[list[SuccessOfAttack]]
    unlinkability: OrRefused[list[Number]]
    renewability: OrRefused[Renewability]
