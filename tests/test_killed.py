"""Commands killed outright: they go on with --resume, and end as if nothing had happened, to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oneway
from oneway.cli import main
from oneway.report.reports import read_report
from oneway.shipping.kept import KEPT
from oneway.storage.runs import read_json, read_tensors

pytestmark = pytest.mark.whole
CHECKPOINT = Path("parts") / "inversion-mirror.safetensors"
ONEWAY = "from oneway.cli import main; main()"
# The command line offers no pace for an attack's checkpoints, so the default is changed for the process.
EAGER = (
    """
from functools import partial
import oneway.auditing.attack
from oneway import runtime
runtime.RuntimeConfig = partial(runtime.RuntimeConfig, checkpoint_seconds=0.0)
"""
    + ONEWAY
)


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def kill_at(checkpoint: Path, process: subprocess.Popen[str]) -> None:
    """Kill the process as soon as it has written a checkpoint."""
    until = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no checkpoint appeared"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line here; gives its exit code and what it wrote to stderr."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as exit:
            return int(exit.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def assert_refused_without_resume(command: Command, *arguments: str | Path) -> None:
    code, errors = command(*arguments)
    assert code == 2
    assert "holds an unfinished run; add --resume to continue it, or choose another --out" in errors
    assert len(errors.splitlines()) == 1


def test_a_killed_protect_resumes_to_the_bit(
    pack: oneway.Pack, settings: dict[str, Any], command: Command, tmp_path: Path
) -> None:
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    arguments = ["protect", str(pack.path), *sets, "--set", "steps=40", "--set", "keep=true", "--out"]
    killed = tmp_path / "killed"
    kill_at(killed / "checkpoint.safetensors", start(ONEWAY, *arguments, killed))
    step = read_tensors(killed / "checkpoint.safetensors")[1]["step"]
    assert 0 < step < 40
    assert not (killed / "results.json").exists()

    assert_refused_without_resume(command, *arguments, killed)
    assert command(*arguments, killed, "--resume")[0] == 0
    straight = tmp_path / "straight"
    assert command(*arguments, straight)[0] == 0
    for name in ("protector.safetensors", "log.csv", "checkpoint.safetensors"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes(), name
    assert read_json(killed / "results.json")["utility"] == read_json(straight / "results.json")["utility"]


@pytest.mark.usefixtures("verifier")  # its file must be there
def test_a_killed_attack_resumes_to_the_bit(early: oneway.Run, command: Command, tmp_path: Path) -> None:
    sets = ["--set=width=0.5", "--set=check_every=10", "--set=keep=true", "--steps=60", "--device=cpu"]
    judge = early.path.parent / "judge.safetensors"
    arguments = ["attack", str(early.path), *sets, "--verifier", str(judge), "--out"]
    killed = tmp_path / "killed"
    kill_at(killed / CHECKPOINT, start(EAGER, *arguments, killed))
    assert 0 < read_tensors(killed / CHECKPOINT)[1]["step"] < 60
    assert not (killed / "results.json").exists()

    assert_refused_without_resume(command, *arguments, killed)
    assert command(*arguments, killed, "--resume")[0] == 0
    straight = tmp_path / "straight"
    assert command(*arguments, straight)[0] == 0
    assert (killed / KEPT).read_bytes() == (straight / KEPT).read_bytes()
    ours, theirs = (read_report(path, oneway.AuditReport, "oneway attack") for path in (killed, straight))
    assert (killed / "scores.npz").read_bytes() == (straight / "scores.npz").read_bytes()
    assert ours.attacks["inversion"].scores == theirs.attacks["inversion"].scores
    assert ours.attacks["inversion"].ways["mirror"].course == theirs.attacks["inversion"].ways["mirror"].course
    assert ours.floors == theirs.floors
    assert ours.decisions.scores == theirs.decisions.scores
    assert not (killed / CHECKPOINT.parent).exists()
