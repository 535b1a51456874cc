"""The attacker that an audit leaves: the strongest, as a file that draws what the audit said it draws."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks.components import ComponentDecoder
from oneway.attacks.identity import Corrected
from oneway.attacks.inversion import draw_decoder
from oneway.attacks.kernel import Kernel
from oneway.attacks.panel import Attacker, Held
from oneway.auditing.config import AuditConfig
from oneway.auditing.keeping import keep, leave
from oneway.auditing.reconstruction import shown
from oneway.config import to_dict
from oneway.judges.verifier import Verifier
from oneway.models.exporting import write_onnx
from oneway.models.onnx import Graph
from oneway.models.scale import Standardise
from oneway.onnx_session import session_options
from oneway.shipping.contract import read_contract
from oneway.shipping.export import export
from oneway.shipping.kept import KEPT, open_kept
from oneway.storage.runs import read_json

Once = Callable[[str, Callable[[Path], object]], Path]
SIZE, NUMBERS = 32, 24
BRIEF = AuditConfig(attackers=("residual", "identity"), steps=4, brief=True, surrogates=1, keep=True, runtime=RUNTIME)


def drawn_by(path: Path, features: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), session_options())
    return session.run(["picture"], {"features": features})[0]


def kernel(outputs: int) -> Kernel:
    standardise = Standardise((NUMBERS,))
    standardise.observe(3 * torch.randn(50, NUMBERS) + 1)
    made = Kernel(torch.randn(40, NUMBERS), standardise, outputs)
    nn.init.normal_(made.weights, std=0.1)
    return made


def solved() -> ComponentDecoder:
    return ComponentDecoder(kernel(8), torch.randn(3 * SIZE * SIZE, 8) / 9, torch.full((3 * SIZE * SIZE,), 0.5), SIZE)


def corrected() -> nn.Module:
    made = Corrected(solved(), torch.ones(8), (NUMBERS,), 16)
    nn.init.normal_(made.correct[-1].weight, std=0.3)
    return made


def decoder(kind: str) -> nn.Module:
    config = oneway.InversionConfig(decoder=kind, width=0.5)  # type: ignore[arg-type]
    return draw_decoder(config, (NUMBERS,), None, SIZE)


@pytest.mark.parametrize(
    "make", [solved, corrected, *(lambda kind=kind: decoder(kind) for kind in ("mirror", "residual", "transformer"))]
)
def test_the_file_of_an_attacker_draws_as_the_attacker(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, features = make().eval(), torch.randn(5, NUMBERS)
    write_onnx(network, torch.zeros(2, NUMBERS), tmp_path / KEPT, "features", ["picture"], {"attacker": "a judge's"})
    with torch.no_grad():
        expected = network(features).numpy()
    assert expected.std() > 0.01
    np.testing.assert_allclose(drawn_by(tmp_path / KEPT, features.numpy()), expected, atol=1e-4)
    written = (tmp_path / KEPT).read_bytes()
    write_onnx(network, torch.zeros(2, NUMBERS), tmp_path / KEPT, "features", ["picture"], {"attacker": "a judge's"})
    assert (tmp_path / KEPT).read_bytes() == written


class Deciding(nn.Module):
    """Draws by what the features are, which no graph says."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scale = 1.0 if float(features.sum()) > 0 else 0.5
        return scale * torch.ones(len(features), 3, SIZE, SIZE)


class Elsewhere(nn.Module):
    """Draws on another machine only."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such device")


class Double(nn.Module):
    """Draws in double precision."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.double()[:, :3, None, None].sigmoid().expand(-1, -1, SIZE, SIZE)


def kept_of(network: nn.Module, folder: Path) -> Path:
    """Keep an attacker of another package, and leave it in a folder."""
    steps = SimpleNamespace(path=lambda name, suffix: folder.parent / f"{name}.{suffix}")
    context: Any = SimpleNamespace(steps=steps, victim=SimpleNamespace(identity={"hash": "0" * 64}))
    access: Any = SimpleNamespace(shape=(NUMBERS,))
    attacker = Attacker(name="frugal", fit=lambda _: pytest.fail("it is fitted"), trains_with=('a "judge"',))
    folder.mkdir()
    keep(context, Held(network, "frugal", SIZE), access, "frugal", attacker, 7)
    leave(context, "frugal", folder)
    return folder / KEPT


