"""A tiny pack of drawn faces and tiny runs on it, made once a session however many workers share it."""

from __future__ import annotations

import fcntl
import os
import pkgutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

import oneway
from oneway import demo
from oneway.attacks.access import Access
from oneway.attacks.context import Context
from oneway.attacks.feature import FeatureConfig
from oneway.attacks.fit import Place
from oneway.attacks.panel import attackers, trained
from oneway.auditing.config import AuditConfig
from oneway.config import override
from oneway.data.source import synthetic_source
from oneway.judges.identification import IdentificationConfig, identify, load
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import Verifier
from oneway.protection.config import small
from oneway.report.reports import read_report
from oneway.report.sweeps import BenchmarkReport
from oneway.runtime import launch
from oneway.sweep.benchmark import DefencesConfig, compare_defences

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
torch.set_num_threads(1)

DEVICE = os.environ.get("ONEWAY_TEST_DEVICE", "cpu")
"""Where tests train and attack; `cuda` tries the same tests on a GPU."""
TINY: dict[str, Any] = {
    "network.width": 0.125,
    "network.cut": "layer2",
    "network.feature_width": 32,
    "game.decoder_steps": 2,
    "game.pixel": 3.0,
    "network.bottleneck": 0,
    "network.noise": 0.0,  # what a test computes again must not be drawn anew; noise has tests of its own
    "runtime.device": DEVICE,
    "runtime.precision": "32",
    "runtime.checkpoint_seconds": 0,
    "steps": 20,
    "batch_size": 16,
}
RUNTIME = oneway.RuntimeConfig(device=DEVICE, precision="32", checkpoint_seconds=0)
AUDIT = AuditConfig(
    attackers=("mirror",), brief=True, steps=20, feature=FeatureConfig(width=4, batch_size=32), runtime=RUNTIME
)
"""The audit of a sweep."""

Once = Callable[[str, Callable[[Path], object]], Path]


@dataclass(frozen=True)
class Attacked:
    """A finished attack: its folder and what it found."""

    path: Path
    report: oneway.AuditReport


def attack_of(path: Path) -> Attacked:
    return Attacked(path, read_report(path, oneway.AuditReport, "oneway attack"))


def _of_the_process() -> dict[str, object]:
    """What changes the numbers, or the end, of whatever runs in this process."""
    return {
        "threads": torch.get_num_threads(),
        "type of numbers": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "products of matrices": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "interrupt": signal.getsignal(signal.SIGINT),
        "end": signal.getsignal(signal.SIGTERM),
        "folder": os.getcwd(),
    }


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    """No test leaves the process otherwise than it found it, or what others compute would depend on their order."""
    torch.set_flush_denormal(True)  # as whatever trains does, which a bundle's own client undoes
    before = _of_the_process()
    yield
    assert _of_the_process() == before


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make something under a name in a folder of the session, unless it is there; workers wait for each other."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    root.mkdir(exist_ok=True)

    def give(name: str, make: Callable[[Path], object]) -> Path:
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / f"{name}.made").exists():
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name

    return give


@pytest.fixture(scope="session")
def runtime() -> oneway.RuntimeConfig:
    """One CPU process in fp32 that writes a checkpoint at every check."""
    return RUNTIME


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """What makes the small preset tiny, as names for `--set`."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny() -> Callable[..., oneway.ProtectConfig]:
    """Make a tiny configuration, changed by names like `game.pixel`."""

    def make(changes: dict[str, Any] | None = None) -> oneway.ProtectConfig:
        return override(small(), TINY | (changes or {}))

    return make


@pytest.fixture
def defaults(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a module make a configuration with other defaults, named like `oneway.demo.IdentificationConfig`."""

    def give(name: str, **changes: Any) -> None:
        monkeypatch.setattr(name, partial(pkgutil.resolve_name(name), **changes))

    return give


