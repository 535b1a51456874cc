"""The feature-level attack: it beats the constant, by ridge and by network, and is the same under a seed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge

import oneway
from oneway.attacks import feature, kernel, linear
from oneway.attacks.access import Access, BlackBox, FeatureDump, all_features
from oneway.attacks.feature import FeatureConfig, predict, solve, together
from oneway.attacks.fit import Fitted, Place
from oneway.attacks.linear import PENALTIES
from oneway.attacks.linkage import normalise
from oneway.attacks.pairs import Pairs
from oneway.auditing.config import AuditConfig
from oneway.auditing.inference import GAINED, of_half_the_people, predicted
from oneway.data.packed import Private, Test
from oneway.judges.cache import known_features
from oneway.judges.verifier import Verifier
from oneway.metrics.identity import similarity
from oneway.runtime import launch

pytestmark = pytest.mark.whole

Known = dict[str, NDArray[np.float32]]
QUICK = FeatureConfig(width=8, batch_size=32, check_every=20, max_steps=80)


@pytest.fixture
def known(pack: oneway.Pack, verifier: Verifier, tmp_path: Path) -> Known:
    parts = (pack.public, pack.validation)
    return {part.split: known_features(verifier, part, tmp_path, progress=False) for part in parts}


@pytest.fixture
def place(runtime: oneway.RuntimeConfig, tmp_path: Path) -> Place:
    return Place(fabric=launch(runtime), checkpoint=tmp_path / "none", checkpoint_seconds=math.inf, progress=False)


def black_box(run: oneway.Run, runtime: oneway.RuntimeConfig) -> BlackBox:
    return BlackBox(run.load().encoder, launch(runtime), run.pack.size)


def learn(
    access: Access, pack: oneway.Pack, known: Known, config: FeatureConfig, place: Place
) -> Fitted[torch.nn.Module]:
    solved = solve(kernel.regress, pairs_of(access, pack), pack.validation, known).network
    return feature.learn(access, pack.public, pack.validation, known, solved, config, place)


def pairs_of(access: Access, pack: oneway.Pack) -> Pairs:
    return Pairs(access=access, fitted_on=access, public=pack.public)


def constant_error(known: Known) -> float:
    """Give the error of who always answers the mean public feature."""
    mean = known["public"].mean(axis=0)
    return float(1 - (known["validation"] @ (mean / np.linalg.norm(mean))).mean())


@pytest.mark.parametrize("name", ["early", "unprotected"])
def test_all_attackers_beat_the_constant(
    request: pytest.FixtureRequest,
    name: str,
    pack: oneway.Pack,
    known: Known,
    place: Place,
    runtime: oneway.RuntimeConfig,
) -> None:
    access = black_box(request.getfixturevalue(name), runtime)
    solved = solve(linear.regress, pairs_of(access, pack), pack.validation, known)
    bent = solve(kernel.regress, pairs_of(access, pack), pack.validation, known)
    learned = learn(access, pack, known, QUICK, place)
    for fitted in (solved, bent, learned):
        assert fitted.validation_error < 0.9 * constant_error(known)
        predicted = predict(access, fitted.network, pack.validation)
        np.testing.assert_allclose(np.linalg.norm(predicted, axis=1), 1, atol=1e-5)
        cosine = (predicted * known["validation"]).sum(axis=1)
        assert 1 - cosine.mean() == pytest.approx(fitted.validation_error, abs=1e-5)


def test_the_solution_is_that_of_ridge_regression(
    unprotected: oneway.Run, pack: oneway.Pack, known: Known, runtime: oneway.RuntimeConfig
) -> None:
    access = black_box(unprotected, runtime)
    solved = solve(linear.regress, pairs_of(access, pack), pack.validation, known)
    standardise = solved.network.standardise
    inputs, held = (
        standardise(torch.from_numpy(all_features(access, part))).flatten(1).double().numpy()
        for part in (pack.public, pack.validation)
    )
    unit = np.square(inputs - inputs.mean(axis=0)).sum(axis=1).mean()
    errors = []
    for penalty in PENALTIES:
        predicted = Ridge(alpha=penalty * unit).fit(inputs, known["public"]).predict(held)
        predicted /= np.linalg.norm(predicted, axis=1, keepdims=True)
        errors.append(1 - (predicted * known["validation"]).sum(axis=1).mean())
    assert solved.validation_error == pytest.approx(min(errors), abs=1e-4)


def test_the_attack_is_the_same_to_the_bit_under_a_seed_and_another_under_another(
    unprotected: oneway.Run, pack: oneway.Pack, known: Known, place: Place, runtime: oneway.RuntimeConfig
) -> None:
    access = black_box(unprotected, runtime)
    short = FeatureConfig(width=8, batch_size=32, check_every=10, max_steps=20)
    other = FeatureConfig(width=8, batch_size=32, check_every=10, max_steps=20, seed=1)
    one, two, three = (
        predict(access, learn(access, pack, known, config, place).network, pack.validation)
        for config in (short, short, other)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


def test_the_attacker_never_sees_the_private_people_and_trains_without_the_test_people(
    unprotected: oneway.Run,
    pack: oneway.Pack,
    known: Known,
    place: Place,
    runtime: oneway.RuntimeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seen(*_: object) -> None:
        raise AssertionError("a picture that the attacker must not see")

    for part in (Private, Test):
        monkeypatch.setattr(part, "images", seen, raising=False)
    access = black_box(unprotected, runtime)
    for regress in (linear.regress, kernel.regress):
        solve(regress, pairs_of(access, pack), pack.validation, known)
    short = FeatureConfig(width=8, batch_size=32, check_every=10, max_steps=10)
    assert learn(access, pack, known, short, place).steps == 10


def bent(pack: oneway.Pack) -> tuple[FeatureDump, Known]:
    """Vectors, and unit vectors whose angle is three times one of their numbers, beside others that mean nothing.

    A Gaussian kernel takes all of them for alike.
    """
    rng = np.random.default_rng(0)
    parts = (pack.public, pack.validation)
    told = {part.split: rng.normal(size=(len(part), 4)).astype(np.float32) for part in parts}
    angles = {split: 3 * vectors[:, :1] for split, vectors in told.items()}
    known = {split: np.concatenate([np.cos(angle), np.sin(angle)], axis=1) for split, angle in angles.items()}
    return FeatureDump(told, torch.device("cpu")), known


def test_a_network_of_vectors_goes_on_from_the_kernel_regression_and_finds_more(
    pack: oneway.Pack, place: Place
) -> None:
    access, known = bent(pack)
    solved = solve(kernel.regress, pairs_of(access, pack), pack.validation, known)
    untrained = feature.Corrected(solved.network, 2, hidden=8)
    np.testing.assert_allclose(
        predict(access, untrained, pack.validation), predict(access, solved.network, pack.validation), atol=1e-6
    )
    before = {name: value.clone() for name, value in solved.network.state_dict().items()}
    config = FeatureConfig(batch_size=32, check_every=100, max_steps=1000)
    learned = feature.learn(access, pack.public, pack.validation, known, solved.network, config, place)
    assert isinstance(learned.network, feature.Corrected)
    assert learned.validation_error < 0.9 * solved.validation_error
    for name, value in solved.network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_killed_attack_on_stored_vectors_resumes_to_the_uninterrupted_one_to_the_bit(
    pack: oneway.Pack, place: Place, tmp_path: Path
) -> None:
    access, known = bent(pack)
    half, whole = (FeatureConfig(width=4, batch_size=32, check_every=10, max_steps=steps) for steps in (20, 40))
    kept = replace(place, checkpoint=tmp_path / "kept.safetensors", checkpoint_seconds=0)
    learn(access, pack, known, half, kept)
    assert kept.checkpoint.exists()
    torch.manual_seed(1)  # whatever the caller draws
    resumed, straight = learn(access, pack, known, whole, kept), learn(access, pack, known, whole, place)
    assert resumed.steps == straight.steps == 40
    np.testing.assert_array_equal(*(predict(access, one.network, pack.validation) for one in (resumed, straight)))


def test_a_network_of_no_width_is_refused() -> None:
    with pytest.raises(oneway.InputError, match="width must be at least 1, not 0"):
        FeatureConfig(width=0)


def test_predictions_are_added_up_by_least_squares_and_a_constant_by_what_it_is_worth() -> None:
    generator = np.random.default_rng(0)
    known = {split: normalise(generator.normal(size=(200, 6)) + 1) for split in ("validation", "test")}
    constant = np.full(6, 6**-0.5, dtype=np.float32)
    # Two see the truth through noise of their own, the third sees nothing.
    predictions = {
        split: [normalise(vectors + generator.normal(size=vectors.shape)) for _ in range(2)]
        + [normalise(generator.normal(size=vectors.shape))]
        for split, vectors in known.items()
    }
    mixed = together(predictions, constant, known["validation"])
    for split, several in predictions.items():
        alone = [float(similarity(one, known[split]).mean()) for one in [*several, np.tile(constant, (200, 1))]]
        assert float(similarity(mixed[split], known[split]).mean()) > max(alone) + 0.02
    columns = np.stack([*predictions["validation"], np.tile(constant, (200, 1))]).reshape(4, -1).T
    expected = LinearRegression(fit_intercept=False).fit(columns, known["validation"].reshape(-1))
    total = expected.predict(columns).reshape(200, 6)
    np.testing.assert_allclose(mixed["validation"], normalise(total), atol=1e-5)


def test_half_of_the_people_are_whole_people(pack: oneway.Pack) -> None:
    public, chosen = pack.public, of_half_the_people(pack.public, 3)
    people = np.unique(public.identities[chosen])
    np.testing.assert_array_equal(chosen, np.flatnonzero(np.isin(public.identities, people)))
    assert len(people) == -(-public.num_people // 2)
    assert set(people) != set(np.unique(public.identities[of_half_the_people(pack.public, 4)]))


@pytest.mark.parametrize("learnable", [True, False], ids=["what more pictures teach", "what no picture teaches"])
def test_what_the_second_half_of_the_people_gave_is_what_it_taught(
    learnable: bool, people: oneway.Pack, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 400 numbers a linear map tells the judge's 8, and it is learnt the better the more pictures there are."""
    generator, parts = np.random.default_rng(0), (people.public, people.validation, people.test)
    mixed = generator.normal(size=(400, 8))
    told = {part.split: generator.normal(size=(len(part), 400)).astype(np.float32) for part in parts}
    shown = {
        split: features @ mixed if learnable else generator.normal(size=(len(features), 8))
        for split, features in told.items()
    }
    seen = {split: normalise(vectors).astype(np.float32) for split, vectors in shown.items()}
    dump = FeatureDump(told, place.fabric.device)
    stolen = SimpleNamespace(access=dump, pairs=lambda public, seed: pairs_of(dump, people))
    context: Any = SimpleNamespace(pack=people, stolen=stolen, config=AuditConfig(feature=QUICK))
    judge: Any = SimpleNamespace(verifier=True, known=lambda part: seen[part.split], key=lambda name: name)
    gained = predicted(context, place, judge, {}).arrays[GAINED]
    assert GAINED not in predicted(context, place, judge, {}, halved=False).arrays
    monkeypatch.setattr("oneway.auditing.inference.of_half_the_people", lambda public, _: np.arange(len(public)))
    assert GAINED not in predicted(context, place, judge, {}).arrays, "of one person there is no half"
    assert gained.shape == (len(people.test),)
    assert gained.mean() > 0.05 if learnable else abs(gained.mean()) < 0.1, gained.mean()
