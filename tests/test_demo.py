"""The demonstration, with everything in it made tiny: one call does it all, the next one does nothing again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import oneway
from oneway import demo
from oneway.models.identification import IdentificationConfig
from oneway.runs import read_json


@pytest.fixture
def tiny_demo(monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., oneway.ProtectConfig]) -> None:
    for name, value in {
        "PEOPLE": 30,
        "SHOTS": 2,
        "SIZE": 32,
        "STEPS": 4,
        "JUDGE_STEPS": 2,
        "ATTACK_STEPS": 4,
        "small": tiny,
    }.items():
        monkeypatch.setattr(demo, name, value)
    for config, changes in (
        (IdentificationConfig, {"width": 0.125, "feature_width": 16}),
        (oneway.InversionConfig, {"width": 0.5, "check_every": 2}),
    ):
        for name, value in changes.items():
            monkeypatch.setitem(config.__init__.__kwdefaults__, name, value)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("tiny_demo")
def test_the_demonstration_runs_goes_on_and_does_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    attack, attacked = demo.attack, []

    def killed(*arguments: object, **options: object) -> object:
        attacked.append(arguments)
        if len(attacked) == 2:
            raise KeyboardInterrupt
        return attack(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "attack", killed)
        with pytest.raises(KeyboardInterrupt):
            demo.demo(tmp_path)
    before = files(tmp_path)
    assert tmp_path / "protected" / "results.json" in before

    demo.demo(tmp_path)
    said = capsys.readouterr().out
    finished = files(tmp_path)
    assert {path: finished[path] for path in before} == before, "what was finished must not be made again"
    picture = tmp_path / "protected" / "attack" / "grid.png"
    assert said.splitlines()[-1].endswith(f": {picture}")
    assert picture.is_file()
    assert "control (unprotected)" in said

    demo.demo(tmp_path)
    assert files(tmp_path) == finished
    assert capsys.readouterr().out.splitlines()[-1].endswith(f": {picture}")

    unprotected, protected = (read_json(tmp_path / name / "config.json") for name in ("unprotected", "protected"))
    assert (unprotected["protect"]["game"]["pixel"], protected["protect"]["game"]["pixel"] > 0) == (0.0, True)
    results = read_json(tmp_path / "protected" / "attack" / "results.json")
    assert results["control"]["run"] == str(tmp_path / "unprotected")

    with pytest.raises(oneway.InputError, match=r"was made with other settings; delete .* or choose another --out"):
        demo.demo(tmp_path, seed=1)
    assert files(tmp_path) == finished
