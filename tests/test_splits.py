from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneway.data.splits import SPLITS, assign, check, people
from oneway.errors import InputError

COUNTS = st.lists(st.integers(1, 4), min_size=20, max_size=120)
FRACTIONS = st.floats(0.1, 0.9)
SEEDS = st.integers(0, 2**32)


def identities_of(counts: list[int], seed: int) -> list[str]:
    """Make people with these numbers of images, in a mixed order; the first two are unknown."""
    images = [f"p{person}" if person > 1 else "" for person, count in enumerate(counts) for _ in range(count)]
    return [images[place] for place in np.random.default_rng(seed).permutation(len(images))]


def shares(splits: np.ndarray, persons: np.ndarray) -> dict[str, float]:
    total = len(np.unique(persons))
    return {split: len(np.unique(persons[splits == code])) / total for code, split in enumerate(SPLITS)}


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, public=FRACTIONS, seed=SEEDS)
def test_without_a_partition(counts: list[int], public: float, seed: int) -> None:
    identities = identities_of(counts, seed)
    splits = assign(identities, None, count=len(identities), public=public, seed=seed)
    assert splits.shape == (len(identities),)
    assert set(splits.tolist()) == {0, 1, 2, 3}
    check(identities, splits, identities)
    persons = people(identities, len(identities))
    assert all(len(set(splits[persons == person])) == 1 for person in np.unique(persons))
    assert np.array_equal(splits, assign(identities, None, count=len(identities), public=public, seed=seed))
    found, slack = shares(splits, persons), 1.5 / len(np.unique(persons))
    assert found["validation"] == pytest.approx(0.1, abs=slack)
    assert found["test"] == pytest.approx(0.2, abs=slack)
    assert found["public"] == pytest.approx(0.7 * public, abs=3 * slack)


@settings(max_examples=60, deadline=None)
@given(counts=COUNTS, public=FRACTIONS, seed=SEEDS)
def test_with_a_partition(counts: list[int], public: float, seed: int) -> None:
    identities = identities_of(counts, seed)
    persons = people(identities, len(identities))
    partition = np.array(["train", "train", "train", "validation", "test"])[persons % 5].tolist()
    splits = assign(identities, partition, count=len(identities), public=public, seed=seed)
    check(identities, splits, identities)
    named = np.array(SPLITS)[splits]
    for part in ("validation", "test"):
        assert np.array_equal(named == part, np.array(partition) == part)
    train = np.array(partition) == "train"
    members = len(np.unique(persons[train]))
    num_public = len(np.unique(persons[named == "public"]))
    assert abs(num_public - public * members) <= 1
    assert np.array_equal(splits, assign(identities, partition, count=len(identities), public=public, seed=seed))


def test_the_seed_matters_and_the_order_of_images_does_not() -> None:
    identities = [f"p{index % 50}" for index in range(200)]
    splits = assign(identities, None, count=200, seed=1)
    assert not np.array_equal(splits, assign(identities, None, count=200, seed=2))
    assert np.array_equal(splits[::-1], assign(identities[::-1], None, count=200, seed=1))


def test_unknown_people_stand_alone() -> None:
    assert people(["b", "", "a", "", "b"], 5).tolist() == [1, 2, 0, 3, 1]
    assert people(["", ""], 2).tolist() == [0, 1]
    assert people(["b", "a"], 2).tolist() == [1, 0]
    assert people(None, 3).tolist() == [0, 1, 2]
    splits = assign(None, None, count=10)
    assert np.bincount(splits).tolist() == [3, 4, 1, 2]
    check(None, splits, [str(index) for index in range(10)])


