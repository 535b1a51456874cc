"""The bound lies below what there is to know, near it where a critic can find it, and never above log2 n."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import nn

import oneway
from oneway.attacks.access import Access, BlackBox, FeatureDump
from oneway.attacks.fit import Place
from oneway.attacks.information import Critic, InformationConfig, learn, new_critic, score
from oneway.errors import InputError
from oneway.metrics.information import ceiling, info_nce
from oneway.models.head import Head
from oneway.runtime import launch

pytestmark = pytest.mark.whole

CPU = torch.device("cpu")
NUMBERS = 12
COUNTS = {"private": 0, "public": 6000, "validation": 800, "test": 1000}
GAUSSIAN = InformationConfig(width=16, outputs=32, learning_rate=2e-3, check_every=100, max_steps=500)
QUICK = InformationConfig(width=8, outputs=16, batch_size=32, check_every=20, max_steps=60)
Floats = NDArray[np.float64]


@pytest.fixture
def place(runtime: oneway.RuntimeConfig, tmp_path: Path) -> Place:
    return Place(
        fabric=launch(runtime), checkpoint=tmp_path / "checkpoint", checkpoint_seconds=math.inf, progress=False
    )


def gaussian_pairs(correlation: float) -> tuple[oneway.Pack, Access, float]:
    """Pictures of 2 x 2 pixels that are 12 Gaussian numbers, features correlated with them, and the bits they share.

    Bytes in steps of a thirty-second of the deviation lose about a thousandth of a bit.
    """
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sum(COUNTS.values()), NUMBERS))
    z = correlation * x + math.sqrt(1 - correlation**2) * rng.normal(size=x.shape)
    pack = oneway.Pack(
        path=Path("gaussian"),
        layout="folder",
        size=2,
        attributes=(),
        landmarks=None,
        hash="",
        counts=COUNTS,
        pixels=np.clip(np.round(128 + 32 * x), 0, 255).astype(np.uint8).reshape(-1, 2, 2, 3),
    )
    parts = (pack.public, pack.validation, pack.test)
    access = FeatureDump({part.split: z[part.rows].astype(np.float32) for part in parts}, CPU)
    return pack, access, -NUMBERS / 2 * math.log2(1 - correlation**2)


def bits(access: Access, pack: oneway.Pack, critic: Critic, config: InformationConfig, place: Place) -> float:
    """Learn, and give the bound for the test people."""
    fitted = learn(access, pack.public, pack.validation, critic, config, place)
    return float(info_nce(score(access, fitted.network, pack.test, slice(None), place)).mean())


def test_it_is_the_cross_entropy_of_the_right_pair_below_log2_n() -> None:
    scores = np.random.default_rng(0).normal(size=(9, 9)) * 3
    expected = [math.log2(9) + log_softmax(row)[place] / math.log(2) for place, row in enumerate(scores)]
    np.testing.assert_allclose(info_nce(scores), expected)


def test_a_case_by_hand() -> None:
    scores = np.log(np.array([[3.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_allclose(info_nce(scores), [1 + math.log2(3 / 4), 0.0])


@settings(deadline=None)
@given(arrays(np.float64, (7, 7), elements=st.floats(-1e4, 1e4, allow_subnormal=False)))
def test_no_critic_shows_more_than_log2_n(scores: Floats) -> None:
    assert (info_nce(scores) <= ceiling(7)).all()
    assert np.isfinite(info_nce(scores)).all()


def test_a_critic_who_knows_every_pair_shows_log2_n_and_one_who_knows_none_shows_0() -> None:
    np.testing.assert_allclose(info_nce(1000 * np.eye(16)), ceiling(16))
    np.testing.assert_allclose(info_nce(np.eye(16)), 4 - math.log2((math.e + 15) / math.e))
    np.testing.assert_allclose(info_nce(np.full((16, 16), 3.0)), 0, atol=1e-12)
    assert (info_nce(-10 * np.eye(16)) < 0).all()
    assert ceiling(16) == 4


def test_what_a_critic_thinks_of_a_picture_alone_and_the_order_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    scores, order = rng.normal(size=(12, 12)), rng.permutation(12)
    np.testing.assert_allclose(info_nce(scores + rng.normal(size=(12, 1)) * 50), info_nce(scores), atol=1e-9)
    np.testing.assert_allclose(info_nce(scores[np.ix_(order, order)]), info_nce(scores)[order])


@pytest.mark.parametrize("correlation", [0.3, 0.6])
def test_the_true_density_ratio_shows_all_there_is(correlation: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 4))
    z = correlation * x + math.sqrt(1 - correlation**2) * rng.normal(size=x.shape)
    distance = ((z[None] - correlation * x[:, None]) ** 2).sum(axis=2)
    scores = -distance / (2 * (1 - correlation**2)) + (z**2).sum(axis=1) / 2
    assert info_nce(scores).mean() == pytest.approx(-2 * math.log2(1 - correlation**2), abs=0.1)


@pytest.mark.parametrize("correlation", [0.35, 0.6])
def test_a_learned_critic_finds_most_of_what_gaussian_pairs_share_and_no_more(correlation: float, place: Place) -> None:
    pack, access, known = gaussian_pairs(correlation)
    assert known < ceiling(COUNTS["test"]) / 2
    found = bits(access, pack, new_critic(access.shape, 2, GAUSSIAN), GAUSSIAN, place)
    assert 0.7 * known < found < known + 0.1


def test_a_learned_critic_finds_nothing_where_there_is_nothing(place: Place) -> None:
    pack, access, known = gaussian_pairs(0.0)
    found = bits(access, pack, new_critic(access.shape, 2, GAUSSIAN), GAUSSIAN, place)
    assert known == 0
    assert -0.1 < found < 0.05


def test_a_critic_of_ones_own_is_bound_by_what_it_can_see(place: Place) -> None:
    class Some(nn.Module):
        """Looks at a third of the numbers."""

        def __init__(self) -> None:
            super().__init__()
            self.head = Head((4,), 32, width=16)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return self.head(pictures.flatten(1)[:, ::3])  # type: ignore[no-any-return]

    pack, access, known = gaussian_pairs(0.6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        critic = Critic(access.shape, Some(), Head(access.shape, 32, width=16))
    found = bits(access, pack, critic, GAUSSIAN, place)
    assert 0.6 * known / 3 < found < known / 3 + 0.1


def test_features_of_faces_tell_whose_they_are_and_a_resumed_critic_is_the_same_to_the_bit(
    early: oneway.Run, pack: oneway.Pack, place: Place
) -> None:
    access = BlackBox(early.load().encoder, place.fabric, pack.size)

    def make(config: InformationConfig, place: Place) -> Critic:
        critic = new_critic(access.shape, pack.size, config)
        return learn(access, pack.public, pack.validation, critic, config, place).network

    first, kept = make(QUICK, place), replace(place, checkpoint_seconds=0)
    make(replace(QUICK, max_steps=40), kept)
    resumed = make(QUICK, kept)
    ours, theirs = first.state_dict(), resumed.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []

    scores = score(access, first, pack.test, slice(None), place)
    assert scores.shape == (len(pack.test), len(pack.test))
    assert 1 < info_nce(scores).mean() < ceiling(len(scores))

    rows, before = np.array([7, 3, 11]), access.queries
    some = score(access, first, pack.test, rows, place)
    assert access.queries == before + 3
    np.testing.assert_allclose(some, scores[np.ix_(rows, rows)], atol=1e-3)  # a score is a pair's own


@pytest.mark.parametrize(
    ("field", "value"), [("width", 0), ("outputs", 0), ("batch_size", 1), ("learning_rate", 0.0), ("seed", -1)]
)
def test_a_field_that_cannot_be_is_named(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{field}.*{value}"):
        InformationConfig(**{field: value})  # type: ignore[arg-type]
