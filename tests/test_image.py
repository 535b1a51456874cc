from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

from oneway.metrics.image import affine, mse, psnr, ssim


def pictures(seed: int, n: int = 3, height: int = 20, width: int = 24) -> Tensor:
    """Smooth colours and a little noise, in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (smooth + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1)


def window() -> NDArray[np.float64]:
    """The 11 x 11 Gaussian of deviation 1.5 of Wang et al. 2004."""
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    square = np.outer(line, line)
    return square / square.sum()


def ssim_of_a_channel(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Eq. 13 of Wang et al. 2004 at every place where the window fits, by loops; the mean."""
    weights, small = window(), (0.01**2, 0.03**2)
    values = []
    for row in range(first.shape[0] - 10):
        for column in range(first.shape[1] - 10):
            x, y = (array[row : row + 11, column : column + 11] for array in (first, second))
            mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
            variance_x, variance_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
            covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
            luminance = (2 * mean_x * mean_y + small[0]) / (mean_x**2 + mean_y**2 + small[0])
            structure = (2 * covariance + small[1]) / (variance_x + variance_y + small[1])
            values.append(luminance * structure)
    return float(np.mean(values))


def test_ssim_is_its_formula_by_loops() -> None:
    first, second = pictures(0), pictures(1)
    noise = torch.randn(first[0].shape, generator=torch.Generator().manual_seed(2))
    second[0] = (first[0] + 0.1 * noise).clamp(0, 1)
    expected = [
        np.mean([ssim_of_a_channel(a, b) for a, b in zip(one, other, strict=True)])
        for one, other in zip(first.double().numpy(), second.double().numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(first, second), expected, atol=1e-5)
    assert expected[0] > expected[1] + 0.1


@pytest.mark.parametrize("size", [(16, 16), (33, 20), (64, 64)])
def test_ssim_is_skimages_to_the_bit(size: tuple[int, int]) -> None:
    first, second = (pictures(seed, 19, *size) for seed in (6, 7))
    second[:10] = (first[:10] + 0.1 * second[:10]).clamp(0, 1)
    expected = [
        structural_similarity(
            ours, theirs, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for ours, theirs in zip(first.numpy(), second.numpy(), strict=True)
    ]
    np.testing.assert_array_equal(ssim(first, second), expected)


def test_ssim_of_two_flat_pictures_is_the_luminance_alone() -> None:
    first, second = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(first, second) == pytest.approx([expected], abs=1e-5)


def test_ssim_is_1_for_equals_symmetric_and_falls_with_noise() -> None:
    first = pictures(2)
    np.testing.assert_allclose(ssim(first, first), 1)
    np.testing.assert_allclose(ssim(first, pictures(3)), ssim(pictures(3), first), atol=1e-6)
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    falling = [ssim((first + amount * noise).clamp(0, 1), first) for amount in (0.0, 0.05, 0.2, 0.5)]
    assert (np.diff(falling, axis=0) < 0).all()
    assert ssim(1 - first, first).max() < 0.5


def test_mse_is_the_mean_squared_difference_of_each_picture() -> None:
    first, second = pictures(4), pictures(5)
    a, b = first.numpy().astype(np.float64), second.numpy().astype(np.float64)
    np.testing.assert_allclose(mse(first, second), ((a - b) ** 2).reshape(3, -1).mean(axis=1), rtol=1e-9)


def test_mse_is_0_for_equals_symmetric_and_1_at_most() -> None:
    first, second = pictures(4), pictures(5)
    assert mse(first, first).tolist() == [0.0] * 3
    np.testing.assert_array_equal(mse(first, second), mse(second, first))
    assert mse(torch.zeros(2, 3, 16, 16), torch.ones(2, 3, 16, 16)).tolist() == [1.0, 1.0]


def test_psnr_counts_with_a_data_range_of_1() -> None:
    bytes_apart = 7.0
    theirs = 20 * np.log10(255 / bytes_apart)  # the same pictures in 0..255
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(mse(flat + bytes_apart / 255, flat)) == pytest.approx([theirs], abs=1e-4)


def test_psnr_falls_by_20_dB_for_ten_times_the_distance_and_is_bounded() -> None:
    errors = np.array([1e-4, 1e-2, 1.0])
    np.testing.assert_allclose(psnr(errors), [40, 20, 0], atol=1e-12)
    assert psnr(np.array([0.0, 1e-12])).tolist() == [100.0, 100.0]


@pytest.mark.parametrize("score", [mse, ssim])
def test_each_picture_has_its_own_score(score: object) -> None:
    first, second = pictures(6), pictures(7)
    together = score(first, second)  # type: ignore[operator]
    alone = [score(first[i : i + 1], second[i : i + 1])[0] for i in range(3)]  # type: ignore[operator]
    np.testing.assert_allclose(together, alone, atol=1e-12)
    assert len(set(alone)) == 3


def test_half_precision_is_widened_before_it_is_squared() -> None:
    first, second = pictures(8).bfloat16(), pictures(9).bfloat16()
    np.testing.assert_array_equal(mse(first, second), mse(first.double(), second.double()))
    np.testing.assert_array_equal(ssim(first, second), ssim(first.float(), second.float()))


def test_affine_is_the_straight_line_of_polyfit_in_every_channel() -> None:
    first, second = pictures(10), pictures(11)
    expected = np.empty(first.shape)
    for place in np.ndindex(first.shape[:2]):
        x, y = first[place].double().numpy(), second[place].double().numpy()
        slope, shift = np.polyfit(x.ravel(), y.ravel(), 1)
        expected[place] = (slope * x + shift).clip(0, 1)
    np.testing.assert_allclose(affine(first, second).numpy(), expected, atol=1e-9)


def test_a_negative_or_faint_picture_scores_as_the_picture_itself() -> None:
    original = pictures(12)
    for changed in (1 - original, 0.5 + 0.01 * original, -3 * original):
        corrected = affine(changed, original)
        assert mse(corrected, original).max() < 1e-9
        assert ssim(corrected, original).min() > 0.9999
    assert mse(1 - original, original).min() > 0.02  # which the plain score calls a bad reconstruction


@settings(deadline=None, max_examples=25)
@given(
    slopes=st.lists(st.floats(0.05, 20).flatmap(lambda a: st.sampled_from([a, -a])), min_size=3, max_size=3),
    shift=st.floats(-10, 10, allow_subnormal=False),
)
def test_scores_do_not_change_with_contrast_brightness_or_sign(slopes: list[float], shift: float) -> None:
    ours, original = pictures(13).double(), pictures(14).double()
    changed = torch.tensor(slopes, dtype=torch.float64).view(3, 1, 1) * ours + shift
    one, other = affine(ours, original), affine(changed, original)
    np.testing.assert_allclose(mse(other, original), mse(one, original), atol=1e-9)
    np.testing.assert_allclose(ssim(other, original), ssim(one, original), atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), noise=st.floats(0, 1, allow_subnormal=False))
def test_correcting_never_raises_the_error(seed: int, noise: float) -> None:
    original = pictures(seed)
    ours = original + noise * torch.randn(original.shape, generator=torch.Generator().manual_seed(seed))
    corrected = affine(ours, original)
    assert (mse(corrected, original) <= mse(ours, original) + 1e-12).all()
    assert (
        mse(corrected, original) <= original.double().var(dim=(2, 3), correction=0).mean(dim=1).numpy() + 1e-12
    ).all()
    assert corrected.min() >= 0
    assert corrected.max() <= 1


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5, 1.0])
def test_a_constant_becomes_each_channels_mean(value: float) -> None:
    original = pictures(15)
    corrected = affine(torch.full_like(original, value), original)
    means = original.double().mean(dim=(2, 3), keepdim=True).expand_as(corrected)
    torch.testing.assert_close(corrected, means, rtol=0, atol=1e-6)


def test_noise_gains_nothing_by_the_correction_over_a_constant() -> None:
    original = pictures(16, height=64, width=64)
    noise = torch.rand(original.shape, generator=torch.Generator().manual_seed(1))
    corrected, flat = affine(noise, original), affine(torch.zeros_like(original), original)
    np.testing.assert_allclose(mse(corrected, original), mse(flat, original), rtol=0.01)
