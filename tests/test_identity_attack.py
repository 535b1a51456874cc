"""A decoder trained through a verifier draws the person better by that verifier than one trained for pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oneway
from conftest import RUNTIME, attacking
from oneway.attacks import identity, linear
from oneway.attacks.access import Access, BlackBox
from oneway.attacks.components import draw
from oneway.attacks.context import Context
from oneway.attacks.fit import Fitted
from oneway.attacks.identity import IdentityConfig, draw_person
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.data.batches import load
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import TorchVerifier
from oneway.models.noise import Noisy
from oneway.runtime import launch
from oneway.storage import runs

pytestmark = pytest.mark.whole

CPU = torch.device("cpu")
QUICK = IdentityConfig(width=128, check_every=40, max_steps=160, drops=1)


class Few(nn.Module):
    """A vector of few numbers that a picture is not solved from."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(192, 32), nn.ReLU())

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.layers(pictures)
        return features


@pytest.fixture(scope="module")
def access(people: oneway.Pack) -> Access:
    return BlackBox(Few(), launch(RUNTIME), people.size)


@pytest.fixture(scope="module")
def surrogate(people: oneway.Pack) -> Surrogate:
    """A verifier that no linear map stands for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 16, 4, stride=4), nn.BatchNorm2d(16, momentum=None), nn.ReLU(), nn.Flatten()
        )
        network.append(nn.Linear(16 * (people.size // 4) ** 2, 32))
        network.append(nn.BatchNorm1d(32, momentum=None))  # or all faces were alike to it
        network(load(people.public, slice(0, 256)))
    return Surrogate(TorchVerifier(network, "curved"), people, CPU)


@pytest.fixture(scope="module")
def context(
    access: Access, people: oneway.Pack, surrogate: Surrogate, tmp_path_factory: pytest.TempPathFactory
) -> Context:
    return attacking(access, people, surrogate, tmp_path_factory.mktemp("identity") / "state")


def similarity(network: nn.Module, context: Context) -> float:
    """Mean cosine of the surrogate's features of what is drawn of test people and of these."""
    test = context.public.pack.test
    with torch.no_grad():
        drawn = network(context.access.features(test, slice(None)))
        return float((context.surrogates[0](drawn, None) * context.surrogates[0].known(test, CPU)).sum(dim=1).mean())


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_of_a_vector_it_draws_the_person_better_than_a_ridge_regression(
    context: Context, people: oneway.Pack, tmp_path: Path, noise: float
) -> None:
    if noise:
        fabric, encoder = launch(RUNTIME), Noisy(Few(), noise)
        once, often = (BlackBox(encoder, fabric, people.size, draws=draws) for draws in (1, 16))
        place = replace(context.place, checkpoint=tmp_path / "noisy")
        context = replace(context, access=once, fitted_on=often, place=place, noisy=True)
    with context.access.seeded(0):
        plain = draw(linear.regress, context.pairs, people.validation, context.place).network
        fitted = draw_person(QUICK, context)
    with context.access.seeded(1):
        least = similarity(plain, context)
    with context.access.seeded(1):
        assert similarity(fitted.network, context) > least + (0.01 if noise else 0.0)


def test_it_is_deterministic_and_resumes_to_the_same_weights(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(name: str) -> Fitted[nn.Module]:
        place = replace(context.place, checkpoint=tmp_path / name, checkpoint_seconds=0.0)
        return draw_person(replace(QUICK, check_every=15, max_steps=60), replace(context, place=place))

    whole, again = fit("whole"), fit("again")
    with monkeypatch.context() as patch:
        saves: list[None] = []
        save = runs.save

        def once(*given: Any) -> None:
            save(*given)
            saves.append(None)
            if len(saves) == 2:
                raise KeyboardInterrupt

        patch.setattr("oneway.attacks.fit.runs.save", once)
        with pytest.raises(KeyboardInterrupt):
            fit("killed")
    resumed = fit("killed")
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, again.network.state_dict()[name]), name
        assert torch.equal(weights, resumed.network.state_dict()[name]), name


def test_of_a_map_it_goes_on_from_a_decoder_and_the_person_gets_better(
    people: oneway.Pack, context: Context, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.ReLU())
    access = BlackBox(encoder, launch(RUNTIME), people.size)
    config = InversionConfig(width=0.25, check_every=50, max_steps=100, learning_rate=2e-3, decoder="residual")
    place = replace(context.place, checkpoint=tmp_path / "pixels")
    start = draw_decoder(config, access.shape, None, people.size)
    before = invert(access, people.public, people.validation, start, config, place).network
    on_map = replace(
        context, access=access, fitted_on=access, start=before, place=replace(place, checkpoint=tmp_path / "on")
    )
    least = similarity(before, on_map)
    after = draw_person(replace(QUICK, learning_rate=1e-3), on_map).network
    assert similarity(after, on_map) > least + 0.02
    picture = load(people.test, np.array([0]))
    assert after(access(picture)).shape == picture.shape


def test_of_a_vector_it_aims_at_what_is_predicted_and_of_a_map_at_what_is_true(
    people: oneway.Pack, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aimed: list[str] = []
    for name in ("predicted", "_true"):
        kept = getattr(identity, name)
        monkeypatch.setattr(identity, name, lambda *given, name=name, kept=kept: aimed.append(name) or kept(*given))
    config = replace(QUICK, check_every=5, max_steps=10)
    draw_person(config, context)
    assert aimed == ["predicted"]
    on_vector = draw(linear.regress, context.pairs, people.validation, context.place).network
    draw_person(config, replace(context, start=on_vector, place=replace(context.place, checkpoint=tmp_path / "on")))
    assert aimed == ["predicted", "_true"]