@pytest.mark.parametrize("make", [solved, Double])
def test_another_packages_attacker_is_kept(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    path = kept_of(make(), tmp_path / "home")
    drawn = drawn_by(path, np.zeros((3, NUMBERS), np.float32))
    assert (drawn.shape, drawn.dtype) == ((3, 3, SIZE, SIZE), np.float32)
    told = Graph(path, "attacker").about
    assert json.loads(told["trained_with"]) == ['a "judge"']
    assert told["pictures"] == "7"


@pytest.mark.parametrize("make", [Deciding, Elsewhere])
def test_why_an_attacker_cannot_be_kept_is_said_and_no_more_happens(
    make: Callable[[], nn.Module], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        path = kept_of(make(), tmp_path / "home")
    assert (
        "the strongest attacker, frugal, cannot be kept: inversion frugal.attacker.onnx cannot be made" in caplog.text
    )
    assert list(path.parent.iterdir()) == []


@pytest.fixture(scope="module")
def run(once: Once, people: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> oneway.Run:
    config = tiny({"game.pixel": 0.0, "steps": 2})
    return oneway.Run.open(once("kept-run", lambda path: oneway.protect(people, path, config, progress=False)), people)


@pytest.fixture(scope="module")
def audited(once: Once, run: oneway.Run, judge: Verifier) -> Path:
    return once("kept-audit", lambda path: oneway.audit(run, out=path, config=BRIEF, verifier=judge, progress=False))


@pytest.mark.whole
def test_an_audit_leaves_its_strongest_attacker_and_a_bundle_says_who_it_is(
    audited: Path, run: oneway.Run, judge: Verifier, tmp_path: Path
) -> None:
    inversion = read_json(audited / "results.json")["attacks"]["inversion"]
    best, rows = inversion["strongest"]["picture_similarity"], shown(run.pack)
    pictures = torch.from_numpy(run.pack.test.images(rows)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = run.load().encoder(pictures).numpy()
    drawn = (255 * drawn_by(audited / KEPT, features)).round().transpose(0, 2, 3, 1)
    assert np.abs(drawn - np.load(audited / "shown.npy")).max() <= 1
    about = open_kept(audited, run).about
    assert about.name == best
    assert about.trained_with == ((judge.name,) if best.startswith("identity") else ())
    assert about.pictures == len(run.pack.public)
    assert about.ssim == inversion["ways"][best]["scores"]["ssim"]["value"]
    assert about.seen is not None
    (told,) = read_json(audited / "results.json")["judges"]
    assert about.seen.judge == told["name"]
    assert about.seen.similarity == told["pictures"]["picture_similarity"]["value"]
    assert about.seen.floor == told["pictures"]["floor"]["value"]
    assert not (audited / "parts").exists()
    export(run, tmp_path / "bundle", attack=audited)
    assert read_contract(tmp_path / "bundle").attacker == about


@pytest.mark.whole
def test_keeping_decides_no_figure(audited: Path, run: oneway.Run, judge: Verifier, tmp_path: Path) -> None:
    plain = oneway.audit(run, out=tmp_path / "plain", config=replace(BRIEF, keep=False), verifier=judge, progress=False)
    assert not (tmp_path / "plain" / KEPT).exists()
    told, ours = read_json(audited / "results.json")["attacks"], to_dict(plain)["attacks"]
    assert told["inversion"]["scores"] == ours["inversion"]["scores"]
    assert told["feature"]["scores"] == ours["feature"]["scores"]


@pytest.mark.whole
def test_without_an_exporter_nothing_is_begun(run: oneway.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(oneway.InputError, match=r"onnxscript, which torch exports by, is not installed; install"):
        oneway.attack(run, tmp_path / "attack", oneway.InversionConfig(keep=True), runtime=RUNTIME, progress=False)
    assert not (tmp_path / "attack").exists()