@pytest.fixture
def tiny_demo(
    monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., oneway.ProtectConfig], defaults: Callable[..., None]
) -> Callable[..., None]:
    """Make the demonstration tiny: so many steps of each training."""

    def give(*, steps: int, judge_steps: int, check_every: int) -> None:
        budgets = {"PEOPLE": 260, "SHOTS": 2, "SIZE": 32, "STEPS": steps, "JUDGE_STEPS": judge_steps}
        for name, value in (budgets | {"ATTACK_STEPS": steps, "small": tiny}).items():
            monkeypatch.setattr(demo, name, value)
        defaults("oneway.demo.IdentificationConfig", width=0.125, feature_width=16)
        config = oneway.InversionConfig(width=0.5, check_every=check_every, drops=2)
        small_mirror = trained("mirror", config, at_least=("linear",), few=True)
        monkeypatch.setattr("oneway.auditing.measures.attackers", lambda: attackers() | {"mirror": small_mirror})

    return give


@pytest.fixture(scope="session")
def inversion() -> oneway.InversionConfig:
    """The attack of the shared runs."""
    return oneway.InversionConfig(width=1.0, max_steps=200, check_every=50)


@pytest.fixture(scope="session")
def pack(once: Once) -> oneway.Pack:
    """120 drawn people, four pictures each of 32 pixels a side."""
    source = synthetic_source(120, 4, 0)
    return oneway.Pack.open(
        once("faces", lambda path: oneway.prepare(source, path, size=32, jobs=1, progress=False)),
    )


@pytest.fixture(scope="session")
def people(once: Once) -> oneway.Pack:
    """Enough drawn people for an audit: 100 to test, and 50 to find thresholds with."""
    source = synthetic_source(500, 3, 7)
    return oneway.Pack.open(once("audited", lambda path: oneway.prepare(source, path, size=32, jobs=1, progress=False)))


def attacking(access: Access, people: oneway.Pack, surrogate: Surrogate, checkpoint: Path) -> Context:
    """What an attacker of an encoder has who trains with one verifier."""
    return Context(
        access=access,
        fitted_on=access,
        public=people.public,
        validation=people.validation,
        place=Place(fabric=launch(RUNTIME), checkpoint=checkpoint, progress=False),
        stages=None,
        seed=0,
        surrogates=(surrogate,),
    )


def write_discriminants(people: oneway.Pack, path: Path, *, which: slice = slice(16)) -> None:
    """Write a judge of 32 x 32 pictures that is solved: 16 linear discriminants, by sklearn, of 16 x 16 pixels.

    A network that is trained for seconds would be blind.
    """
    parts = (people.private, people.public)
    pictures = np.concatenate([part.images(slice(None)) for part in parts]).transpose(0, 3, 1, 2) / 255
    coarse = pictures.reshape(-1, 3, 16, 2, 16, 2).mean(axis=(3, 5)).reshape(len(pictures), -1).astype(np.float32)
    told = LinearDiscriminantAnalysis(solver="eigen", shrinkage=0.01)
    told.fit(coarse, np.concatenate([part.identities for part in parts]))
    axes = told.scalings_[:, which].astype(np.float32)
    arrays = {"axes": axes, "shift": -coarse.mean(axis=0) @ axes}
    nodes = [
        helper.make_node("AveragePool", ["pictures"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["coarse"], ["flat"]),
        helper.make_node("Gemm", ["flat", *arrays], ["features"]),
    ]
    graph = helper.make_graph(
        nodes,
        "judge",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 16])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".json").write_text('{"pixels": "0..1", "crop": [0, 0, 1]}', encoding="utf-8")


