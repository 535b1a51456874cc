"""Attacks and audits of encoders that draw at random, killed after every file that they write: the same to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import oneway
from conftest import RUNTIME, Once
from oneway.attacks.feature import FeatureConfig
from oneway.attacks.inference import InferenceConfig
from oneway.attacks.information import InformationConfig
from oneway.attacks.inversion import InversionConfig
from oneway.attacks.optimisation import OptimisationConfig
from oneway.attacks.panel import attackers, trained
from oneway.auditing.config import AuditConfig
from oneway.auditing.steps import Steps
from oneway.auditing.victim import from_run
from oneway.config import to_dict
from oneway.data.packed import Pack
from oneway.data.source import synthetic_source
from oneway.models.noise import Noisy
from oneway.report.values import SCHEMA
from oneway.runtime import launch
from oneway.storage.runs import read_json, write_json

pytestmark = pytest.mark.whole

SHORT: dict[str, Any] = {"check_every": 2, "max_steps": 4}
CONFIG = AuditConfig(
    attackers=("mirror",),
    queries=(20,),
    draws=2,
    seed=3,
    feature=FeatureConfig(width=4, **SHORT),
    inference=InferenceConfig(width=4, **SHORT),
    information=InformationConfig(width=4, outputs=8, batch_size=16, **SHORT),
    optimisation=OptimisationConfig(steps=2, num_pictures=4),
    runtime=RUNTIME,
)


class KilledError(BaseException):
    """Ends an audit where SIGKILL would."""


class Own(nn.Module):
    """Noise that is not ours, of torch's own generator."""

    def forward(self, features: Tensor) -> Tensor:
        return features + 0.1 * torch.randn_like(features)


class Colours:
    """Judges faces by their colours in large."""

    name, fingerprint = "colours", "colours of nine places"

    def __call__(self, pictures: Tensor, _: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        coarse = nn.functional.adaptive_avg_pool2d(pictures.cpu(), 3).flatten(1)
        return nn.functional.normalize(coarse - coarse.mean(dim=1, keepdim=True)).numpy()


@pytest.fixture(scope="module")
def few(once: Once) -> Pack:
    """As few people as an audit takes: 50 to test."""
    source = synthetic_source(250, 2, 3)
    return Pack.open(once("few", lambda path: oneway.prepare(source, path, size=16, jobs=1, progress=False)))


def kill_after_every_file(work: Callable[[bool], object], folder: Path, patch: pytest.MonkeyPatch) -> int:
    """Do the work, and kill it after every step, record and checkpoint, and resume; gives the number of kills."""
    seen: set[tuple[str, bytes]] = set()
    replace = os.replace

    def replace_and_die(source: Path, target: Path) -> None:
        written = (str(target), source.read_bytes() if target.suffix == ".safetensors" else b"")
        replace(source, target)
        if written not in seen and target.suffix in (".json", ".npy", ".safetensors") and target.name != "results.json":
            seen.add(written)
            raise KilledError

    with patch.context() as patched:
        patched.setattr(os, "replace", replace_and_die)
        while True:
            try:
                work((folder / "config.json").exists())
            except KilledError:
                continue
            return len(seen)


def figures(results: dict[str, Any]) -> dict[str, Any]:
    """Leave out of results what the clock says."""
    return {
        name: figures(value) if isinstance(value, dict) else value
        for name, value in results.items()
        if name not in ("seconds", "provenance")
    }


def test_an_audit_of_a_noisy_encoder_is_the_same_wherever_it_is_killed(
    few: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        victim = nn.Sequential(Noisy(nn.Conv2d(3, 4, 4, stride=4), 0.5), Own())
    small = trained("mirror", InversionConfig(width=0.25, batch_size=8, **SHORT), few=True)
    monkeypatch.setattr("oneway.auditing.measures.attackers", lambda: attackers() | {"mirror": small})

    def audit(name: str, *, resume: bool) -> oneway.AuditReport:
        return oneway.audit(
            victim,
            data=few,
            out=tmp_path / name,
            config=CONFIG,
            verifier=Colours(),
            images=False,
            resume=resume,
            progress=False,
        )

    straight = audit("straight", resume=False)
    kills = kill_after_every_file(lambda begun: audit("killed", resume=begun), tmp_path / "killed", monkeypatch)
    assert kills > 25
    killed = read_json(tmp_path / "killed" / "results.json")
    assert straight.victim.noisy
    assert figures(killed) == figures(to_dict(straight))
    with np.load(tmp_path / "straight" / "scores.npz") as ours, np.load(tmp_path / "killed" / "scores.npz") as theirs:
        assert ours.files == theirs.files
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize("schema", [SCHEMA - 1, None], ids=["of before", "that said none"])
def test_steps_of_another_layout_of_results_are_not_taken_for_those_of_now(
    few: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: int | None
) -> None:
    given: dict[str, Any] = {"data": few, "out": tmp_path, "config": CONFIG, "verifier": Colours(), "progress": False}
    take = Steps.take

    def dying(self: Steps, name: str, make: Any) -> Any:
        take(self, name, make)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", dying)
        with pytest.raises(KilledError):
            oneway.audit(nn.AvgPool2d(4), **given)
    begun = read_json(tmp_path / "config.json")
    assert begun.pop("schema") == SCHEMA
    write_json(tmp_path / "config.json", begun if schema is None else begun | {"schema": schema})
    kept = {path: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    with pytest.raises(oneway.InputError, match=r"by a version of oneway whose results have .*or delete the folder"):
        oneway.audit(nn.AvgPool2d(4), resume=True, **given)
    assert kept
    assert {path: path.read_bytes() for path in (tmp_path / "parts").iterdir()} == kept


def test_an_attack_on_a_noisy_run_is_the_same_wherever_it_is_killed(
    make_run: Callable[..., oneway.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("noisy", {"network.noise": 1.0, "steps": 2})
    config = InversionConfig(width=0.25, check_every=2, max_steps=6, keep=True)

    def attack(name: str, *, resume: bool) -> oneway.AuditReport:
        return oneway.attack(run, tmp_path / name, config, runtime=RUNTIME, resume=resume, progress=False)

    straight = attack("straight", resume=False)
    assert kill_after_every_file(lambda begun: attack("killed", resume=begun), tmp_path / "killed", monkeypatch) > 5
    assert figures(read_json(tmp_path / "killed" / "results.json")) == figures(to_dict(straight))
    for name in ("attacker.onnx", "shown.npy"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


def test_what_a_noisy_run_decides_is_a_function_of_the_audits_seed(make_run: Callable[..., oneway.Run]) -> None:
    run = make_run("noisy", {"network.noise": 1.0, "steps": 2})
    first, second, other = (from_run(run, launch(RUNTIME), seed=seed).decisions for seed in (0, 0, 1))
    assert first is not None
    assert second is not None
    assert other is not None
    for split, decided in first.items():
        np.testing.assert_array_equal(decided, second[split])
        assert not np.array_equal(decided, other[split])
