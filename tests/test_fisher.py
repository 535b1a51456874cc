"""The bound is the one worked out by hand for linear encoders, and the one of the full Jacobian for others."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import oneway
from conftest import RUNTIME
from oneway.attacks.access import FeatureDump, WhiteBox
from oneway.auditing import inference
from oneway.auditing.attack_results import _bound
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.stealing import Stolen
from oneway.auditing.steps import Steps
from oneway.auditing.victim import Victim
from oneway.judges.judge import Judge
from oneway.metrics.fisher import fisher_leakage, least_mse
from oneway.models.noise import Noisy
from oneway.runtime import launch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 5, size: int = 6, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size, size, generator=generator(seed))


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(4, 6, 3)).eval()


def exact(noisy: Noisy, x: Tensor) -> np.ndarray:
    """The same from every number of every Jacobian."""
    found = []
    for picture in x:
        jacobian = torch.autograd.functional.jacobian(
            lambda given: noisy.clean(given[None])[0], picture, vectorize=True
        )
        found.append(float(jacobian.double().square().sum()) / (noisy.noise**2 * picture.numel()))
    return np.array(found)


@pytest.mark.parametrize("num_features", [12, 30], ids=["square", "tall"])
def test_a_linear_encoder_has_the_leakage_worked_out_by_hand_and_least_squares_keeps_the_bound(
    num_features: int,
) -> None:
    d, noise, rng = 12, 0.3, np.random.default_rng(0)
    turned = np.linalg.qr(rng.normal(size=(num_features, d)))[0] * np.linspace(0.5, 2.0, d)
    matrix = turned @ np.linalg.qr(rng.normal(size=(d, d)))[0]  # singular values from 0.5 to 2
    by_hand = np.trace(matrix.T @ matrix) / (noise**2 * d)
    encode = torch.from_numpy(matrix).float()
    x = torch.rand(3, 3, 2, 2, generator=generator())
    found = fisher_leakage(lambda given: given.flatten(1) @ encode.T, x, noise, probes=5000, generator=generator())
    np.testing.assert_allclose(found, by_hand, rtol=0.02)

    answers = x[0].flatten().double().numpy() @ matrix.T + noise * rng.normal(size=(20_000, num_features))
    estimates = answers @ np.linalg.pinv(matrix).T  # unbiased
    measured = np.square(estimates - x[0].flatten().numpy()).mean()
    optimal = noise**2 * np.trace(np.linalg.inv(matrix.T @ matrix)) / d  # the whole inverse: Gauss and Markov
    assert measured == pytest.approx(optimal, rel=0.02)
    assert measured > least_mse(by_hand) > 0.3 * measured


def test_the_bound_is_met_where_all_directions_are_alike() -> None:
    d, scale, noise, rng = 12, 1.7, 0.4, np.random.default_rng(0)
    x = torch.rand(2, 3, 2, 2, generator=generator())
    found = fisher_leakage(lambda given: scale * given, x, noise, probes=1, generator=generator())
    np.testing.assert_allclose(found, scale**2 / noise**2, rtol=1e-5)  # J J^T is diagonal: one probe is exact
    estimates = x[0].flatten().numpy() + noise / scale * rng.normal(size=(20_000, d))
    measured = np.square(estimates - x[0].flatten().numpy()).mean()
    assert measured == pytest.approx(least_mse(float(found[0])), rel=0.02)


def test_a_biased_attacker_may_err_less_than_the_bound() -> None:
    x = pictures()
    found = fisher_leakage(lambda given: 0.1 * given, x, 1.0, probes=1, generator=generator())
    assert float((x - 0.5).square().mean()) < 0.1 < least_mse(float(found.mean()))


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_the_estimate_is_that_of_the_full_jacobian(noise: float) -> None:
    noisy, x = Noisy(network(), noise), pictures()
    found = fisher_leakage(noisy.clean, x, noise, probes=1000, generator=generator())
    np.testing.assert_allclose(found, exact(noisy, x), rtol=0.05)


def test_sixteen_probes_are_unbiased() -> None:
    noisy, x = Noisy(network(), 1.0), pictures(1)
    found = [fisher_leakage(noisy.clean, x, 1.0, probes=16, generator=generator(seed))[0] for seed in range(100)]
    truth, error = exact(noisy, x)[0], np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - truth) < 4 * error
    assert np.std(found) < 0.3 * truth


@settings(max_examples=30, deadline=None)
@given(noises=st.tuples(st.floats(1e-2, 1e2), st.floats(1e-2, 1e2)), scale=st.floats(1e-2, 1e2))
def test_more_noise_never_gives_away_more(noises: tuple[float, float], scale: float) -> None:
    inner, x = network(), pictures(2)
    less, more = (
        fisher_leakage(lambda given: scale * inner(given), x, noise, probes=2, generator=generator())
        for noise in sorted(noises)
    )
    assert (more <= less).all()
    assert all(least_mse(float(high)) >= least_mse(float(low)) for high, low in zip(more, less, strict=True))


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-2, 1e2))
def test_no_scale_changes_the_leakage_of_normalised_features(scale: float) -> None:
    class Louder(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scale * inner(x)

    inner, x = network(), pictures(2)
    found, expected = (
        fisher_leakage(Noisy(one, 1.0).clean, x, 1.0, probes=2, generator=generator()) for one in (Louder(), inner)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_a_seed_draws_the_same_probes_and_another_draws_others() -> None:
    noisy, x = Noisy(network(), 1.0), pictures()
    noisy.normal = pytest.fail  # type: ignore[method-assign, assignment]  # the noise is never drawn

    def found(seed: int) -> np.ndarray:
        return fisher_leakage(noisy.clean, x, 1.0, probes=2, generator=generator(seed))

    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(found(0), found(0))
    assert not np.array_equal(found(0), found(1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_pictures_count_for_themselves_however_they_are_batched() -> None:
    noisy, x = Noisy(network(), 1.0), pictures(7)
    truth = exact(noisy, x)
    for batch_size in (3, 16):
        found = fisher_leakage(noisy.clean, x, 1.0, probes=1000, generator=generator(), batch_size=batch_size)
        np.testing.assert_allclose(found, truth, rtol=0.05)
    assert x.grad is None
    assert not x.requires_grad


def test_features_without_gradients_leak_nothing_by_this_measure() -> None:
    found = fisher_leakage(torch.round, pictures(2), 1.0, probes=1, generator=generator())
    assert (found == 0).all()
    with torch.no_grad():
        hidden = fisher_leakage(lambda x: x.detach(), pictures(2), 1.0, probes=1, generator=generator())
    assert (hidden == 0).all()


class Unknown(nn.Module):
    """An encoder whose noise is its own affair."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def context(
    encoder: nn.Module | None, pack: oneway.Pack, path: Path, *, noisy: bool, white: bool = True
) -> AuditContext:
    fabric = launch(RUNTIME)
    dump = FeatureDump({"test": np.zeros((len(pack.test), 1), dtype=np.float32)}, fabric.device)
    return AuditContext(
        victim=Victim(name="made up", kind="module", identity={}, pack=pack, encoder=encoder, white=white),
        stolen=Stolen(
            access=dump,
            fitted_on=dump,
            noisy=noisy,
            white=None if encoder is None else WhiteBox(encoder, fabric.device),
            averaged=None,
        ),
        judges=(Judge(pack.test, pack.validation, None),),
        config=AuditConfig(runtime=RUNTIME),
        steps=Steps(path, fabric, checkpoint_seconds=math.inf, progress=False),
    )


