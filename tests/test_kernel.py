"""The kernel attacker: the textbook's solution, of what no plane holds, through noise, and nothing of nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oneway
from conftest import RUNTIME
from oneway.attacks import kernel, linear
from oneway.attacks.access import FeatureDump
from oneway.attacks.components import draw
from oneway.attacks.fit import Place
from oneway.attacks.pairs import Index, Pairs
from oneway.data.batches import load, mean_picture
from oneway.runtime import launch

CPU = torch.device("cpu")


class Noisily:
    """Stored features that get new Gaussian noise whenever they are asked for, as a noisy encoder's do."""

    mirrors, device, queries = False, CPU, 0

    def __init__(self, stored: dict[str, np.ndarray], noise: float) -> None:
        self._dump, self._noise, self.shape = FeatureDump(stored, CPU), noise, (stored["public"].shape[1],)
        self._generator = torch.Generator().manual_seed(0)

    def features(self, part: oneway.data.packed.Part, index: Index, mirrored: object = None) -> Tensor:
        clean = self._dump.features(part, index)
        return clean + self._noise * torch.randn(clean.shape, generator=self._generator)


def place() -> Place:
    return Place(fabric=launch(RUNTIME), checkpoint=Path("none"), progress=False)


def dump(pack: oneway.Pack, make: object) -> dict[str, np.ndarray]:
    return {part.split: make(part) for part in (pack.public, pack.validation)}  # type: ignore[operator]


def pairs_of(access: object, pack: oneway.Pack, **options: object) -> Pairs:
    return Pairs(access=access, fitted_on=access, public=pack.public, **options)  # type: ignore[arg-type]


def of_curve(pack: oneway.Pack) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Give points of the plane, and how far from the middle each lies, which no linear map tells."""
    generator = np.random.default_rng(0)
    points = dump(pack, lambda part: generator.normal(size=(len(part), 2)).astype(np.float32))
    return points, {split: np.square(values).sum(axis=1, keepdims=True) for split, values in points.items()}


def regressed(
    module: object, access: object, known: dict[str, np.ndarray], pack: oneway.Pack, **options: object
) -> float:
    """Give the share of the variance of validation people's numbers that is not predicted."""
    wanted = torch.from_numpy(known["validation"])

    def error(network: nn.Module) -> float:
        features = access.features(pack.validation, slice(None))  # type: ignore[attr-defined]
        return float((network(features) - wanted).square().mean() / wanted.var())

    def targets(index: Index, _: object) -> Tensor:
        return torch.from_numpy(known["public"])[torch.from_numpy(index)]

    return float(module.regress(pairs_of(access, pack, **options), targets, error)[1])  # type: ignore[attr-defined]


