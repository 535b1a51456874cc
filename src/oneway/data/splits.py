"""Division of images into private, public, validation and test, with no person in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.errors import InputError, unknown

Split = Literal["private", "public", "validation", "test"]
SPLITS: tuple[Split, ...] = ("private", "public", "validation", "test")
VALIDATION, TEST = 0.1, 0.2
"""Shares of the people, where a dataset has no split of its own."""
Division = Literal["shuffle", "hash"]
"""How people are divided: in a shuffled row, so that the shares are exact, or each by a hash of the name alone."""


def people(identities: Sequence[str] | pa.ChunkedArray | None, count: int) -> NDArray[np.int64]:
    """Number the people: equal codes for images of one person, (count,), in 0..people-1.

    Known people come first in the order of their names; an image of an unknown person ("") counts as its
    own person, as does every image when `identities` is None.
    """
    if identities is None:
        return np.arange(count, dtype=np.int64)
    column = (
        identities.combine_chunks() if isinstance(identities, pa.ChunkedArray) else pa.array(identities, pa.string())
    )
    encoded = column.dictionary_encode()  # no object of Python's for each image
    names, places = np.unique(np.array(encoded.dictionary.to_pylist(), dtype=np.str_), return_inverse=True)
    codes: NDArray[np.int64] = places.astype(np.int64)[encoded.indices.to_numpy()]
    if len(names) and names[0] == "":
        alone = codes == 0
        codes -= 1
        codes[alone] = len(names) - 1 + np.arange(np.count_nonzero(alone))
    return codes


def assign(
    identities: Sequence[str] | None,
    partition: Sequence[str] | None,
    *,
    count: int,
    public: float = 0.5,
    seed: int = 0,
    division: Division = "shuffle",
    names: Sequence[str] = (),
) -> NDArray[np.int8]:
    """Give every image its split, as codes into `SPLITS`, (count,).

    With a `partition`, the people of its "train" are divided by person so that a fraction `public` of them is
    public and the rest private, after a tenth for validation where it has none; its other entries are kept. Without
    one, all people are shuffled and divided: the fractions `VALIDATION` and `TEST` of them first, `public` of the
    rest then. Equal input and seed give equal splits. With `division` "hash" a person's split depends on the seed
    and the person's name alone (of an unknown person, on the image's in `names`), so that parts of a dataset that
    are prepared apart, or later, agree without a table of all people; the fractions then hold on average. Raise
    `InputError` for a fraction outside its range or when a split stays empty.
    """
    if not 0 < public < 1:
        raise InputError(f"public: the fraction of public people must lie between 0 and 1, both excluded, got {public}")
    generator = np.random.default_rng(seed)
    persons = people(identities, count)
    if division == "hash":
        codes = _hashed(identities, partition, names, public=public, seed=seed)
        _check_filled(codes, persons, divided=partition is None)
        return codes
    codes = np.empty(count, dtype=np.int8)
    if partition is None:
        shuffled = generator.permutation(int(persons.max()) + 1)
        held_validation = _portion(VALIDATION, len(shuffled))
        held_test = _portion(TEST, len(shuffled))
        rest = shuffled[held_validation + held_test :]
        of_person = np.zeros(len(shuffled), dtype=np.int8)
        of_person[shuffled[:held_validation]] = SPLITS.index("validation")
        of_person[shuffled[held_validation : held_validation + held_test]] = SPLITS.index("test")
        of_person[rest[: _portion(public, len(rest))]] = SPLITS.index("public")
        codes[:] = of_person[persons]
    else:
        parts = np.asarray(partition, dtype=np.str_)
        # Many datasets are given as train and test alone.
        lacking = "validation" not in parts
        for part in np.unique(parts):
            if part == "train":
                chosen = parts == part
                members, member_of = np.unique(persons[chosen], return_inverse=True)
                of_member = np.zeros(len(members), dtype=np.int8)
                shuffled = generator.permutation(len(members))
                held = _portion(VALIDATION, len(members)) if lacking else 0
                of_member[shuffled[:held]] = SPLITS.index("validation")
                rest = shuffled[held:]
                of_member[rest[: _portion(public, len(rest))]] = SPLITS.index("public")
                codes[chosen] = of_member[member_of]
            elif part in SPLITS:
                codes[parts == part] = SPLITS.index(part)
            else:
                raise unknown("split", str(part), ("train", *SPLITS))
    _check_filled(codes, persons, divided=partition is None)
    return codes


def _hashed(
    identities: Sequence[str] | None,
    partition: Sequence[str] | None,
    names: Sequence[str],
    *,
    public: float,
    seed: int,
) -> NDArray[np.int8]:
    """Give the splits of which each depends on one person's name."""
    persons = names if identities is None else [who or name for who, name in zip(identities, names, strict=True)]
    places = np.array([_place(seed, person) for person in persons])
    codes = np.full(len(persons), SPLITS.index("private"), dtype=np.int8)
    lacking = partition is None or "validation" not in partition
    held = (VALIDATION if lacking else 0.0) + (TEST if partition is None else 0.0)
    codes[places < held + public * (1 - held)] = SPLITS.index("public")
    if partition is None:
        codes[places < held] = SPLITS.index("test")
    if lacking:
        codes[places < VALIDATION] = SPLITS.index("validation")
    if partition is None:
        return codes
    parts = np.asarray(partition, dtype=np.str_)
    for part in np.unique(parts):
        if part in SPLITS:
            codes[parts == part] = SPLITS.index(part)
        elif part != "train":
            raise unknown("split", str(part), ("train", *SPLITS))
    return codes


def _place(seed: int, person: str) -> float:
    """Give a person a place in 0..1 that is theirs for ever."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{person}".encode()).digest()[:8], "big") / 2**64


def check(identities: Sequence[str] | None, splits: NDArray[np.int8], names: Sequence[str]) -> None:
    """Raise `InputError` if a known person has images in two splits; name the person and two such images."""
    if identities is None:
        return
    persons = people(identities, len(splits))
    first = np.full(int(persons.max()) + 1, len(SPLITS), dtype=np.int8)
    last = np.full(len(first), -1, dtype=np.int8)
    np.minimum.at(first, persons, splits)
    np.maximum.at(last, persons, splits)
    torn = np.flatnonzero(first < last)
    if not len(torn):
        return
    person = torn[0]
    one = int(np.flatnonzero((persons == person) & (splits == first[person]))[0])
    other = int(np.flatnonzero((persons == person) & (splits == last[person]))[0])
    more = f" ({len(torn)} people in all)" if len(torn) > 1 else ""
    raise InputError(
        f"person {identities[one]!r} is in two splits, {SPLITS[splits[one]]} ({names[one]}) and "
        f"{SPLITS[splits[other]]} ({names[other]}){more}: no person may be in two, or the audit would "
        f"measure memory; give all images of a person the same split, or leave the split out to have it made"
    )


def _portion(fraction: float, whole: int) -> int:
    return max(1, round(fraction * whole))


def _check_filled(codes: NDArray[np.int8], persons: NDArray[np.int64], *, divided: bool) -> None:
    empty = [split for code, split in enumerate(SPLITS) if not np.any(codes == code)]
    if not empty:
        return
    num_people = len(np.unique(persons))
    people = "1 person is" if num_people == 1 else f"{num_people} people are"
    way = (
        "at least four people are needed, and fractions that leave some for each"
        if divided
        else "the official split must hold test and at least two people of train, three where it has no validation"
    )
    raise InputError(f"no person is left for {', '.join(empty)}: {people} too few or ill divided; {way}")
