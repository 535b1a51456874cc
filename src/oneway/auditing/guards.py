"""Guards: when an audit refuses to print a number, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import nn

from oneway.attacks.access import Access
from oneway.data.batches import load
from oneway.data.duplicates import Duplicates
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.judges.blindness import LEAST_ACCEPTED
from oneway.judges.judge import FALSE_ACCEPT_RATE
from oneway.judges.vectors import vectors_of
from oneway.judges.verifier import Verifier, of_pictures
from oneway.metrics.identity import similarity
from oneway.models import batch_invariance
from oneway.report.judging import JudgeReport
from oneway.report.values import Guard

LEAST_PEOPLE = 50
"""Test people below which an interval over people says too little."""
DOUBLED = 0.01
"""Share of test pictures with an equal in another part above which a verdict cannot be `low`."""
SAMPLE = 256
ASKED_OF_JUDGES, ALIKE = 8, 0.99
"""Public pictures of which two judges' features are compared, and the mean cosine above which they are one network."""


def check_people(pack: Pack, *, judged: bool = True) -> list[Guard]:
    """Refuse a pack whose attacker would be tested on people it was trained on, or on too few.

    Args:
        pack: the people.
        judged: whether a verdict is to be had; one attacker alone may be tried on fewer, which is marked.

    Raises:
        InputError: naming the person or the number.

    """
    disjoint = check_disjoint(pack)
    num_people = pack.test.num_people
    if num_people < LEAST_PEOPLE and judged:
        raise InputError(
            f"{pack.path} has {num_people} test people and an audit needs {LEAST_PEOPLE}: fewer give intervals that "
            "say nothing; prepare more people"
        )
    enough = _passed("test people", f"{num_people} test people, at least {LEAST_PEOPLE}")
    if num_people < LEAST_PEOPLE:
        message = f"{num_people} test people: fewer than {LEAST_PEOPLE} give intervals that say little"
        enough = Guard(name="test people", passed=False, message=message)
    if pack.test.num_unknown:
        name = "test pictures" if pack.test.num_unknown == len(pack.test) else "test people"
        message = (
            f"{pack.test.num_unknown} of {len(pack.test)} test pictures do not say to which group they belong and "
            f"count as one each: if there are fewer than {num_people} groups in all, every interval is too narrow"
        )
        enough = Guard(name=name, passed=None, message=message)
    return [*disjoint, enough]


def check_disjoint(pack: Pack) -> list[Guard]:
    """Refuse a pack that has a person in two parts, and say where nobody can know that none is.

    Raises:
        InputError: naming the person.

    """
    parts = {"public": pack.public, "validation": pack.validation, "test": pack.test}
    for first, second in (("public", "test"), ("public", "validation"), ("validation", "test")):
        shared = np.intersect1d(parts[first].identities, parts[second].identities)
        if len(shared):
            name = pack.table.column("identity")[int(np.flatnonzero(pack.people == shared[0])[0])].as_py()
            raise InputError(
                f"{pack.path}: person {name!r} is both {first} and {second} ({len(shared)} people in all), so an audit "
                "would measure memory; prepare the pack again, with its identities"
            )
    if (unsure := _unsure(pack)) is not None:
        return [Guard(name="groups", passed=None, message=unsure)]
    return [_passed("people", "no person is in two of the public, validation and test parts")]


def check_pictures(found: Duplicates) -> list[Guard]:
    """Mark a pack that has equal or nearly equal pictures in two parts, and name none: an audit is handed on."""
    return [Guard(name="pictures", passed=not found.examples, message=found.said(named=False))]


def doubts(pack: Pack, found: Duplicates) -> list[str]:
    """Say what of a pack makes its figures say less than they seem to, so that no verdict is `low`."""
    share = found.pictures["test"] / len(pack.test)
    doubled = f"{share:.1%} of the test pictures are in another part as well, equal or nearly so"
    unsure = _unsure(pack)
    linked = {
        "test": "what links them to photographs rests on these",
        "validation": "the way of linking stolen features to photographs is chosen by these",
    }
    few = []
    for part in (pack.test, pack.validation):
        people, counts = np.unique(part.identities, return_counts=True)
        if 0 < (twice := int((counts > 1).sum())) < LEAST_PEOPLE:
            told = f"only {twice} of {len(people)} {part.split} people have two pictures or more, and"
            few.append(f"{told} {linked[part.split]}: fewer than {LEAST_PEOPLE}")
    return [*([] if unsure is None else [unsure]), *([doubled] if share > DOUBLED else []), *few]


def _unsure(pack: Pack) -> str | None:
    """Say why nobody can tell whether a person is in two parts, where that is so."""
    apart = "one is in two parts, which encoder and attackers may then know from their training"
    number, unknown = len(pack.pixels), pack.num_unknown()
    if unknown:
        return (
            f"{unknown} of {number} pictures do not say to which group they belong, so nobody can tell whether {apart}"
        )
    if len(np.unique(pack.people)) == number:
        return f"no two of {number} pictures are said to be of one group, so nobody can tell whether {apart}"
    return None


