"""The command that makes a benchmark's encoder again: read by the command line, it asks for that very configuration."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import oneway
from audited import figure
from oneway import cli
from oneway.auditing.config import AuditConfig
from oneway.config import from_dict, override, to_dict
from oneway.protection.arguments import arguments
from oneway.protection.config import PRESETS, ProtectConfig, paper, small
from oneway.protection.recipes import prescribe, recipes
from oneway.report.values import SCHEMA
from oneway.storage import runs
from oneway.sweep.benchmark import DefencesConfig, cells

NAMES = ("picture_similarity", "feature_similarity", "linkage")


class AskedError(Exception):
    """Carries what training was asked for."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], ProtectConfig]:
    """Say what configuration a command line asks for."""

    def ask(_: oneway.Pack, __: Path, config: ProtectConfig, **___: object) -> None:
        raise AskedError(config)

    monkeypatch.setattr("oneway.protection.train.protect", ask)

    def give(command: list[str]) -> ProtectConfig:
        with pytest.raises(AskedError) as error:
            cli.main(command)
        config: ProtectConfig = error.value.args[0]
        return config

    return give


CHANGES: list[dict[str, Any]] = [
    {},
    {"steps": 7, "seed": 3, "network.cut": "layer3", "network.norm": "group", "task": ("Smiling", "Bald")},
    {"runtime.device": "cpu", "runtime.precision": "32", "calibrate": False, "learning_rate": 0.1 + 0.2},
    {"game.decoder_steps": 2, "game.ramp": 0.5, "weight_decay": 1e-7},
]


NAMED = [name for name in recipes() if name != "none"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", NAMED)
def test_any_setting_is_asked_for_again(
    asked: Callable[[list[str]], ProtectConfig], pack: oneway.Pack, name: str, preset: str
) -> None:
    changes = CHANGES[(NAMED.index(name) + list(PRESETS).index(preset)) % len(CHANGES)]
    strength = recipes()[name].strengths[0] / 3
    config = prescribe(override(PRESETS[preset](), changes), name, strength)
    given = arguments(config, name, strength)
    assert asked(["protect", str(pack.path), *given, "--out", "RUN"]) == config
    if not changes:
        assert given == ["--preset", preset, "--defence", f"{name}={strength!r}"]


def test_a_defence_beside_another_is_asked_for_again(
    asked: Callable[[list[str]], ProtectConfig], pack: oneway.Pack
) -> None:
    base = override(small(), {"defence": "cem", "defence.components": 3})
    config = prescribe(base, "recipe", 0.2)
    assert asked(["protect", str(pack.path), *arguments(config, "recipe", 0.2), "--out", "RUN"]) == config


def test_what_cannot_be_written_is_said() -> None:
    config = prescribe(override(paper(), {"task": ("Smiling, a little",)}), "noise", 1.0)
    with pytest.raises(oneway.InputError, match="cannot be written as arguments: task"):
        arguments(config, "noise", 1.0)


def test_what_is_recommended_is_the_finished_run_and_the_command_of_its_configuration(
    asked: Callable[[list[str]], ProtectConfig],
    pack: oneway.Pack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    base = override(small(), {"steps": 11, "seed": 5, "network.norm": "group", "runtime.device": "cpu"})
    plan = cells(DefencesConfig(protect=base, defences=("noise=1.5",), audit=AuditConfig(brief=True)), pack.path)
    config = plan[1].setting.protect
    folder = tmp_path / "a bench" / "runs" / plan[1].setting.run
    data = {"path": os.path.relpath(pack.path, folder), "hash": pack.hash}  # as a run says it
    runs.write_json(folder / runs.CONFIG, {"protect": to_dict(config), "network": None, "data": data})
    runs.write_json(folder / runs.RESULTS, {})
    row = {
        "cut": "layer2",
        "defence": "noise",
        "strength": 1.5,
        "utility": figure(0.4, "MCC"),
        "control_utility": figure(0.41, "MCC"),
        "leakage": {name: figure(0.2 + place / 10, "leakage") for place, name in enumerate(NAMES[:2])}
        | {"linkage": {"refused": "no person appears twice"}},
        "excess": {name: {"refused": "no person appears twice"} for name in NAMES},
        "validation": {"utility": 0.97, "leakage": dict.fromkeys(NAMES[:2], 0.2), "excess": {}},
        "run": f"runs/{plan[1].setting.run}",
        "audit": "audits/one",
        "unconverged": ["feature"],
        "strongest": "mirror",
        "picture_similarity": figure(0.3),
        "linked": None,
        "verdict": "partial",
    }
    decisions = {"layer2": dict.fromkeys(NAMES, figure(0.1, "leakage"))}
    results = {"schema": SCHEMA, "kind": "benchmark", "rows": [row], "decisions": decisions, "provenance": {}}
    runs.write_json(tmp_path / "a bench" / runs.RESULTS, results)
    cli.main(["recommend", str(tmp_path / "a bench"), "--cut", "layer2", "--utility", "0.95"])
    said = capsys.readouterr().out
    assert f"trained already: {folder}\n" in said
    assert "not judged by leakage of linkage: no person appears twice" in said
    assert "budget" in said
    assert "20 %" in said
    assert "30 %" in said
    command = shlex.split(next(line for line in said.splitlines() if "oneway protect" in line).partition(": ")[2])
    assert command[:3] == ["oneway", "protect", os.path.relpath(pack.path)], "as it is found from here"
    assert asked(command[1:]) == from_dict(ProtectConfig, runs.read_json(folder / runs.CONFIG)["protect"])
    assert asked(command[1:]) == replace(config)
