"""A refactor proves itself: on drawn faces and one processor, every figure is what it was, to the bit.

`pytest -m slow tests/test_golden.py` compares; with ONEWAY_RECORD=1 it records instead, where a change of figures is
meant. Sums of floating-point numbers depend on the processor's vector instructions and on torch's version, so figures
are kept for each that they were recorded on, and are compared on no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

import oneway
from conftest import RUNTIME
from dumps import write_dump
from oneway import demo
from oneway.attacks.feature import FeatureConfig
from oneway.attacks.information import InformationConfig
from oneway.attacks.optimisation import OptimisationConfig
from oneway.auditing.config import AuditConfig
from oneway.judges.verifier import Verifier
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.experiment import experiment
from oneway.storage.runs import read_json
from oneway.sweep.benchmark import DefencesConfig, compare_defences

pytestmark = pytest.mark.slow

MACHINE = f"{torch.backends.cpu.get_cpu_capability().lower()}-torch{torch.__version__.partition('+')[0]}"
FOLDER = Path(__file__).parent / "golden"
APART = ("seconds", "provenance", "schema")
"""What a results file holds beside figures: times, and where and by what it was made."""
Tiny = Callable[..., oneway.ProtectConfig]
AUDIT = AuditConfig(
    attackers=("mirror", "residual"),
    queries=(60,),
    steps=20,
    information=InformationConfig(batch_size=48),
    optimisation=OptimisationConfig(steps=10, num_pictures=8),
    runtime=RUNTIME,
)
BRIEF = replace(AUDIT, attackers=("mirror",), brief=True, feature=FeatureConfig(width=4, batch_size=32))


def figures(found: Any, path: str = "") -> dict[str, float]:
    """Every number of a results file, by where it stands."""
    if isinstance(found, dict):
        inside = [(f"{path}/{name}", value) for name, value in found.items() if name not in APART]
    elif isinstance(found, list):
        inside = [(f"{path}/{place}", value) for place, value in enumerate(found)]
    else:
        number = isinstance(found, int | float) and not isinstance(found, bool)
        return {path: found} if number else {}
    return {name: value for below, each in inside for name, value in figures(each, below).items()}


def hold(name: str, *folders: Path) -> None:
    """Compare the figures of finished folders with those recorded, or record them."""
    now = {folder.name: figures(read_json(folder / "results.json")) for folder in folders}
    assert all(len(each) > 5 for each in now.values())
    path = FOLDER / f"{name}-{MACHINE}.json"
    if os.environ.get("ONEWAY_RECORD"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(json.dumps(now, indent=0) + "\n", encoding="utf-8")
    if not path.exists():
        pytest.skip(f"no figures were recorded for {MACHINE}; record them before the change, with ONEWAY_RECORD=1")
    assert now == json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def _one_processor() -> Iterator[None]:
    """Sums of several threads are not those of one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def noisy(people: oneway.Pack, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> oneway.Run:
    """A run by the recommended recipe, cut short: a bottleneck and noise, and the game."""
    config = tiny({"steps": 20, "network.bottleneck": 16, "network.noise": 1.0})
    return oneway.protect(people, tmp_path_factory.mktemp("golden") / "noisy", config, progress=False)


@pytest.fixture(scope="module")
def plain(people: oneway.Pack, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> oneway.Run:
    """Its unprotected twin."""
    config = tiny({"steps": 20, "game.pixel": 0.0})
    return oneway.protect(people, tmp_path_factory.mktemp("golden") / "plain", config, progress=False)


def test_the_demonstration(tmp_path: Path, tiny_demo: Callable[..., None]) -> None:
    tiny_demo(steps=10, judge_steps=10, check_every=5)
    demo.demo(tmp_path)
    hold("demo", tmp_path / "unprotected", tmp_path / "protected", tmp_path / "protected" / "audit")


def test_an_audit_of_a_run_beside_its_control(
    plain: oneway.Run, noisy: oneway.Run, judge: Verifier, tmp_path: Path
) -> None:
    oneway.audit(plain, out=tmp_path / "control", config=AUDIT, verifier=judge, progress=False)
    oneway.audit(
        noisy, out=tmp_path / "audit", control=tmp_path / "control", config=AUDIT, verifier=judge, progress=False
    )
    hold("run", plain.path, noisy.path, tmp_path / "control", tmp_path / "audit")


def test_an_audit_of_an_onnx_file(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> None:
    from test_onnx_encoder import export

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    path = export(network.eval(), tmp_path / "encoder.onnx")
    config = replace(AUDIT, pixels="0..1")
    oneway.audit(path, data=people, out=tmp_path / "audit", config=config, verifier=judge, progress=False)
    hold("onnx", tmp_path / "audit")


def test_an_audit_of_stored_features(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> None:
    parts = (people.public, people.validation, people.test)
    stored = np.concatenate([part.images(slice(None))[:, ::4, ::4].reshape(len(part), -1) for part in parts])
    write_dump(tmp_path / "dump" / "features.npz", [name for part in parts for name in part.names], stored)
    oneway.audit(
        features=tmp_path / "dump",
        data=people,
        out=tmp_path / "audit",
        config=AUDIT,
        verifier=judge,
        progress=False,
    )
    hold("dump", tmp_path / "audit")


def test_a_benchmark_of_two_defences(people: oneway.Pack, people_judge: Path, tiny: Tiny, tmp_path: Path) -> None:
    config = DefencesConfig(defences=("noise=1", "recipe=1"), protect=tiny({"steps": 10}), audit=BRIEF)
    compare_defences(people, tmp_path / "bench", config, verifier=people_judge, progress=False)
    hold("benchmark", tmp_path / "bench")


def test_an_experiment(people: oneway.Pack, people_judge: Path, tiny: Tiny, resnet_file: Path, tmp_path: Path) -> None:
    config = ExperimentConfig(
        protect=tiny({"steps": 10, "network.cut": "fc"}),
        audit=BRIEF,
        cuts=("layer2",),
        perceptual=(0.0, 10.0),
        strengths=(0.1,),
        perceptual_network=f"resnet10t:{resnet_file}",
    )
    experiment(("tradeoff",), people, tmp_path / "out", config, verifier=people_judge, progress=False)
    hold("experiment", tmp_path / "out" / "tradeoff")
