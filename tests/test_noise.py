"""Noisy features have the power and the noise that are stated, and nobody can draw the noise again to take it off."""

from __future__ import annotations

import copy
import io
import os
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor, nn

import oneway
from oneway.models.noise import Noisy
from oneway.models.seeded import Seeded, seeded
from oneway.protection.defences.cem import CEM
from oneway.protection.defences.dropout import Dropout
from oneway.protection.defences.noise import Noise
from oneway.protection.defences.pruning import Pruning
from oneway.protection.defences.vib import VIB

pytestmark = pytest.mark.whole

SHAPE = (4, 6, 6)


def pictures(seed: int = 0, count: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 3, padding=1)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-2, 1e3), shift=st.floats(-1, 1, allow_subnormal=False))
def test_no_scale_makes_the_noise_small(scale: float, shift: float) -> None:
    class Louder(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return scale * self.inner(x) + shift

        def __init__(self) -> None:
            super().__init__()
            self.inner = encoder()

    loud, plain = Noisy(Louder(), 0.5), Noisy(encoder(), 0.5)
    with seeded(nn.ModuleList([loud, plain]), 0):
        torch.testing.assert_close(loud(pictures()), plain(pictures()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_the_power_is_one_and_the_noise_as_stated(noise: float) -> None:
    noisy = Noisy(encoder(), noise)
    with torch.no_grad():
        first, second = noisy(pictures()), noisy(pictures())
    drawn = (first - second) / 2**0.5
    assert float(drawn.std()) == pytest.approx(noise, rel=0.05)
    with torch.no_grad():
        features = noisy.encoder(pictures())
    clean = torch.nn.functional.layer_norm(features, SHAPE)
    assert float(clean.square().mean()) == pytest.approx(1, rel=1e-3)
    assert float((first - clean).std()) == pytest.approx(noise, rel=0.05)
    assert abs(float((first - clean).mean())) < 0.05 * noise


def test_the_noise_is_new_in_each_call_and_the_same_under_its_seed() -> None:
    noisy = Noisy(encoder(), 1.0)
    with seeded(noisy, 3, 1):
        first, second = noisy(pictures()), noisy(pictures())
    with seeded(noisy, 3, 1):
        torch.testing.assert_close(noisy(pictures()), first, rtol=0, atol=0)
    assert not torch.equal(first, second)
    for other in [(3, 2), (3,), ("3", 1)]:
        with seeded(noisy, *other):
            assert not torch.equal(noisy(pictures()), first)


every_drawing_defence = pytest.mark.parametrize(
    "defence", [Noise(), Dropout(), Pruning(), VIB(), CEM()], ids=lambda defence: defence.name
)


@torch.no_grad()
def answer(network: nn.Module) -> Tensor:
    found: Tensor = network(pictures())
    return found


def through_a_file(network: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    return loaded


def in_another_process(network: nn.Module) -> Tensor:
    """Answer in a fork, which has all of this process's memory, generators and seeds among it."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, answer(network).numpy().tobytes())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    return torch.from_numpy(np.frombuffer(found, np.float32).copy())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks
@every_drawing_defence
def test_no_call_copy_file_or_process_draws_what_another_draws(defence: Noise) -> None:
    network = defence.wrap(encoder(), SHAPE).eval()
    torch.manual_seed(0)
    answers = [answer(network)]
    torch.manual_seed(0)
    answers += [answer(network), answer(copy.deepcopy(network)), answer(through_a_file(network))]
    answers.append(in_another_process(network).view_as(answers[0]))
    with seeded(network, 1):
        under = [answer(network), answer(copy.deepcopy(network)), answer(through_a_file(network))]
    answers += [*under, answer(network)]
    for place, one in enumerate(answers):
        for other in answers[:place]:
            assert float((one == other).float().mean()) < 0.8  # 0.58 of dropped ones: both 0, or both kept


@every_drawing_defence
def test_a_seed_is_in_force_in_its_block_alone(defence: Noise) -> None:
    network = nn.Sequential(defence.wrap(encoder(), SHAPE), nn.Dropout(0.5)).train()
    with seeded(network, "a", 1):
        first = answer(network)
        with seeded(network, "b"):
            inner = answer(network)
        second = answer(network)
    with pytest.raises(ZeroDivisionError), seeded(network, "a", 1):
        raise ZeroDivisionError
    assert not torch.equal(answer(network), answer(network))
    with seeded(network, "a", 1):
        assert torch.equal(answer(network), first)
        assert torch.equal(answer(network), second)  # as if the inner block had not been
        assert not torch.equal(first, second)
    with seeded(network, "b"):
        assert torch.equal(answer(network), inner)


def test_what_a_second_load_draws_does_not_take_the_noise_off(
    make_run: Callable[..., oneway.Run], pack: oneway.Pack
) -> None:
    run = make_run("noisy", {"network.noise": 1.0, "steps": 2})
    given = torch.from_numpy(pack.test.images(slice(0, 8))).permute(0, 3, 1, 2) / 255
    ours, thief = run.load().encoder, run.load().encoder
    assert isinstance(ours, Noisy)
    assert isinstance(thief, Noisy)
    with torch.no_grad():
        sent, clean = ours(given), ours.clean(given)
        guess = sent - thief.add_noise(torch.zeros_like(sent))
        assert float((guess - clean).std()) == pytest.approx(2**0.5, rel=0.1)  # twice the noise instead of none
        assert not torch.equal(ours(given), run.load().encoder(given))


@pytest.mark.parametrize("count", [1, 2, 99_999])
def test_what_the_operating_system_gives_is_normal_and_uniform(count: int) -> None:
    module, shape = Seeded(), torch.Size([count])
    normal, uniform = (draw(shape, torch.device("cpu")) for draw in (module.normal, module.uniform))
    for drawn, law in ((normal, "norm"), (uniform, "uniform")):
        assert drawn.shape == shape
        assert drawn.dtype == torch.float32
        assert drawn.isfinite().all()
        assert kstest(drawn.double().numpy(), law).pvalue > 1e-7
    if count > 2:
        halves = normal[: count // 2], normal[-(count // 2) :]
        assert abs(float(torch.corrcoef(torch.stack(halves))[0, 1])) < 0.03
        assert abs(float(torch.corrcoef(torch.stack(halves).square())[0, 1])) < 0.03


@pytest.mark.parametrize("kind", ["trace", "export"])
def test_a_graph_that_would_hold_one_draw_for_ever_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Noisy(encoder(), 1.0).eval()
    if kind == "export":  # as `torch.export` has it, which takes 10 s of imports
        monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    with pytest.raises(oneway.InputError, match="would hold one draw for ever"):
        torch.jit.trace(network, pictures(count=2)) if kind == "trace" else network(pictures(count=2))


def test_the_global_random_state_is_left_alone() -> None:
    noisy = Noisy(encoder(), 1.0)
    before = torch.random.get_rng_state()
    noisy(pictures())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_noise_changes_nothing_else_of_an_encoder(tiny: object, pack: oneway.Pack) -> None:
    from oneway.protection.run import build

    config = tiny({"network.noise": 0.0})  # type: ignore[operator]
    plain = build(config, size=pack.size, num_logits=3)
    assert not isinstance(plain.encoder, Noisy)
    noisy = build(tiny({"network.noise": 1.0}), size=pack.size, num_logits=3)  # type: ignore[operator]
    assert isinstance(noisy.encoder, Noisy)
    ours, theirs = plain.encoder.state_dict(), noisy.encoder.encoder.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
