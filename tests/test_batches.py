from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from oneway.data.batches import Batches, mean_picture, to_pictures
from oneway.data.packed import Pack, Part
from oneway.data.prepare import prepare
from trees import noise_source

SIZE = 16


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    path = tmp_path_factory.mktemp("batches") / "pack"
    pack: Pack = prepare(noise_source(160), path, size=SIZE, jobs=1, progress=False)
    return pack.private


def recognised(part: Part, pictures: torch.Tensor) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Say which of the part's pictures each of a batch is, and whether it is mirrored."""
    known = part.images(slice(None))
    places = {image.tobytes(): (index, False) for index, image in enumerate(known)}
    places |= {image[:, ::-1].tobytes(): (index, True) for index, image in enumerate(known)}
    pixels = (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    found = [places[np.ascontiguousarray(image).tobytes()] for image in pixels]
    return np.array([index for index, _ in found]), np.array([mirrored for _, mirrored in found])


def test_steps_may_be_asked_for_in_any_order(part: Part) -> None:
    steps = [0, 1, 2, 11, 12, 30, 5, 29, 0, 100]
    forward = Batches(part, batch_size=13, seed=3)
    expected = {step: forward(step)[0] for step in sorted(set(steps))}
    wandering = Batches(part, batch_size=13, seed=3)
    for step in steps:
        assert torch.equal(wandering(step)[0], expected[step]), step
        assert torch.equal(Batches(part, batch_size=13, seed=3)(step)[0], expected[step]), step


def test_other_seeds_and_other_steps_give_other_batches(part: Part) -> None:
    batches = Batches(part, batch_size=13, seed=3)
    first = batches(0)[0]
    assert not torch.equal(first, batches(1)[0])
    assert not torch.equal(first, Batches(part, batch_size=13, seed=4)(0)[0])


@pytest.mark.parametrize("batch_size", [1, 7, 40, 150])
def test_every_picture_appears_once_an_epoch(part: Part, batch_size: int) -> None:
    batches = Batches(part, batch_size=batch_size, seed=0)
    count = 3 * len(part)
    steps = range(-(-count // batch_size))
    seen = np.concatenate([recognised(part, batches(step)[0])[0] for step in steps])[:count]
    epochs = seen.reshape(3, len(part))
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(len(part)))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], np.arange(len(part)))


@pytest.mark.parametrize(("world", "batch_size"), [(2, 12), (3, 12), (3, 13), (4, 3)])
def test_the_ranks_divide_the_global_batch_among_them(part: Part, world: int, batch_size: int) -> None:
    targets = part.labels()
    alone = Batches(part, targets, batch_size=batch_size, seed=1)
    ranks = [Batches(part, targets, batch_size=batch_size, seed=1, rank=rank, world=world) for rank in range(world)]
    for step in (0, 4, 17):
        pictures, labels = alone(step)
        for rank, batches in enumerate(ranks):
            own, own_labels = batches(step)
            assert torch.equal(own, pictures[rank::world])
            assert torch.equal(own_labels, labels[rank::world])


def test_half_of_the_pictures_are_mirrored_and_by_chance(part: Part) -> None:
    batches = Batches(part, batch_size=50, seed=0)
    mirrored = np.concatenate([recognised(part, batches(step)[0])[1] for step in range(40)])
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(mirrored))
    neighbours = (mirrored[1:] == mirrored[:-1]).mean()
    assert abs(neighbours - 0.5) < 4 * 0.5 / np.sqrt(len(mirrored))


def test_the_targets_are_those_of_the_pictures(part: Part) -> None:
    labels = part.labels()
    batches = Batches(part, labels, batch_size=20, seed=0)
    numbers = Batches(part, np.arange(len(part)), batch_size=20, seed=0)
    for step in range(6):
        pictures, given = batches(step)
        index, _ = recognised(part, pictures)
        np.testing.assert_array_equal(given.numpy(), labels[index])
        np.testing.assert_array_equal(numbers(step)[1].numpy(), index)


def test_without_targets_none_are_given(part: Part) -> None:
    pictures, nothing = Batches(part, batch_size=5, seed=0)(0)
    assert nothing.shape == (5, 0)
    assert pictures.shape == (5, 3, SIZE, SIZE)


def test_bytes_become_channels_last_pictures_in_0_to_1() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3), dtype=np.uint8)
    pixels[0, 0, 0] = (0, 128, 255)
    pictures = to_pictures(pixels)
    assert pictures.shape == (2, 3, 5, 5)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(pictures.numpy(), np.moveaxis(pixels, 3, 1) / 255, atol=1e-7)
    np.testing.assert_allclose(pictures[0, :, 0, 0].numpy(), [0, 128 / 255, 1], atol=1e-7)


def test_the_mean_picture_is_the_average_and_the_best_that_ignorance_draws(part: Part) -> None:
    mean = mean_picture(part, torch.device("cpu"))
    pictures = np.moveaxis(part.images(slice(None)), 3, 1) / 255
    assert mean.shape == (1, 3, SIZE, SIZE)
    np.testing.assert_allclose(mean[0].numpy(), pictures.mean(axis=0), atol=1e-6)

    def error(drawn: NDArray[np.float64]) -> float:
        return float(((pictures - drawn) ** 2).mean())

    generator = np.random.default_rng(0)
    for _ in range(20):
        assert error(mean.numpy() + generator.normal(0, 0.05, (1, 3, SIZE, SIZE))) > error(mean.numpy())
