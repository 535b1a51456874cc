"""Every defence: none at strength 0, the same under a seed, and no picture left at a strength that leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA as Components
from torch import nn

import oneway
from oneway.attacks import linear
from oneway.attacks.access import BlackBox
from oneway.attacks.components import draw
from oneway.attacks.fit import Place
from oneway.attacks.pairs import Pairs
from oneway.config import from_dict, override, to_dict
from oneway.protection.config import ProtectConfig, small
from oneway.protection.defences.cem import Mixed
from oneway.protection.defences.dropout import Dropping
from oneway.protection.defences.nopeek import NoPeek
from oneway.protection.defences.pca import PCA, Projected
from oneway.protection.defences.vib import VIB, Stochastic
from oneway.protection.recipes import classes
from oneway.runtime import launch
from oneway.storage import runs

pytestmark = pytest.mark.whole

EXTREME = {
    "noise": (1000.0, 0.9),
    "dropout": (0.9999, 0.9),
    "pruning": (0.9999, 0.9),
    "vib": (1e4, 0.9),
    "cem": (1e4, 0.9),
    "blur": (32.0, 0.4),
    "downscale": (0.999, 0.4),
    "pca": (0.9999, 0.7),
}
"""Strengths that leave nothing, and the share of the mean face's error that is left to the attacker at least. The last
three leave the mean colour, or one number, as their docstrings say. NoPeek has none: nothing is added to its features.
"""
every_defence = pytest.mark.parametrize("name", classes())
Train = Callable[..., oneway.Run]


@pytest.fixture
def train(pack: oneway.Pack, settings: dict[str, Any], tmp_path: Path) -> Train:
    """Protect the tiny encoder in a new folder."""

    def protect(folder: str, changes: dict[str, Any], *, resume: bool = False) -> oneway.Run:
        config = override(small(), settings | {"steps": 6, "game.pixel": 0.0} | changes)
        return oneway.protect(pack, tmp_path / folder, config, resume=resume, progress=False)

    return protect


def weights(run: oneway.Run) -> dict[str, torch.Tensor]:
    return runs.read_tensors(run.path / "protector.safetensors")[0]


def same(one: oneway.Run, other: oneway.Run) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def strength(name: str) -> str:
    return f"defence.{classes()[name].strength}"


@pytest.fixture(scope="module")
def undefended(pack: oneway.Pack, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> oneway.Run:
    config = override(small(), settings | {"steps": 6, "game.pixel": 0.0})
    return oneway.protect(pack, tmp_path_factory.mktemp("none") / "run", config, progress=False)


@every_defence
def test_at_strength_0_it_is_the_unprotected_run_to_the_bit(name: str, train: Train, undefended: oneway.Run) -> None:
    assert same(train("run", {"defence": name, strength(name): 0.0}), undefended)


@every_defence
def test_it_is_the_same_to_the_bit_under_a_seed_and_does_something(
    name: str, train: Train, undefended: oneway.Run
) -> None:
    one = train("one", {"defence": name})
    assert same(one, train("other", {"defence": name}))
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        defended, plain = (run.load().encoder(pictures) for run in (one, undefended))
    assert not torch.allclose(defended, plain, atol=1e-4)


@pytest.mark.parametrize("name", ["vib", "cem"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    name: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oneway.protection.train import Training

    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 5)  # steps between two checkpoints
    whole = train("whole", {"defence": name, "steps": 10})

    play = Training.play

    def stopped(self: Training) -> torch.Tensor:
        if self.step == 8:
            raise KeyboardInterrupt
        return play(self)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "play", stopped)
        with pytest.raises(KeyboardInterrupt):
            train("parts", {"defence": name, "steps": 10})
    assert same(whole, train("parts", {"defence": name, "steps": 10}, resume=True))


@every_defence
def test_a_configuration_survives_its_file(name: str) -> None:
    config = override(small(), {"defence": name, strength(name): "0.25"})
    assert isinstance(config.defence, classes()[name])
    assert config.defence.level == 0.25
    assert from_dict(ProtectConfig, to_dict(config)) == config


@pytest.mark.parametrize("name", EXTREME)
def test_at_a_strength_that_leaves_nothing_the_linear_attacker_draws_the_mean_picture(
    name: str, train: Train, pack: oneway.Pack, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    level, share = EXTREME[name]
    longer = {"steps": 60, "learning_rate": 1e-2} if name in ("vib", "cem") else {"steps": 4}
    run = train("run", {"defence": name, strength(name): level} | longer)
    fabric = launch(runtime)
    access = BlackBox(run.load().encoder, fabric, pack.size)
    place = Place(fabric=fabric, checkpoint=tmp_path / "none", checkpoint_seconds=0, progress=False)
    pairs = Pairs(access=access, fitted_on=access, public=pack.public)
    drawn = draw(linear.regress, pairs, pack.validation, place)
    public, held = (part.images(slice(0, len(part))) / 255 for part in (pack.public, pack.validation))
    floor = float(np.square(held - public.mean(axis=0)).mean())
    assert drawn.validation_error > share * floor


@every_defence
def test_a_strength_below_0_is_refused(name: str) -> None:
    with pytest.raises(oneway.InputError, match=rf"{strength(name)} must be .*not -1"):
        override(small(), {"defence": name, strength(name): -1.0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defence": "nopeak"}, "nopeek"),
        ({"defence.weight": 1.0}, "set defence=NAME first"),
        ({"defence": "nopeek", "defence.rate": 1.0}, "defence.rate"),
        ({"defence": "dropout", "defence.rate": 1.0}, "below 1"),
        ({"defence": "cem", "defence.deviation": 0.0}, "positive"),
        ({"defence": "cem", "defence.components": 0}, "at least 1"),
    ],
)
def test_what_is_no_defence_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        override(small(), changes)


def test_dropped_features_are_scaled_so_that_their_mean_stays() -> None:
    features = torch.rand(4000, 6, 2, 2) + 1
    for channels in (False, True):
        dropping = Dropping(nn.Identity(), 0.75, channels=channels)
        dropped = dropping(features)
        zeros = dropped == 0
        assert float(zeros.float().mean()) == pytest.approx(0.75, abs=0.01)
        torch.testing.assert_close(dropped[~zeros], 4 * features[~zeros])
        whole = zeros.flatten(2).all(dim=2) | ~zeros.flatten(2).any(dim=2)
        assert bool(whole.all()) is channels
        assert not torch.equal(dropping(features) == 0, zeros)


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    encoder = Stochastic(nn.Flatten(), 12)
    with torch.no_grad():
        encoder.log_variance.weight.normal_(0, 0.3)
    pictures = torch.rand(5, 3, 2, 2)
    features = encoder(pictures)
    flat = pictures.flatten(1)
    given = torch.distributions.Normal(encoder.mean(flat), (0.5 * encoder.log_variance(flat)).exp())
    expected = torch.distributions.kl_divergence(given, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(VIB(weight=2.0).penalty(encoder, pictures, features), 2 * expected)


def test_the_bound_of_the_mixture_is_the_capacity_where_all_is_one_gaussian() -> None:
    torch.manual_seed(0)
    mixed = Mixed(nn.Identity(), 0.5, 3 * 4 * 4, 1)
    pictures = torch.randn(4096, 3, 4, 4)
    for _ in range(200):
        mixed(pictures)  # the only centre goes to the mean
    # Normalised features have variance 1, so each number passes log(1 + 1 / 0.5**2) / 2 nats at most.
    assert float(mixed.information.detach()) == pytest.approx(0.5 * np.log(5), rel=0.01)


def test_kept_components_are_those_of_scikit_learn(pack: oneway.Pack) -> None:
    encoder = nn.Sequential(nn.AvgPool2d(8), nn.Flatten())
    projected = PCA(dropped=1 - 5 / 48).wrap(encoder, (48,))
    assert isinstance(projected, Projected)
    private = torch.from_numpy(pack.private.images(slice(0, len(pack.private)))).permute(0, 3, 1, 2) / 255
    assert torch.equal(projected(private), encoder(private))  # before it is told
    PCA().finish(projected, pack.private)
    flat = encoder(private).numpy()
    theirs = Components(5, svd_solver="full").fit(flat)
    expected = theirs.inverse_transform(theirs.transform(flat))
    np.testing.assert_allclose(projected.eval()(private).numpy(), expected, atol=1e-4)


def test_nopeek_pays_for_features_that_are_the_picture() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(32, 3, 4, 4)
    defence = NoPeek(weight=3.0)
    told, untold = (defence.penalty(nn.Identity(), pictures, given) for given in (pictures, torch.rand(32, 3, 4, 4)))
    assert told is not None
    assert untold is not None
    assert float(told) == pytest.approx(3.0, abs=1e-3)
    assert float(untold) < float(told)
