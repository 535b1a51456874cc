"""From what a server received to what it may mean."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from oneway.errors import InputError
from oneway.shipping.contract import Contract, bundle_hash
from oneway.shipping.reference import LEAST_PEOPLE, Reference, read_reference
from oneway.shipping.statistics import alike
from oneway.shipping.verify import checked_contract
from oneway.watching.canary import linkage, noise, shared
from oneway.watching.drift import drift, duplicates, means_of
from oneway.watching.received import Received, read_received
from oneway.watching.report import LEAST, RATE, Check, WatchReport

CHECKS: Final = 8
"""That are made where nothing lacks."""
NOISELESS: Final = "the contract has no noise"


def watch(
    bundle: Path | str,
    features: Path | str,
    *,
    canary: Path | str | None = None,
    false_alarms: float = RATE,
) -> WatchReport:
    """Hold what a server received to what was audited.

    Args:
        bundle: its folder.
        features: what was received of whoever sends: a file or folder of messages, or a dump; see `read_received`.
        canary: the same of pictures that are known, several answers for each, under one name for each picture; where
            the names are PERSON/PICTURE, of people too.
        false_alarms: share of watches of honest answers, all checks together, that raise an alarm; above 0, below 0.5.

    Returns:
        figures and alarms, no vector.

    Raises:
        InputError: for a damaged bundle, what is no answer of it, or too few answers.

    """
    if not 0 < false_alarms < 0.5:
        raise InputError(f"false_alarms must be above 0 and below 0.5, not {false_alarms}; 0.001 is usual")
    bundle = Path(bundle)
    contract = checked_contract(bundle)
    reference = read_reference(bundle, contract)
    received = read_received(Path(features), contract)
    if len(received.levels) < LEAST:
        raise InputError(f"{features} holds {len(received.levels)} answers; a watch needs {LEAST} or more")
    known = None if canary is None else _canaries(Path(canary), contract)
    unchecked = _unchecked(contract, reference, known)
    rate = false_alarms / (CHECKS - len(unchecked))
    return WatchReport(
        bundle=bundle_hash(bundle),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        answers=len(received.levels),
        canaries=0 if known is None else len(known.levels),
        false_alarms=false_alarms,
        checks=_checks(contract, reference, received, known, rate, unchecked),
        unchecked=unchecked,
    )


def _canaries(path: Path, contract: Contract) -> Received:
    known = read_received(path, contract)
    if contract.noise is not None and len(set(known.names)) == len(known.names):
        raise InputError(
            f"{path} holds {len(known.names)} answers, no two of which are for one canary; give two or more for each, "
            "in one file of messages or under one name"
        )
    return known


def _unchecked(contract: Contract, reference: Reference, known: Received | None) -> dict[str, str]:
    """Say which checks cannot be made, and why."""
    found = {}
    if contract.noise is None:
        found = dict.fromkeys(("duplicates", "noise", "shared noise"), NOISELESS)
    elif known is None:
        found = dict.fromkeys(("noise", "shared noise"), "no canaries were given")
    elif contract.numbers < 3:
        found = {"shared noise": "noises of fewer than 3 numbers are often alike"}
    if known is None:
        found["linkage"] = "no canaries were given"
    elif reference.alike is None:
        found["linkage"] = f"fewer than {LEAST_PEOPLE} people of the reference have several pictures"
    elif _people(known) < LEAST_PEOPLE:
        found["linkage"] = (
            f"{_people(known)} canary people have several pictures, and {LEAST_PEOPLE} are needed; name canaries "
            "PERSON/PICTURE"
        )
    return found


def _people(known: Received) -> int:
    """Count the canary people with several pictures."""
    if known.people is None:
        return 0
    pairs = np.unique(np.stack([known.people, known.pictures]), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def _checks(
    contract: Contract,
    reference: Reference,
    received: Received,
    known: Received | None,
    rate: float,
    unchecked: dict[str, str],
) -> list[Check]:
    vectors = contract.quantisation.values(received.levels)
    checks = drift(reference, means_of(reference, vectors), len(vectors), rate)
    if "duplicates" not in unchecked:
        checks.append(duplicates(reference, vectors, rate))
    if known is None:
        return checks
    answers, pictures = contract.quantisation.values(known.levels), known.pictures
    if contract.noise is not None:
        checks.append(noise(reference, contract.noise.deviation, answers, pictures, rate))
    if "shared noise" not in unchecked:
        checks.append(shared(answers, pictures, rate))
    if "linkage" not in unchecked and reference.alike is not None and known.people is not None:
        found = alike(reference.white(answers), pictures, known.people)
        checks.append(linkage(reference.alike, found, rate))
    return checks
