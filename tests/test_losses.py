from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oneway import losses
from oneway.errors import InputError

Pictures = NDArray[np.float32]


def drawn(seed: int, n: int = 4) -> tuple[Pictures, Pictures, Pictures]:
    """Reconstructions, pictures and a mean face."""
    generator = np.random.default_rng(seed)
    shape = (3, 5, 7)
    return tuple(generator.random((count, *shape), dtype=np.float32) for count in (n, n, 1))  # type: ignore[return-value]


def protection(reconstructed: Pictures, pictures: Pictures, mean_picture: Pictures, target: losses.Target) -> float:
    given = (torch.from_numpy(array) for array in (reconstructed, pictures, mean_picture))
    return float(losses.protection(*given, target=target))


def test_utility_is_the_cross_entropy_of_the_bits() -> None:
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(0, 3, (9, 5)), generator.random((9, 5)) < 0.3
    share = 1 / (1 + np.exp(-logits))
    expected = -np.mean(np.where(labels, np.log(share), np.log(1 - share)))
    assert float(losses.utility(torch.from_numpy(logits), torch.from_numpy(labels))) == pytest.approx(expected, 1e-5)


def test_utility_of_no_opinion_is_one_bit_and_of_the_truth_nothing() -> None:
    labels = torch.rand(8, 3) < 0.5
    assert float(losses.utility(torch.zeros(8, 3), labels)) == pytest.approx(np.log(2), 1e-6)
    assert float(losses.utility(torch.where(labels, 50.0, -50.0), labels)) == pytest.approx(0, abs=1e-9)


def test_utility_is_the_same_for_the_opposite_labels_and_logits() -> None:
    logits, labels = torch.randn(8, 3), torch.rand(8, 3) < 0.5
    torch.testing.assert_close(losses.utility(logits, labels), losses.utility(-logits, ~labels))


def test_utility_is_computed_in_full_precision() -> None:
    logits = torch.full((4, 2), 20.0, dtype=torch.bfloat16)
    assert losses.utility(logits, torch.ones(4, 2, dtype=torch.bool)).dtype == torch.float32
    assert float(losses.utility(logits, torch.ones(4, 2))) > 0  # in bf16 it would vanish


def test_reconstruction_is_the_mean_squared_error_of_each_picture() -> None:
    reconstructed, pictures, _ = drawn(0)
    found = losses.reconstruction(torch.from_numpy(reconstructed), torch.from_numpy(pictures))
    expected = [np.mean((a.astype(np.float64) - b) ** 2) for a, b in zip(reconstructed, pictures, strict=True)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_reconstruction_is_symmetric_and_grows_with_the_square_of_the_distance() -> None:
    reconstructed, pictures, _ = (torch.from_numpy(array) for array in drawn(1))
    error = losses.reconstruction(reconstructed, pictures)
    torch.testing.assert_close(losses.reconstruction(pictures, reconstructed), error)
    further = pictures + 3 * (reconstructed - pictures)
    torch.testing.assert_close(losses.reconstruction(further, pictures), 9 * error)
    assert losses.reconstruction(pictures, pictures).tolist() == [0.0] * 4


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 3, allow_subnormal=False))
def test_protection_is_what_its_definition_says(seed: int, distance: float) -> None:
    reconstructed, pictures, face = drawn(seed)
    reconstructed = (pictures + distance * (reconstructed - pictures)).astype(np.float32)
    error = ((reconstructed - pictures) ** 2).mean(axis=(1, 2, 3))
    expected = {
        "away": -error.mean(),
        "mean_picture": ((reconstructed - face) ** 2).mean(),
    }
    assert set(losses.TARGETS) == {*expected, "ssim"}  # which has a test of its own
    for target in expected:
        found = protection(reconstructed, pictures, face, target)
        assert found == pytest.approx(expected[target], rel=1e-4, abs=1e-7)


def test_the_distance_to_the_mean_picture_is_least_there_whatever_the_pictures() -> None:
    reconstructed, pictures, face = drawn(3)
    assert protection(np.repeat(face, 4, axis=0), pictures, face, "mean_picture") == 0
    assert protection(reconstructed, pictures, face, "mean_picture") > 0
    other = protection(reconstructed, pictures[::-1].copy(), face, "mean_picture")
    assert other == protection(reconstructed, pictures, face, "mean_picture")


def test_the_mean_picture_draws_a_perfect_reconstruction_where_the_others_leave_it() -> None:
    reconstructed, pictures, face = (torch.from_numpy(array) for array in drawn(4))
    reconstructed = pictures.clone().requires_grad_()
    for target, moves in (("away", False), ("mean_picture", True)):
        reconstructed.grad = None
        losses.protection(reconstructed, pictures, face, target=target).backward()  # type: ignore[arg-type]
        assert bool(reconstructed.grad.any()) is moves, target


def logits(seed: int, count: int = 9) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A discriminator's logits of reconstructions and of pictures."""
    generator = np.random.default_rng(seed)
    return generator.normal(0, 3, count), generator.normal(0, 3, count)


