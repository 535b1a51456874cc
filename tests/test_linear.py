"""The linear attacker: exact where the encoder is linear, at the mean face where features say nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks import linear
from oneway.attacks.access import Access, BlackBox, FeatureDump, all_features
from oneway.attacks.components import ComponentDecoder, draw
from oneway.attacks.fit import Fitted, Place
from oneway.attacks.pairs import Pairs
from oneway.data.batches import load, mean_picture
from oneway.data.packed import Part
from oneway.models.noise import Noisy
from oneway.models.seeded import seeded
from oneway.runtime import launch

pytestmark = pytest.mark.whole


def flat(part: Part) -> np.ndarray:
    return load(part, slice(None)).flatten(1).numpy()


def error(pack: oneway.Pack, drawn: np.ndarray) -> float:
    return float(((drawn - flat(pack.validation)) ** 2).mean())


def undo(access: Access, pack: oneway.Pack) -> Fitted[ComponentDecoder]:
    place = Place(fabric=launch(RUNTIME), checkpoint=Path("none"), progress=False)
    return draw(linear.regress, Pairs(access=access, fitted_on=access, public=pack.public), pack.validation, place)


def floor(pack: oneway.Pack) -> float:
    return error(pack, mean_picture(pack.public, torch.device("cpu")).flatten(1).numpy())


def test_a_linear_encoder_is_undone(pack: oneway.Pack, runtime: oneway.RuntimeConfig) -> None:
    torch.manual_seed(0)
    encoder = nn.Conv2d(3, 12, 2, stride=2)
    found = undo(BlackBox(encoder, launch(runtime), pack.size), pack)
    assert found.validation_error < 0.15 * floor(pack)


def test_it_is_the_ridge_regression_of_scikit_learn(
    pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "PENALTIES", np.array([0.1]))
    access = BlackBox(early.load().encoder, launch(runtime), pack.size)
    found = undo(access, pack)
    features, held = (
        found.network.read.standardise(torch.from_numpy(all_features(access, part))).flatten(1).numpy()
        for part in (pack.public, pack.validation)
    )
    centred = features - features.mean(axis=0)
    ridge = Ridge(alpha=0.1 * float((centred**2).sum(axis=1).mean())).fit(features, flat(pack.public))
    theirs = np.clip(ridge.predict(held), 0, 1)
    with torch.no_grad():
        ours = found.network(torch.from_numpy(all_features(access, pack.validation))).flatten(1).numpy()
    # Ours predicts 188 principal components of the pictures, of which there are no more but one.
    assert np.abs(ours - theirs).max() < 0.02
    assert found.validation_error == pytest.approx(error(pack, ours), rel=1e-4)


def test_features_that_say_nothing_give_the_mean_picture(pack: oneway.Pack) -> None:
    generator = np.random.default_rng(0)
    parts = (pack.public, pack.validation)
    dump = FeatureDump(
        {part.split: generator.normal(size=(len(part), 64)).astype(np.float32) for part in parts}, torch.device("cpu")
    )
    found = undo(dump, pack)
    assert 0.95 * floor(pack) < found.validation_error < 1.15 * floor(pack)


def test_neither_scale_nor_sign_of_the_features_matters(
    pack: oneway.Pack, early: oneway.Run, runtime: oneway.RuntimeConfig
) -> None:
    access = BlackBox(early.load().encoder, launch(runtime), pack.size)
    stored = {part.split: all_features(access, part) for part in (pack.public, pack.validation)}
    plain = undo(FeatureDump(stored, access.device), pack)
    for factor in (1e-4, -1.0, 1e4):
        other = FeatureDump({name: values * factor for name, values in stored.items()}, access.device)
        found = undo(other, pack)
        assert found.validation_error == pytest.approx(plain.validation_error, rel=1e-2)


def test_who_asks_often_before_he_steals_once_draws_better_through_noise(
    pack: oneway.Pack, runtime: oneway.RuntimeConfig
) -> None:
    torch.manual_seed(0)
    noisy = Noisy(nn.Sequential(nn.Conv2d(3, 12, 4, stride=4), nn.Flatten(), nn.LazyLinear(256)), 2.0)
    with torch.no_grad():
        noisy.encoder(torch.zeros(1, 3, pack.size, pack.size))
    once, often = (BlackBox(noisy, launch(runtime), pack.size, draws=draws) for draws in (1, 32))
    found = {}
    for name, fitted_on in (("once", once), ("often", often)):
        place = Place(fabric=launch(RUNTIME), checkpoint=Path("none"), progress=False)
        with seeded(noisy, 0):
            pairs = Pairs(access=once, fitted_on=fitted_on, public=pack.public, noisy=True)
            found[name] = draw(linear.regress, pairs, pack.validation, place).validation_error
    assert found["often"] < 0.9 * found["once"] < 0.9 * floor(pack)