@pytest.fixture(scope="session")
def people_judge(once: Once, people: oneway.Pack) -> Path:
    """The file of a judge who sees those people."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_discriminants(people, folder / "judge.onnx")

    return once("audit-judge", make) / "judge.onnx"


@pytest.fixture(scope="session")
def judge(people: oneway.Pack, people_judge: Path) -> Verifier:
    """That judge, opened."""
    made = oneway.open_verifier(people, people_judge)
    assert made is not None
    return made


@pytest.fixture(scope="session")
def people_judges(once: Once, people: oneway.Pack, people_judge: Path) -> list[Path]:
    """The file of that judge, and of another who sees them by other axes."""

    def make(folder: Path) -> None:
        folder.mkdir()
        write_discriminants(people, folder / "other.onnx", which=slice(16, 32))

    return [people_judge, once("other-judge", make) / "other.onnx"]


@pytest.fixture(scope="session")
def defences(tiny: Callable[..., oneway.ProtectConfig]) -> DefencesConfig:
    """A benchmark of one defence, weak and strong."""
    return DefencesConfig(protect=tiny({"steps": 20}), audit=AUDIT, defences=("noise=0.5", "noise=50"))


@pytest.fixture(scope="session")
def compared_at(once: Once, defences: DefencesConfig, people: oneway.Pack, people_judges: list[Path]) -> Path:
    """Its folder, as one process makes it that nothing interrupts."""
    return once(
        "compared", lambda path: compare_defences(people, path, defences, verifier=people_judges, progress=False)
    )


@pytest.fixture(scope="session")
def compared(compared_at: Path) -> BenchmarkReport:
    """What it says."""
    return read_report(compared_at, BenchmarkReport, "oneway benchmark")


@pytest.fixture(scope="session")
def other_pack(once: Once) -> oneway.Pack:
    """Other people, at 16 pixels a side."""
    source = synthetic_source(20, 2, 1)
    return oneway.Pack.open(
        once("others", lambda path: oneway.prepare(source, path, size=16, jobs=1, progress=False)),
    )


@pytest.fixture(scope="session")
def verifier(once: Once, pack: oneway.Pack) -> Verifier:
    """A verifier of the pack's people, hardly trained."""
    config = IdentificationConfig(width=0.125, feature_width=16, steps=20, batch_size=32)
    made = once("judge.safetensors", lambda path: identify(pack, path, config, runtime=RUNTIME, progress=False))
    return load(made)


@pytest.fixture(scope="session")
def resnet_file(once: Once) -> Path:
    """The weights of a small network of timm's, untrained, to see with."""
    import timm
    from safetensors.torch import save_file

    def make(path: Path) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            save_file(timm.create_model("resnet10t").state_dict(), path)

    return once("resnet10t.safetensors", make)


@pytest.fixture(scope="session")
def make_run(once: Once, pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> Callable[..., oneway.Run]:
    """Make a shared run of a name, with changes to the tiny configuration; nobody may write into its folder."""

    def make(name: str, changes: dict[str, Any]) -> oneway.Run:
        path = once(name, lambda path: oneway.protect(pack, path, tiny(changes), progress=False))
        return oneway.Run.open(path, pack)

    return make


@pytest.fixture(scope="session")
def unprotected(make_run: Callable[..., oneway.Run]) -> oneway.Run:
    """An unprotected run, trained until it knows something of the task."""
    return make_run("unprotected", {"game.pixel": 0.0, "steps": 300, "learning_rate": 1e-2})


@pytest.fixture(scope="session")
def early(make_run: Callable[..., oneway.Run]) -> oneway.Run:
    """An unprotected run that is cut at the first layer."""
    return make_run("early", {"game.pixel": 0.0, "network.cut": "conv1"})


@pytest.fixture(scope="session")
def protected(make_run: Callable[..., oneway.Run]) -> oneway.Run:
    """A protected run of the same network as the unprotected one's."""
    return make_run("protected", {"game.pixel": 3.0})


@pytest.fixture(scope="session")
def control(once: Once, unprotected: oneway.Run, inversion: oneway.InversionConfig, verifier: Verifier) -> Attacked:
    """The attack on the unprotected run."""
    path = once(
        "unprotected-attack",
        lambda path: oneway.attack(unprotected, path, inversion, verifier=verifier, runtime=RUNTIME, progress=False),
    )
    return attack_of(path)


@pytest.fixture(scope="session")
def attacked(
    once: Once, protected: oneway.Run, control: Attacked, inversion: oneway.InversionConfig, verifier: Verifier
) -> Attacked:
    """The same attack on the protected run, beside its control."""
    path = once(
        "protected-attack",
        lambda path: oneway.attack(
            protected,
            path,
            replace(inversion, keep=True),  # for tests that draw with it
            verifier=verifier,
            control=control.path,
            runtime=RUNTIME,
            progress=False,
        ),
    )
    return attack_of(path)