def test_with_a_function_around_every_picture_it_is_kernel_ridge_regression_with_an_intercept(
    pack: oneway.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    penalty = 1e-3
    monkeypatch.setattr(kernel, "PENALTIES", np.array([penalty]))
    points, known = of_curve(pack)
    access = FeatureDump(points, CPU)
    solved: list[np.ndarray] = []

    def error(network: nn.Module) -> float:
        solved.append(network(access.features(pack.validation, slice(None))).numpy())
        return 1.0

    kernel.regress(pairs_of(access, pack), lambda index, _: torch.from_numpy(known["public"][index]), error)
    scaled = {
        split: (values - points["public"].mean(axis=0)) / points["public"].std(axis=0)
        for split, values in points.items()
    }
    theirs, held, count = scaled["public"].astype(np.float64), scaled["validation"].astype(np.float64), len(pack.public)
    distance, power = 2 * theirs.var(axis=0, ddof=1).sum(), np.square(theirs).sum(axis=1).mean()

    def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        apart = np.square(one[:, None] - other[None]).sum(axis=2)
        return np.exp(-apart / distance) + kernel.LINEAR * one @ other.T / power

    # Least squares with a penalty on the function's norm and none on the intercept: one linear system (LS-SVM).
    system = np.ones((count + 1, count + 1))
    system[:count, :count] = between(theirs, theirs) + count * penalty * np.eye(count)
    system[count, count] = 0
    weights = np.linalg.solve(system, np.append(known["public"][:, 0], 0.0))
    expected = between(held, theirs) @ weights[:count] + weights[count]
    np.testing.assert_allclose(solved[0][:, 0], expected, atol=0.02)


def test_what_lies_in_mixtures_of_little_power_is_told_as_well(
    pack: oneway.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    hidden = dump(pack, lambda part: generator.normal(size=(len(part), 6)))
    turn = np.linalg.qr(generator.normal(size=(6, 6)))[0] * np.logspace(0, -3, 6)
    known = {split: (values[:, 3:4] * values[:, 4:5]).astype(np.float32) for split, values in hidden.items()}

    def told(way: np.ndarray) -> float:
        shown = {split: (values @ way).astype(np.float32) for split, values in hidden.items()}
        return regressed(kernel, FeatureDump(shown, CPU), known, pack)

    plain, mixed = told(np.eye(6)), told(turn.T)
    assert plain < 0.5
    assert mixed < 1.3 * plain
    each = kernel._scales
    monkeypatch.setattr(kernel, "_scales", lambda shape, seen: [next(iter(each(shape, seen)))])
    assert told(turn.T) > 1.5 * mixed, "channel by channel most of it is lost"


def test_what_no_plane_holds_is_told(pack: oneway.Pack) -> None:
    points, known = of_curve(pack)
    access = FeatureDump(points, CPU)
    assert regressed(kernel, access, known, pack) < 0.1
    assert regressed(linear, access, known, pack) > 0.9


def test_more_answers_make_up_for_noise(pack: oneway.Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    points, known = of_curve(pack)
    once = regressed(kernel, Noisily(points, 1.0), known, pack)
    monkeypatch.setattr(kernel, "PASSES", 32)
    often = regressed(kernel, Noisily(points, 1.0), known, pack, noisy=True)
    assert often < once < 1.0


def test_features_that_say_nothing_give_the_mean_picture(pack: oneway.Pack) -> None:
    generator = np.random.default_rng(0)
    access = FeatureDump(dump(pack, lambda part: generator.normal(size=(len(part), 64)).astype(np.float32)), CPU)
    pictures = load(pack.validation, slice(None))
    floor = float((pictures - mean_picture(pack.public, CPU)).square().mean())
    found = draw(kernel.regress, pairs_of(access, pack), pack.validation, place())
    assert 0.95 * floor < found.validation_error < 1.1 * floor


def test_features_that_never_vary_give_the_mean_picture(pack: oneway.Pack) -> None:
    access = FeatureDump(dump(pack, lambda part: np.ones((len(part), 8), np.float32)), CPU)
    found = draw(kernel.regress, pairs_of(access, pack), pack.validation, place())
    drawn = found.network(torch.ones(1, 8))
    assert float((drawn - mean_picture(pack.public, CPU)).abs().max()) < 0.02


@pytest.mark.parametrize("factor", [1e-4, -1.0, 1e4])
def test_neither_scale_nor_sign_of_the_features_matters(pack: oneway.Pack, factor: float) -> None:
    points, known = of_curve(pack)
    plain = regressed(kernel, FeatureDump(points, CPU), known, pack)
    other = {split: values * np.float32(factor) for split, values in points.items()}
    assert regressed(kernel, FeatureDump(other, CPU), known, pack) == pytest.approx(plain, rel=0.05)


def test_few_pairs_are_enough_to_be_solved(pack: oneway.Pack) -> None:
    points, known = of_curve(pack)
    few = regressed(kernel, FeatureDump(points, CPU), known, pack, rows=np.arange(10))
    many = regressed(kernel, FeatureDump(points, CPU), known, pack, rows=np.arange(len(pack.public)))
    assert many < few


@pytest.mark.parametrize("mirrors", [True, False])
def test_some_public_pictures_are_sent_mirrored_too_unless_the_attacker_has_them_not(
    pack: oneway.Pack, mirrors: bool
) -> None:
    sent: list[tuple[int, bool]] = []

    class Answering:
        queries, shape, device, mirrors = 0, (2,), CPU, True

        def features(self, part: oneway.data.packed.Part, index: Index, mirrored: np.ndarray | None = None) -> Tensor:
            sent.extend((int(row), mirrored is not None) for row in np.arange(len(part))[index])
            return torch.from_numpy(np.random.default_rng(0).normal(size=(len(np.arange(len(part))[index]), 2))).float()

    rows = np.arange(0, len(pack.public), 2)
    pairs = pairs_of(Answering(), pack, rows=rows, mirrors=mirrors)
    kernel.regress(pairs, lambda index, _: torch.zeros(len(index), 1), lambda _: 1.0)
    assert {row for row, turned in sent if not turned} == set(rows)
    assert {row for row, turned in sent if turned} == (set(rows) if mirrors else set())


def test_centres_are_drawn_at_random_from_the_pictures_that_the_attacker_has(pack: oneway.Pack) -> None:
    rows = np.arange(4, len(pack.public))
    chosen = pairs_of(FeatureDump(of_curve(pack)[0], CPU), pack, rows=rows).chosen(len(rows) // 2)
    assert set(chosen) < set(rows)
    assert (np.diff(chosen) > 0).all()
    assert chosen[-1] > rows[len(rows) // 2], "not the first ones"
