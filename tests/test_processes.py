"""Two processes on one global batch give the weights of one, where nothing depends on the part of the batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import oneway
from oneway.config import override, to_dict
from oneway.storage.runs import read_tensors

pytestmark = pytest.mark.whole

CHANGES = {"network.norm": "group", "steps": 8, "game.warmup": 0.25, "game.ramp": 0.25}

SCRIPT = """
import atexit, json, sys
import torch, oneway
atexit.register(lambda: sys.stdout.write(f"joined at the end: {torch.distributed.is_initialized()}\\n"))  # called last
from oneway.protection.config import ProtectConfig
from oneway.config import from_dict, override
torch.set_num_threads(1)
pack, out, content = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
config = from_dict(ProtectConfig, content)
pack = oneway.Pack.open(pack)
oneway.protect(pack, out + "/two", config, progress=False)
oneway.protect(pack, out + "/batch_norm", override(config, {"network.norm": "batch", "steps": 1}), progress=False)
for folder, changes in (
    ("odd", {"batch_size": 15}), ("odd", {"game.decoder_batch_size": 15}), ("two", {"steps": 9}), ("foreign", {})
):
    try:
        oneway.protect(pack, out + "/" + folder, override(config, changes), progress=False)
    except oneway.InputError as error:
        sys.stdout.write(f"refused: {error}\\n")
        sys.stdout.flush()
"""


@dataclass(frozen=True)
class Two:
    """What two processes made, and what they said."""

    path: Path
    config: oneway.ProtectConfig
    code: int
    output: str
    errors: str


@pytest.fixture(scope="module")
def two(pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("processes")
    script, config = folder / "script.py", replace(tiny(CHANGES), keep=True)
    script.write_text(SCRIPT)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "notes.txt").write_text("not ours")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(script), str(pack.path), str(folder), json.dumps(to_dict(config))],
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    return Two(folder, config, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def one(two: Two, pack: oneway.Pack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the same."""
    return oneway.protect(pack, tmp_path_factory.mktemp("process") / "one", two.config, progress=False).path


def test_two_processes_give_the_weights_of_one(two: Two, one: Path, pack: oneway.Pack, tmp_path: Path) -> None:
    start = oneway.protect(pack, tmp_path / "start", override(two.config, {"steps": 1}), progress=False)
    assert_near(two.path / "two", one, start.path)


def assert_near(ours: Path, theirs: Path, start: Path) -> None:
    """Hold the weights of two runs to differ by little, compared with how far they moved from the start."""
    many, one, first = (read_tensors(path / "protector.safetensors")[0] for path in (ours, theirs, start))
    assert many.keys() == one.keys()
    for name in many:
        moved = float((one[name] - first[name]).norm())
        assert moved > 0
        assert float((many[name] - one[name]).norm()) < 0.02 * moved, name


def test_two_processes_give_the_decoder_of_one(two: Two, one: Path) -> None:
    ours, theirs = (read_tensors(path / "checkpoint.safetensors")[0] for path in (one, two.path / "two"))
    assert ours.keys() == theirs.keys()
    decoder = [name for name in ours if name.startswith("adversary/")]
    for name in decoder:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-2, atol=2e-4, msg=name)


def test_two_processes_report_the_utility_of_one(two: Two, pack: oneway.Pack) -> None:
    run = oneway.Run.open(two.path / "two", pack)
    assert run.config == two.config
    assert json.loads((run.path / "results.json").read_text())["utility"]["value"]["n"] == run.pack.test.num_people
    assert len((run.path / "log.csv").read_text().splitlines()) == 2


def test_batch_normalisation_over_several_processes_warns(two: Two, pack: oneway.Pack) -> None:
    assert "batch normalisation sees each process's part of the batch alone" in two.errors
    assert "set network.norm=group" in two.errors
    assert oneway.Run.open(two.path / "batch_norm", pack).load() is not None


@pytest.mark.parametrize("name", ["batch_size", "game.decoder_batch_size"])
def test_a_batch_that_the_processes_cannot_share_evenly_is_refused_before_anything_is_written(
    two: Two, name: str
) -> None:
    refused = [line for line in two.output.splitlines() if line.startswith("refused: ")]
    assert sum(f" {name} 15 must be a multiple of the 2 processes" in line for line in refused) == 2
    assert not (two.path / "odd").exists()


def test_what_one_process_finds_wrong_with_the_folder_every_process_says(two: Two) -> None:
    assert two.code == 0, two.errors[-4000:]
    assert two.output.count("holds a finished run") == 2
    assert two.output.count("exists and is not a run of ours") == 2


def test_the_processes_part_before_the_interpreter_ends(two: Two) -> None:
    assert two.output.count("joined at the end: False") == 2


def test_a_device_that_the_machine_lacks_is_refused(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(oneway.InputError, match="device 'cuda' is not available on this machine; it has cpu"):
        oneway.protect(pack, tmp_path / "run", tiny({"runtime.device": "cuda"}), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_of_three_processes_survives_the_loss_of_one_and_goes_on_in_two(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], settings: dict[str, Any], tmp_path: Path
) -> None:
    changes = {"network.norm": "group", "batch_size": 12, "game.decoder_batch_size": 12, "steps": 40}
    sets = [f"--set={name}={value}" for name, value in (settings | changes).items()]
    killed = tmp_path / "killed"

    def start(processes: int, *more: str) -> subprocess.Popen[str]:
        command = ["protect", pack.path, *sets, f"--set=runtime.devices={processes}", "--out", killed]
        return subprocess.Popen(
            [Path(sys.executable).parent / "oneway", *command, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    first = start(3)
    until = time.monotonic() + 300
    while not (killed / "checkpoint.safetensors").exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < until, "no checkpoint appeared"
        time.sleep(0.01)
    others = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    assert len(others) == 2
    os.kill(int(others[0]), signal.SIGKILL)
    said = first.communicate(timeout=120)[1]
    assert first.returncode not in (0, None)
    assert "one of the 3 processes died or cannot be reached" in said
    assert "Traceback" not in said
    assert not (killed / "results.json").exists()

    second = start(2, "--resume")
    said, errors = second.communicate(timeout=300)
    assert second.returncode == 0, errors
    assert said.count("mean MCC of") == 1  # one of them speaks for all
    straight, begun = (
        oneway.protect(pack, tmp_path / name, tiny(changes | more), progress=False).path
        for name, more in (("straight", {}), ("begun", {"steps": 1}))
    )
    assert_near(killed, straight, begun)