def test_a_hash_divides_everyone_alike_whoever_else_is_there() -> None:
    identities = [f"p{index % 700}" for index in range(1400)]
    whole = assign(identities, None, count=1400, seed=3, division="hash", names=identities)
    shards = [identities[start::7] for start in range(7)]
    parts = [assign(shard, None, count=200, seed=3, division="hash", names=shard) for shard in shards]
    for start, part in enumerate(parts):
        assert np.array_equal(part, whole[start::7])
    check(identities, whole, identities)
    shares = np.bincount(whole) / len(whole)
    np.testing.assert_allclose(shares, [0.35, 0.35, 0.1, 0.2], atol=4 * (0.25 / 700) ** 0.5)
    assert not np.array_equal(whole, assign(identities, None, count=1400, seed=4, division="hash", names=identities))


@pytest.mark.parametrize(("person", "seed"), [("Ada", 0), ("Grace", 5), ("", 0)])
def test_a_hash_puts_a_person_where_the_digest_lies(person: str, seed: int) -> None:
    others = [f"p{index}" for index in range(60)]
    names = [f"{index}.jpg" for index in range(61)]
    code = assign([*others, person], None, count=61, seed=seed, division="hash", names=names, public=0.25)[-1]
    place = int(hashlib.sha256(f"{seed}/{person or '60.jpg'}".encode()).hexdigest()[:16], 16) / 16**16
    bounds = {"validation": 0.1, "test": 0.3, "public": 0.3 + 0.25 * 0.7, "private": 1.0}
    assert SPLITS[code] == next(split for split, bound in bounds.items() if place < bound)


def test_a_hash_keeps_an_official_partition() -> None:
    identities = [f"p{index}" for index in range(200)]
    partition = ["train"] * 150 + ["validation"] * 20 + ["test"] * 30
    codes = assign(identities, partition, count=200, division="hash", names=identities)
    assert [SPLITS[code] for code in codes[150:]] == partition[150:]
    assert 50 < np.count_nonzero(codes[:150] == SPLITS.index("public")) < 100
    with pytest.raises(InputError, match="split 'valid' does not exist"):
        assign(["a", "b"], ["train", "valid"], count=2, division="hash", names=["a", "b"])


def test_a_partition_may_say_private_and_public() -> None:
    partition = ["private", "public", "validation", "test", "public"]
    splits = assign(None, partition, count=5)
    assert [SPLITS[code] for code in splits] == partition


def test_a_person_in_two_parts_is_refused() -> None:
    identities = ["a", "b", "c", "d", "e", "c", ""]
    partition = ["train", "train", "test", "validation", "train", "validation", "train"]
    splits = assign(identities, partition, count=7)
    with pytest.raises(InputError) as raised:
        check(identities, splits, [f"{index}.jpg" for index in range(7)])
    message = str(raised.value)
    assert "person 'c' is in two splits, validation (5.jpg) and test (2.jpg)" in message
    assert "give all images of a person the same split" in message
    with pytest.raises(InputError, match="2 people in all"):
        check(["a", "a", "b", "b"], np.array([0, 1, 2, 3], dtype=np.int8), list("wxyz"))


@pytest.mark.parametrize("public", [0.0, 1.0, -1.0, float("nan")])
def test_fraction_public(public: float) -> None:
    with pytest.raises(InputError, match=r"public: the fraction .* between 0 and 1"):
        assign(None, None, count=9, public=public)


def test_too_few_people() -> None:
    assert sorted(assign(None, None, count=4).tolist()) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="no person is left for private: 3 people are too few"):
        assign(["a", "b", "c"] * 5, None, count=15)
    with pytest.raises(InputError, match="test: 1 person is too few or ill divided; at least four"):
        assign(["a"] * 5, None, count=5)
    with pytest.raises(InputError, match=r"left for private: .* two people of train"):
        assign(["a", "b", "c"], ["train", "validation", "test"], count=3)
    with pytest.raises(InputError, match=r"left for private: .* three where it has no validation"):
        assign(["a", "b", "c"], ["train", "train", "test"], count=3)


def test_unknown_split_offers_the_nearest() -> None:
    with pytest.raises(InputError, match="split 'valid' does not exist; did you mean 'validation'"):
        assign(None, ["train", "valid"], count=2)