def test_an_audit_bounds_the_error_where_the_encoder_ends_in_known_noise(pack: oneway.Pack, tmp_path: Path) -> None:
    noisy = Noisy(network(), 2.0)
    made = context(noisy, pack, tmp_path / "first", noisy=True)
    step = made.steps.take("bound", lambda place: inference.bounded(made, place))
    index, people = step.arrays["index"], pack.test.num_people
    assert len(set(pack.test.identities[index])) == len(index) == min(people, inference.BOUNDED)
    x = torch.from_numpy(pack.test.images(index)).permute(0, 3, 1, 2) / 255
    np.testing.assert_allclose(step.arrays["dfil"].mean(), exact(noisy, x).mean(), rtol=0.1)

    bound = _bound(step, pack, made.judge)
    dfil, least = bound.scores["dfil"], bound.scores["least_mse"]
    assert bound.facts["holds_for"] == "unbiased attackers"
    assert bound.facts["num_pictures"] == dfil.n == least.n == len(index)
    assert dfil.value == pytest.approx(step.arrays["dfil"].mean())
    for end, other in (("value", "value"), ("low", "high"), ("high", "low")):
        assert getattr(least, end) == pytest.approx(1 / getattr(dfil, other))
    assert least.low < least.value < least.high
    assert least.value <= (1 / step.arrays["dfil"]).mean()

    again = context(Noisy(network(), 2.0), pack, tmp_path / "again", noisy=True)
    repeated = again.steps.take("bound", lambda place: inference.bounded(again, place))
    np.testing.assert_array_equal(repeated.arrays["dfil"], step.arrays["dfil"])
    other = replace(made, config=AuditConfig(seed=1, runtime=RUNTIME), steps=again.steps)
    drawn = other.steps.take("other", lambda place: inference.bounded(other, place))
    assert not np.array_equal(drawn.arrays["dfil"], step.arrays["dfil"])


@pytest.mark.parametrize(
    ("encoder", "noisy", "white", "reason"),
    [
        (network(), False, True, "the encoder is deterministic"),
        (Noisy(network(), 0.0), False, True, "the encoder is deterministic"),
        (nn.Identity(), False, False, "the encoder is deterministic"),
        (Unknown(), True, True, "not as its last step in a way that is known"),
        (nn.Sequential(Noisy(network(), 1.0), nn.ReLU()), True, True, "not as its last step in a way that is known"),
        (Unknown(), True, False, "as a black box it shows neither"),
        (None, False, False, "stored features do not say what noise they carry"),
        (Noisy(nn.Sequential(nn.Threshold(2.0, 0.0)), 1.0), True, True, "has no gradient, or none that is finite"),
    ],
)
def test_any_other_encoder_is_refused(
    encoder: nn.Module | None, noisy: bool, white: bool, reason: str, pack: oneway.Pack, tmp_path: Path
) -> None:
    made = context(encoder, pack, tmp_path, noisy=noisy, white=white)
    bound = made.steps.take("bound", lambda place: inference.bounded(made, place)).refusal
    assert bound is not None
    assert bound.refused.startswith("no bound: ")
    assert reason in bound.refused
