"""Features by a renewed encoder are worth what they are worth to who has those by the old one, and no less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oneway
from conftest import RUNTIME
from dumps import write_dump
from oneway.attacks.access import BlackBox
from oneway.attacks.renewal import Together
from oneway.auditing.attack_results import linkage_of
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.renewal import drawn, linked, open_other, within
from oneway.auditing.stealing import steal
from oneway.auditing.steps import StepResult, Steps, refused
from oneway.auditing.victim import Victim, from_dump, from_module
from oneway.judges.judge import Judge
from oneway.models.noise import Noisy
from oneway.report.values import AttackResult
from oneway.runtime import launch

pytestmark = pytest.mark.whole

CONFIG = AuditConfig(attackers=("mirror",), steps=20, draws=4, runtime=RUNTIME)
FABRIC = launch(RUNTIME)


class Half(nn.Module):
    """Gives one half of a small picture: its numbers, turned by a random matrix of a seed, or as a map."""

    def __init__(self, seed: int | None, columns: slice) -> None:
        super().__init__()
        self.columns, self.pool = columns, nn.AvgPool2d(4)
        generator = torch.Generator().manual_seed(seed or 0)
        self.seed = seed
        self.register_buffer("turn", torch.linalg.qr(torch.randn(192, 192, generator=generator))[0])

    turn: Tensor

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.pool(pictures)[..., self.columns]
        if self.seed is None:
            return seen
        flat = seen.flatten(1)
        return flat @ self.turn[: flat.shape[1]]


ALL, LEFT, RIGHT = slice(0, 8), slice(0, 4), slice(4, 8)


def context_of(people: oneway.Pack, folder: Path, this: nn.Module, other: Victim | nn.Module) -> AuditContext:
    victim = from_module(this, "output", people, FABRIC)
    second = other if isinstance(other, Victim) else from_module(other, "output", people, FABRIC)
    return AuditContext(
        victim=victim,
        stolen=steal(victim, FABRIC, folder / "features", draws=4, seed=0, progress=False),
        judges=(Judge(people.test, people.validation, None),),
        config=CONFIG,
        steps=Steps(folder, FABRIC, checkpoint_seconds=60, progress=False),
        other=second,
    )


def across(context: AuditContext) -> AttackResult:
    return linkage_of(context.steps.take("renewal", lambda place: linked(context, place, {"feature": StepResult()})))


def alone(context: AuditContext) -> AttackResult:
    return linkage_of(context.steps.take("within", lambda place: within(context, place)))


def rank(result: AttackResult) -> float:
    found = result.scores["rank_1"]
    assert found is not None
    return found.value


@pytest.mark.parametrize("seed", [0, 1], ids=["the same encoder", "its features turned"])
def test_an_encoder_that_is_only_turned_is_linked_as_within_one(people: oneway.Pack, tmp_path: Path, seed: int) -> None:
    context = context_of(people, tmp_path, Half(0, ALL), Half(seed, ALL))
    theirs, ours = across(context), alone(context)
    assert rank(ours) > 0.2
    assert rank(theirs) == pytest.approx(rank(ours), abs=0.03)
    for name in ("d_sys", "maximal_linkability"):
        one, other = theirs.scores[name], ours.scores[name]
        assert one is not None
        assert other is not None
        assert one.value == pytest.approx(other.value, abs=0.05)
        assert one.low > float(theirs.facts[f"{name}_floor"])


def test_features_that_say_nothing_are_linked_to_nobody(people: oneway.Pack, tmp_path: Path) -> None:
    parts = (people.public, people.validation, people.test)
    nothing = np.random.default_rng(0).normal(size=(sum(map(len, parts)), 24)).astype(np.float32)
    write_dump(tmp_path / "dump.npz", [name for part in parts for name in part.names], nothing)
    context = context_of(people, tmp_path, Half(0, ALL), from_dump(tmp_path / "dump.npz", people))
    found = across(context)
    assert rank(found) < 0.04, "a hundred people"
    for name in ("d_sys", "maximal_linkability"):
        value = found.scores[name]
        assert value is not None
        assert value.value < float(found.facts[f"{name}_floor"]) + 0.1
    rate = found.scores["tar_at_far_1e-2"]
    assert rate is not None
    assert rate.value < 0.05


def test_both_together_give_what_one_encoder_gives_that_sends_both(people: oneway.Pack, tmp_path: Path) -> None:
    def error(name: str, this: nn.Module, other: nn.Module, *, both: bool = False) -> float:
        context = context_of(people, tmp_path / name, this, other)
        return float(context.steps.take(name, lambda place: drawn(context, place, both=both)).arrays["mse"].mean())

    left, right, whole = (
        error(name, Half(None, ALL if part is LEFT else LEFT), Half(None, part))
        for name, part in (("left", LEFT), ("right", RIGHT), ("whole", ALL))
    )
    both = error("both", Half(None, LEFT), Half(None, RIGHT), both=True)
    assert both == pytest.approx(whole, rel=0.05), "the same numbers, in other channels"
    assert both < 0.9 * min(left, right)


def test_what_two_encoders_send_is_one_behind_the_other(people: oneway.Pack) -> None:
    maps = [BlackBox(Half(None, part), FABRIC, people.size) for part in (LEFT, RIGHT)]
    flat = BlackBox(Half(1, ALL), FABRIC, people.size)
    index = np.array([3, 0])
    mirrored = np.array([True, False])
    one, two = (each.features(people.test, index, mirrored) for each in maps)
    joined = Together(maps)
    assert (joined.shape, joined.mirrors) == ((6, 8, 4), True)
    assert torch.equal(joined.features(people.test, index, mirrored), torch.cat([one, two], dim=1))
    unlike = Together((maps[0], flat))
    assert unlike.shape == (3 * 8 * 4 + 192,)
    assert torch.equal(unlike.features(people.test, index)[:, 96:], flat.features(people.test, index))


def test_the_noise_of_two_encoders_is_not_the_same(people: oneway.Pack, tmp_path: Path) -> None:
    context = context_of(people, tmp_path, Noisy(Half(0, ALL), 5.0), Noisy(Half(0, ALL), 5.0))
    context.steps.take("other", lambda place: drawn(context, place, both=False))
    assert context.other is not None
    ours = context.stolen.access.features(people.test, slice(None)).numpy()
    theirs = np.load(tmp_path / "features" / "renewed" / "single" / "test.npy")
    assert ours.shape == theirs.shape
    assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) < 0.05
    with context.seeded("a step"):
        live = [context.stolen.access.features(people.public, np.arange(64)).numpy()]
        live.append(BlackBox(context.other.encoder, FABRIC, 32).features(people.public, np.arange(64)).numpy())  # type: ignore[arg-type]
    assert abs(np.corrcoef(live[0].ravel(), live[1].ravel())[0, 1]) < 0.05


def test_the_audited_encoder_is_no_renewed_one(people: oneway.Pack, tmp_path: Path) -> None:
    parts = (people.public, people.validation, people.test)
    names = [name for part in parts for name in part.names]
    numbers = np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float32)
    for path in ("one.npz", "two.npz"):
        write_dump(tmp_path / path, names, numbers)
    victim = from_dump(tmp_path / "one.npz", people)
    assert open_other(CONFIG, victim, FABRIC) is None

    def given(name: str) -> AuditConfig:
        return replace(CONFIG, renewed=str(tmp_path / name))

    with pytest.raises(oneway.InputError, match=r"two\.npz' is the audited encoder itself, so nothing was renewed"):
        open_other(given("two.npz"), victim, FABRIC)
    with pytest.raises(oneway.InputError, match=r"renewed = .*absent' does not exist; give the folder of another"):
        open_other(given("absent"), victim, FABRIC)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(oneway.InputError, match=r"text\.onnx"):
        open_other(given("text.onnx"), victim, FABRIC)
    write_dump(tmp_path / "three.npz", names, numbers + 1)
    opened = open_other(given("three.npz"), victim, FABRIC)
    assert opened is not None
    assert opened.name == "three.npz"


def test_without_another_encoder_nothing_is_said_of_renewal(people: oneway.Pack, tmp_path: Path) -> None:
    context = replace(context_of(people, tmp_path, Half(0, ALL), Half(1, ALL)), other=None)
    place: Any = None
    assert linked(context, place, {}) == refused(
        "no other encoder was given; train one with another seed, and give --set renewed=OTHER_RUN"
    )
