"""The white-box attack finds pictures by their features alone, each for itself, and the same ones every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import oneway
from oneway.attacks.access import WhiteBox
from oneway.attacks.optimisation import (
    FALL,
    OptimisationConfig,
    mismatch,
    optimise,
    total_variation,
    victims,
)
from oneway.data.batches import load, mean_picture
from oneway.errors import InputError
from oneway.metrics.image import mse

pytestmark = pytest.mark.whole

CPU = torch.device("cpu")
QUICK = OptimisationConfig(steps=100, num_pictures=8)


@pytest.fixture(scope="module")
def access(early: oneway.Run) -> WhiteBox:
    return WhiteBox(early.load().encoder, CPU)


@pytest.fixture(scope="module")
def scale(access: WhiteBox, pack: oneway.Pack) -> Tensor:
    with torch.no_grad():
        return access(load(pack.public, slice(0, 100))).var(dim=(0, 2, 3), keepdim=True)


@pytest.fixture(scope="module")
def start(pack: oneway.Pack) -> Tensor:
    return mean_picture(pack.public, CPU)


@pytest.fixture(scope="module")
def pictures(pack: oneway.Pack) -> Tensor:
    return load(pack.validation, victims(pack.validation, QUICK))


@pytest.fixture(scope="module")
def stolen(access: WhiteBox, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        return access(pictures)


@pytest.fixture(scope="module")
def found(access: WhiteBox, stolen: Tensor, start: Tensor, scale: Tensor) -> Tensor:
    return optimise(access, stolen, start, scale, QUICK, progress=False)


def test_it_beats_the_mean_picture_by_far(found: Tensor, pictures: Tensor, start: Tensor) -> None:
    floor = mse(start.expand_as(pictures), pictures)
    assert (mse(found, pictures) < floor).all()
    assert mse(found, pictures).mean() < 0.2 * floor.mean()


def test_the_objective_falls_for_every_picture(
    access: WhiteBox, found: Tensor, stolen: Tensor, start: Tensor, scale: Tensor
) -> None:
    def objective(pictures: Tensor) -> Tensor:
        weight = QUICK.total_variation * FALL
        with torch.no_grad():
            return mismatch(access(pictures), stolen, scale) + weight * total_variation(pictures)

    before, after = objective(start.expand_as(found)), objective(found)
    assert (after < 0.2 * before).all()


def test_more_steps_find_a_better_picture(
    access: WhiteBox, found: Tensor, pictures: Tensor, stolen: Tensor, start: Tensor, scale: Tensor
) -> None:
    hasty = optimise(access, stolen, start, scale, OptimisationConfig(steps=10), progress=False)
    assert mse(found, pictures).mean() < mse(hasty, pictures).mean() < mse(start.expand_as(found), pictures).mean()


def test_the_same_search_finds_the_same_to_the_bit_and_no_picture_depends_on_another(
    access: WhiteBox, stolen: Tensor, start: Tensor, scale: Tensor
) -> None:
    config = OptimisationConfig(steps=15)
    first, again = (optimise(access, stolen, start, scale, config, progress=False) for _ in range(2))
    alone = optimise(access, stolen[2:4], start, scale, config, progress=False)
    assert torch.equal(first, again)
    torch.testing.assert_close(first[2:4], alone, rtol=0, atol=1e-3)


def test_what_is_found_are_pictures_and_the_encoder_is_left_as_it_was(
    access: WhiteBox, found: Tensor, stolen: Tensor, pictures: Tensor
) -> None:
    assert found.shape == pictures.shape
    assert 0 <= found.min() <= found.max() <= 1
    assert not found.requires_grad
    assert torch.equal(access(pictures), stolen)


def test_a_start_of_ones_own_is_kept_where_it_is_right(
    access: WhiteBox, pictures: Tensor, stolen: Tensor, scale: Tensor
) -> None:
    config = OptimisationConfig(steps=5, total_variation=0)
    kept = optimise(access, stolen, pictures.clamp(0.01, 0.99), scale, config, progress=False)
    assert mse(kept, pictures).max() < 0.01


def test_mismatch_is_the_mean_square_in_units_of_the_deviation() -> None:
    rng = np.random.default_rng(0)
    ours, theirs, scale = rng.normal(size=(4, 5, 2, 2)), rng.normal(size=(4, 5, 2, 2)), rng.uniform(1, 3, (1, 5, 1, 1))
    expected = [np.mean(((a - b) / np.sqrt(scale[0])) ** 2) for a, b in zip(ours, theirs, strict=True)]
    measured = mismatch(*(torch.from_numpy(array) for array in (ours, theirs, scale)))
    np.testing.assert_allclose(measured.numpy(), expected)


def test_mismatch_is_0_for_equals_and_does_not_change_with_the_units_of_a_channel() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2))
    scale, units = torch.rand(1, 4, 1, 1, generator=generator) + 0.1, torch.tensor([1e-3, 1.0, 7.0, 1e3]).view(4, 1, 1)
    assert mismatch(ours, ours, scale).tolist() == [0.0] * 3
    torch.testing.assert_close(
        mismatch(units * ours, units * theirs, units.square() * scale), mismatch(ours, theirs, scale)
    )


def test_a_number_that_never_varies_does_not_count() -> None:
    ours, theirs = torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, -5.0]])
    assert mismatch(ours, theirs, torch.tensor([[4.0, 0.0]])).tolist() == [0.5]


def test_total_variation_is_its_sum_by_loops() -> None:
    pictures = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for picture, measured in zip(pictures.numpy(), total_variation(pictures), strict=True):
        total = 0.0
        for channel in picture:
            for row in range(5):
                for column in range(6):
                    total += (channel[row, column] - channel[row + 1, column]) ** 2 if row < 4 else 0
                    total += (channel[row, column] - channel[row, column + 1]) ** 2 if column < 5 else 0
        assert float(measured) == pytest.approx(total / 90)


def test_total_variation_is_0_for_flat_pictures_and_blind_to_brightness_and_sign() -> None:
    pictures = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert total_variation(torch.full((2, 3, 8, 8), 0.3)).tolist() == [0.0, 0.0]
    torch.testing.assert_close(total_variation(0.2 - pictures), total_variation(pictures))
    torch.testing.assert_close(total_variation(2 * pictures), 4 * total_variation(pictures))


def test_victims_are_different_people_drawn_by_the_seed(pack: oneway.Pack) -> None:
    part = pack.validation
    chosen = victims(part, OptimisationConfig(num_pictures=6))
    assert len(chosen) == len(np.unique(part.identities[chosen])) == 6
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, victims(part, OptimisationConfig(num_pictures=6)))
    assert not np.array_equal(chosen, victims(part, OptimisationConfig(num_pictures=6, seed=1)))
    assert len(victims(part, OptimisationConfig(num_pictures=1000))) == part.num_people


@pytest.mark.parametrize("field", ["steps", "learning_rate", "num_pictures", "total_variation", "seed"])
def test_a_field_that_cannot_be_is_named(field: str) -> None:
    with pytest.raises(InputError, match=f"{field}.*-1"):
        OptimisationConfig(**{field: -1})
