"""What would be refused is refused before a judge is trained or the encoder is asked, and by `--dry-run` too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor, nn

import oneway
from conftest import RUNTIME, Attacked
from oneway.auditing import opening
from oneway.auditing.config import AuditConfig
from oneway.cli import main
from oneway.judges import identification
from oneway.judges.identification import open_verifier
from oneway.report.values import SCHEMA
from oneway.storage import runs

pytestmark = pytest.mark.whole


class TrainedError(Exception):
    """A judge was trained."""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packs have no verifier of their own, and stop where one would be trained."""

    def identify(*_: Any, **__: Any) -> None:
        raise TrainedError

    monkeypatch.setattr(identification, "OWN", "absent.safetensors")
    monkeypatch.setattr(identification, "identify", identify)


@pytest.fixture
def refused(
    untrained: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Give a command, which must be refused before a judge is trained and leave nothing; returns what it says."""
    monkeypatch.setenv("COLUMNS", "400")

    def give(*arguments: object) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        assert ended.value.code == 2
        assert sorted(tmp_path.iterdir()) == before
        return capsys.readouterr().err

    return give


def test_a_judge_is_trained_where_all_else_is_right(untrained: None, protected: oneway.Run, tmp_path: Path) -> None:
    with pytest.raises(TrainedError):
        main(["attack", str(protected.path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_control_is_looked_at_before_a_judge_is_trained(
    refused: Callable[..., str], protected: oneway.Run, control: Attacked, people: oneway.Pack, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "out")
    assert "absent" in refused("attack", protected.path, *out, "--control", tmp_path / "absent")
    other = ("--control", control.path, "--set", "width=4")
    assert "was made with audit.alone." in refused("attack", protected.path, *out, *other)
    assert "perceptual network" in refused("attack", protected.path, *out, "--set", "perceptual=0.5")


def test_an_encoder_and_a_dump_are_opened_before_a_judge_is_trained(
    refused: Callable[..., str], people: oneway.Pack, tmp_path: Path
) -> None:
    out = ("--data", people.path, "--out", tmp_path / "out")
    (tmp_path / "encoder.onnx").write_text("hello")
    (tmp_path / "dump.npz").write_text("hello")
    assert "not a readable ONNX file" in refused("audit", tmp_path / "encoder.onnx", *out, "--set", "pixels=0..1")
    assert "damaged" in refused("audit", "--features", tmp_path / "dump.npz", *out)


class Half(nn.Module):
    """An encoder that gives a coarser picture."""

    def forward(self, pictures: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pictures, 4)


@pytest.fixture
def audit(people: oneway.Pack, tmp_path: Path, untrained: None) -> Callable[..., Any]:
    """Audit that encoder by the pack's own judge, which cannot be trained here."""

    def make(**changes: Any) -> Any:
        given = {"data": people, "out": tmp_path / "out", "config": AuditConfig(runtime=RUNTIME), "progress": False}
        return oneway.audit(Half(), **({"verifier": open_verifier(people)} | given | changes))

    return make


def test_a_control_of_an_audit_is_looked_at_before_a_judge_is_trained(
    audit: Callable[..., Any], protected: oneway.Run, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=r"absent"):
        audit(control=tmp_path / "absent")
    with pytest.raises(oneway.InputError, match=r"kind must be 'audit', not 'attack'.*finished `oneway audit"):
        audit(control=folder_of(tmp_path / "attack", schema=SCHEMA, kind="attack"))
    with pytest.raises(oneway.InputError, match=r"was made with data|was trained on|another pack"):
        audit(control=protected.path)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TrainedError):
        audit()


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"results.json": "{}", "config.json": "{}"}, "holds a finished run"),
        ({"config.json": "{}"}, "holds an unfinished run; add --resume"),
        ({"thesis.tex": "years of work"}, "exists and is not a run of ours"),
        (None, "is a file"),
    ],
)
def test_the_folder_of_an_audit_is_looked_at_before_a_judge_is_trained(
    audit: Callable[..., Any], tmp_path: Path, held: dict[str, str] | None, message: str
) -> None:
    (tmp_path / "out").touch() if held is None else (tmp_path / "out").mkdir()
    for name, content in (held or {}).items():
        (tmp_path / "out" / name).write_text(content)
    with pytest.raises(oneway.InputError, match=message):
        audit()


def folder_of(path: Path, **results: Any) -> Path:
    runs.write_json(path / runs.CONFIG, {})
    runs.write_json(path / runs.RESULTS, results)
    return path


class Still:
    """A judge with one answer for everyone."""

    name, fingerprint = "still", "0" * 64

    def __init__(self, *answer: float) -> None:
        self.answer = np.array([answer], dtype=np.float32)

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        return self.answer.repeat(len(pictures), axis=0)


@pytest.mark.parametrize(("answer", "message"), [((0.0, 0.0), "are all zero"), ((0.6, 0.8), "the same features")])
def test_a_judge_that_says_nothing_is_found_before_the_encoder_is_asked(
    audit: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, message: str
) -> None:
    monkeypatch.setattr(opening, "steal", None)
    monkeypatch.setattr("oneway.judges.cache.FOLDER", str(tmp_path / "known"))
    with pytest.raises(oneway.InputError, match=message):
        audit(verifier=Still(*answer), config=AuditConfig(runtime=RUNTIME, surrogates=0))
    assert not (tmp_path / "out").exists()


TINY = ("--set", "protect.network.width=0.125", "--defence")


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_benchmark_is_checked_whole_before_anything_trains(
    refused: Callable[..., str], people: oneway.Pack, pack: oneway.Pack, tmp_path: Path, dry: tuple[str, ...]
) -> None:
    out = ("--out", tmp_path / "out", *dry)
    assert "at most 32 for pictures of 32 pixels" in refused(
        "benchmark", "defences", people.path, *out, *TINY, "blur=33"
    )
    assert "an audit needs 50" in refused("benchmark", "defences", pack.path, *out, *TINY, "noise=1")
    assert "an audit needs 50" in refused("experiment", "strength", pack.path, *out)
    (tmp_path / "file").touch()
    for command in ("benchmark", "defences", people.path, *TINY, "noise=1"), ("experiment", "layers", people.path):
        message = refused(*command, "--out", tmp_path / "file" / "out", *dry)
        assert "cannot write" in message or "is a file" in message