def photograph(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """The discriminator's belief in a photograph."""
    return 1 / (1 + np.exp(-logit))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_deception_and_discrimination_are_the_papers(seed: int) -> None:
    reconstructed, pictures = logits(seed)
    deception = losses.deception(torch.from_numpy(reconstructed)).numpy()
    np.testing.assert_allclose(deception, np.log(1 - photograph(reconstructed)), rtol=1e-5, atol=1e-6)
    discrimination = losses.discrimination(torch.from_numpy(reconstructed), torch.from_numpy(pictures)).numpy()
    expected = -np.log(1 - photograph(reconstructed)) - np.log(photograph(pictures))
    np.testing.assert_allclose(discrimination, expected, rtol=1e-5, atol=1e-6)


def test_what_the_decoder_wins_the_discriminator_loses() -> None:
    for shift in (-200.0, -1.0, 0.0, 1.0, 200.0):  # where a naive logarithm is infinite, too
        reconstructed = torch.full((1,), shift, dtype=torch.bfloat16, requires_grad=True)
        deception = losses.deception(reconstructed)
        discrimination = losses.discrimination(reconstructed, torch.full((1,), 300.0))
        assert torch.isfinite(deception).all()
        torch.testing.assert_close(deception, -discrimination)
        deception.sum().backward()
        assert reconstructed.grad is not None
        assert float(reconstructed.grad) <= 0  # the surer of a photograph, the better


def test_a_discriminator_without_an_opinion_loses_two_bits() -> None:
    nothing = torch.zeros(3)
    torch.testing.assert_close(losses.discrimination(nothing, nothing), torch.full((3,), 2 * np.log(2)))
    torch.testing.assert_close(losses.deception(nothing), torch.full((3,), -np.log(2)))


def test_the_perceptual_distance_is_the_mean_over_layers_of_their_means() -> None:
    generator = np.random.default_rng(0)
    shapes = ((4, 2, 8, 8), (4, 6, 3, 3), (4, 5))
    ours, theirs = ([generator.normal(0, 2, shape).astype(np.float32) for shape in shapes] for _ in range(2))
    found = losses.perceptual([torch.from_numpy(a) for a in ours], [torch.from_numpy(b) for b in theirs])
    expected = [
        np.mean([np.mean((a[index].astype(np.float64) - b[index]) ** 2) for a, b in zip(ours, theirs, strict=True)])
        for index in range(4)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    units = torch.tensor([2.0, 0.5, 10.0])
    in_units = losses.perceptual([torch.from_numpy(a) for a in ours], [torch.from_numpy(b) for b in theirs], units)
    expected = [
        np.mean(
            [
                np.mean((a[index].astype(np.float64) - b[index]) ** 2) / unit
                for a, b, unit in zip(ours, theirs, units.tolist(), strict=True)
            ]
        )
        for index in range(4)
    ]
    np.testing.assert_allclose(in_units.numpy(), expected, rtol=1e-5)


def test_the_perceptual_distance_is_symmetric_and_nothing_between_equals() -> None:
    ours, theirs = ([torch.randn(3, 4, 6, 6), torch.randn(3, 8, 2, 2)] for _ in range(2))
    distance = losses.perceptual(ours, theirs)
    torch.testing.assert_close(losses.perceptual(theirs, ours), distance)
    assert (distance > 0).all()
    assert losses.perceptual(ours, ours).tolist() == [0.0] * 3
    repeated = losses.perceptual([*ours, *ours], [*theirs, *theirs])
    torch.testing.assert_close(repeated, distance)  # a layer counts by its share, not by their number


def test_the_target_ssim_is_the_structural_similarity_of_scikit_image() -> None:
    from oneway.metrics import image

    generator = np.random.default_rng(3)
    pictures = torch.from_numpy(generator.random((4, 3, 20, 20), dtype=np.float32))
    drawn_ = (pictures + 0.3 * torch.from_numpy(generator.normal(size=(4, 3, 20, 20)).astype(np.float32))).clamp(0, 1)
    np.testing.assert_allclose(losses.ssim(drawn_, pictures).numpy(), image.ssim(drawn_, pictures), atol=1e-4)
    whole = losses.protection(drawn_, pictures, pictures[:1], target="ssim")
    assert float(whole) == pytest.approx(image.ssim(drawn_, pictures).mean(), abs=1e-4)


def test_structural_similarity_has_gradients_and_needs_room_for_its_window() -> None:
    drawn_ = torch.rand(2, 3, 16, 16, requires_grad=True)
    losses.ssim(drawn_, torch.rand(2, 3, 16, 16)).sum().backward()
    assert drawn_.grad is not None
    assert drawn_.grad.abs().max() > 0
    with pytest.raises(InputError, match="11 pixels a side, not 10"):
        losses.ssim(torch.rand(1, 3, 10, 10), torch.rand(1, 3, 10, 10))


def by_definition(x: NDArray[np.floating], z: NDArray[np.floating]) -> float:
    """Distance correlation, written out with loops (Szekely, Rizzo and Bakirov 2007)."""
    n = len(x)
    matrices = []
    for given_ in (x, z):
        distance = np.array([[np.linalg.norm(given_[i] - given_[j]) for j in range(n)] for i in range(n)])
        centred = np.empty((n, n))
        for i in range(n):
            for j in range(n):
                centred[i, j] = distance[i, j] - distance[i].mean() - distance[:, j].mean() + distance.mean()
        matrices.append(centred)
    a, b = matrices
    return float(np.sqrt((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())))


def test_distance_correlation_is_its_definition() -> None:
    generator = np.random.default_rng(4)
    x = generator.normal(size=(9, 5))
    z = np.sin(x[:, :2]) + 0.2 * generator.normal(size=(9, 2))
    found = losses.distance_correlation(torch.from_numpy(x), torch.from_numpy(z))
    assert float(found) == pytest.approx(by_definition(x, z), abs=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.1, 10.0))
def test_distance_correlation_is_1_for_a_scaled_rotation_and_0_for_a_constant(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 4, generator=generator)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    assert float(losses.distance_correlation(x, scale * x @ rotation + 3)) == pytest.approx(1, abs=1e-3)
    assert float(losses.distance_correlation(x, torch.ones(8, 3))) < 1e-3