def check_features(access: Access, pack: Pack) -> list[Guard]:
    """Refuse features that are not finite or the same for every picture.

    Raises:
        InputError: saying which.

    """
    sample = np.sort(np.random.default_rng(0).permutation(len(pack.public))[:SAMPLE])
    features = access.features(pack.public, sample).flatten(1)
    if not bool(features.isfinite().all()):
        raise InputError("the encoder's features are not finite for some public pictures; mend the encoder")
    if not bool((features != features[:1]).any()):
        raise InputError(
            f"the encoder gives the same features for all of {len(sample)} public pictures; this is no encoder, or its "
            "input is wrong (its range of pixels, say), so nothing is measured"
        )
    return [_passed("features", f"finite, and they vary over {len(sample)} public pictures")]


def check_company(encoder: nn.Module | None, pack: Pack, device: torch.device) -> list[Guard]:
    """Refuse an encoder whose answer for a picture depends on the pictures beside it; stored features cannot be asked.

    Raises:
        InputError: saying what differs.

    """
    if encoder is None:
        return []
    batch_invariance.check_company(encoder, pack.public, device)
    asked = batch_invariance.ASKED
    return [_passed("company", f"{asked} public pictures have the same features alone and in any company")]


def check_range(kind: str, pixels: str | None) -> list[Guard]:
    """Say which range of pixels the victim is given."""
    told = {
        "onnx": f"declared: {pixels}",
        "bundle": "bytes, as its contract says",
        "features": "not needed: stored features only",
        "run": "0..1, as it was trained",
        "module": "0..1, the convention for modules",
    }[kind]
    return [_passed("range of pixels", told)]


def check_convergence(late: Sequence[str]) -> list[Guard]:
    """Mark trained attackers of whatever attack that the budget ended; their figures are printed, marked."""
    if late:
        message = f"{', '.join(late)}: ended by the budget, not by convergence, so a longer attack may get more"
        return [Guard(name="convergence", passed=False, message=message)]
    return [_passed("convergence", "every trained attacker ended by convergence")]


def check_distinct(verifiers: Sequence[Verifier], pack: Pack) -> None:
    """Refuse two judges that are one network: neither is independent of attackers who trained with the other.

    They are told by their fingerprints, and by their features of a few public pictures, since a copy may be exported
    anew, and a file be called anything.

    Raises:
        InputError: naming both.

    """
    if len(verifiers) < 2:
        return
    kinds = {of_pictures(verifier): verifier.name for verifier in verifiers}
    if len(kinds) > 1:
        raise InputError(
            f"the verifier {kinds[True]!r} tells pictures apart and {kinds[False]!r} people, so the worst of both "
            "would be of neither; give judges of one kind, and audit by the others in another folder"
        )
    few = slice(0, ASKED_OF_JUDGES)
    pictures, places = load(pack.public, few), pack.public.landmarks(few)
    seen = [(verifier, vectors_of(verifier, pictures, places)) for verifier in verifiers]
    for (one, first), (other, second) in combinations(seen, 2):
        copied = one.fingerprint is not None and one.fingerprint == other.fingerprint
        if copied or (first.shape == second.shape and similarity(first, second).mean() > ALIKE):
            raise InputError(
                f"the verifiers {one.name!r} and {other.name!r} are one network, which gives the same features under "
                "both names, so neither could judge attackers who trained with the other; give each network once"
            )


def check_judges(judges: Sequence[JudgeReport]) -> list[Guard]:
    """Mark verifiers that cannot tell who is shown, or of which that cannot be said, and that are not independent."""
    if not judges:
        message = "there is no verifier, so whether anything is recognised is unknown; give one (docs/judges.md)"
        return [Guard(name="judge", passed=None, message=message)]
    checked = [_check_judge(judge) for judge in judges]
    if all(judge.trained_with and judge.independent is None for judge in judges):
        message = (
            "attackers trained with every judge, so what these see of drawings is an upper bound; give a further "
            "--verifier, which no attacker trains with"
        )
        checked.append(Guard(name="independent judge", passed=None, message=message))
    return checked


def _check_judge(judge: JudgeReport) -> Guard:
    if judge.blind is not None:
        drawn = "pictures" if judge.of_pictures else "faces"
        message = (
            f"the verifier {judge.name} cannot tell {judge.told_apart}: {judge.blind}; so leakage of {drawn} and of "
            "features is refused: judge with a better verifier, or state how this one takes pictures (docs/judges.md)"
        )
        return Guard(name="judge", passed=False, message=message)
    for each in [] if judge.pictures is None or judge.true_accept_rate is not None else judge.pictures.recognised:
        rate = each.true_accept_rate
        if rate is not None and rate.high < LEAST_ACCEPTED:
            message = (
                f"the verifier {judge.name} accepts {rate} of real pairs of one person at a false accept rate of "
                f"{each.false_accept_rate:g}, and people are too few for {FALSE_ACCEPT_RATE:g}: it hardly tells who is "
                "shown, so what it sees says little; judge with a better verifier, or state how this one takes pictures"
            )
            return Guard(name="judge", passed=False, message=message)
    if judge.true_accept_rate is None:
        those = "pictures" if judge.of_pictures else "people"
        message = f"how well the verifier {judge.name} tells {those} apart is unknown: there are too few to say"
        return Guard(name="judge", passed=None, message=message)
    told = f"accepts {judge.true_accept_rate} of real pairs at a false accept rate of 1e-3"
    if judge.of_pictures:
        told = f"accepts {judge.true_accept_rate} of slightly changed pictures at a false accept rate of 1e-3"
        told += f", and finds the original first of {judge.found_first}"
    return _passed("judge", f"{judge.name} {told}")


def _passed(name: str, message: str) -> Guard:
    return Guard(name=name, passed=True, message=message)
