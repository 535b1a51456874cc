"""What is said of an installation: what there is, what is missing, and how a shell completes its commands."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch

from oneway import cli
from oneway.cli import installation
from oneway.devices import chosen, devices

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def test_it_names_what_there_is_and_what_would_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["doctor"])
    said = capsys.readouterr().out
    device, precision = chosen()
    for words in (
        f"torch      {version('torch')}",
        f"default    device {device}, precision {precision}",
        "device     cpu: ",
    ):
        assert words in said
    assert said.count("optional ") == len(PROJECT["optional-dependencies"])
    assert said.splitlines()[-1] == "required   every package is there"


def test_its_extras_are_the_projects() -> None:
    assert installation.extras("oneway") == sorted(PROJECT["optional-dependencies"])


def test_what_is_missing_or_too_old_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def installed(name: str) -> str:
        if name in ("timm", "uvicorn"):
            raise PackageNotFoundError(name)
        return "1.0" if name == "torch" else version(name)

    monkeypatch.setattr(installation, "version", installed)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 3
    said = capsys.readouterr().out
    (missing,) = (line for line in said.splitlines() if line.startswith("MISSING"))
    assert "python -m pip install" in missing
    assert '"timm>=1.0"' in missing
    assert '"torch>=2.11"' in missing
    assert "uvicorn" not in missing, "what is optional is not missing"
    (serve,) = (line for line in said.splitlines() if "[serve]" in line)
    assert serve.endswith('get it by: python -m pip install "uvicorn>=0.40"')


def test_a_torch_that_does_not_load_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise OSError("libtorch.so: undefined\nsymbol")

    monkeypatch.setattr(installation, "_machine", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 3
    assert "BROKEN     torch does not load: libtorch.so: undefined symbol; install it again" in capsys.readouterr().out


@pytest.mark.parametrize(("cuda", "expected"), [(False, "cpu"), (True, "cuda")])
def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, cuda: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    device, precision = chosen()
    assert device == expected
    assert ("cuda" in devices()) == cuda
    assert chosen("cpu", "32") == ("cpu", "32")
    if cuda:
        assert precision == "bf16"


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_flags_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["completion", "bash"])
    script = tmp_path / "oneway.bash"
    script.write_text(capsys.readouterr().out)
    asked = {"au": "audit", "audit --fail-": "--fail-above", "protect --preset p": "paper", "card some": ""}
    lines = [
        f'COMP_WORDS=(oneway {words}); COMP_CWORD={len(words.split())}; _oneway_or_files; echo "${{COMPREPLY[*]}}"'
        for words in asked
    ]
    done = subprocess.run(
        ["bash", "-c", f"source {script}; {'; '.join(lines)}; complete -p oneway"], capture_output=True, text=True
    )
    *found, last = done.stdout.splitlines()
    assert found == list(asked.values()), done.stderr
    assert last == "complete -o default -F _oneway_or_files oneway"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_that_names_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["completion", shell])
    script = capsys.readouterr().out
    assert all(name in script for name in cli.COMMANDS)
