"""Which verifiers attackers train with: each of these is held out of one training, whose attacker it then judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from oneway.auditing.config import AuditConfig
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class Surrogates:
    """The verifiers that attackers train with.

    Attributes:
        networks: by name, with gradients.
        groups: the names that one training has at once; as many trainings as there are groups.
        lacking: why no attacker trains with the judge that was to take the place of one that is held out.

    """

    networks: dict[str, Surrogate] = field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()
    lacking: str | None = None


def open_surrogates(verifiers: Sequence[Verifier], config: AuditConfig, pack: Pack, device: torch.device) -> Surrogates:
    """Choose the verifiers that attackers train with, and open them.

    The first ones, as many as `AuditConfig.surrogates` says, but never the last of several. For each of these another
    attacker trains without it, and with the next judge in its place if that has gradients.

    Raises:
        InputError: if one of the first ones gives no gradients, or other features with them, or if there is none for an
            attacker that was asked for with a generator.

    """
    if config.generator is not None and not (verifiers and config.trains_with_judges and config.surrogates):
        raise InputError(
            f"who draws with the generator {config.generator} is trained through a judge, and there is none that "
            "attackers train with; give one by --verifier (and surrogates above 0), or leave the generator out"
        )
    number = min(config.surrogates, max(len(verifiers) - 1, 1), len(verifiers)) if config.trains_with_judges else 0
    first = [verifier.name for verifier in verifiers[:number]]
    networks = {verifier.name: Surrogate(verifier, pack, device) for verifier in verifiers[:number]}
    lacking, spare = None, []
    if first and len(verifiers) > number:
        try:
            networks[verifiers[number].name] = Surrogate(verifiers[number], pack, device)
            spare = [verifiers[number].name]
        except InputError as error:
            lacking = str(error)
    groups = [first] if first else []
    if len(verifiers) > 1:
        groups += [[name for name in first + spare if name != held_out] for held_out in first]
    return Surrogates(
        networks=networks,
        groups=tuple(dict.fromkeys(tuple(group) for group in groups if group)),
        lacking=lacking,
    )
