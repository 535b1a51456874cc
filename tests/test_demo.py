"""The demonstration, with everything in it made tiny: one call does it all, the next one does nothing again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import oneway
from audited import audited, typed
from oneway import demo
from oneway.report.reports import read_report
from oneway.shipping.kept import open_kept
from oneway.storage.runs import read_json

pytestmark = pytest.mark.whole


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_demonstration_runs_goes_on_and_does_nothing_twice(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tiny_demo: Callable[..., None],
) -> None:
    tiny_demo(steps=4, judge_steps=2, check_every=2)
    monkeypatch.setenv("COLUMNS", "200")
    audit, begun = demo.audit, []

    def killed(*arguments: object, **options: object) -> object:
        begun.append(arguments)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return audit(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "audit", killed)
        with pytest.raises(KeyboardInterrupt):
            demo.demo(tmp_path)
    before = files(tmp_path)
    assert tmp_path / "protected" / "results.json" in before

    demo.demo(tmp_path)
    said = capsys.readouterr().out
    finished = files(tmp_path)
    assert {path: finished[path] for path in before} == before, "what was finished must not be made again"
    page = tmp_path / "protected" / "audit" / "report.html"
    assert said.splitlines()[-2] == f"page: {page}"
    thief = f"oneway export {tmp_path / 'protected'} --attack {page.parent} --out {tmp_path / 'bundle'}"
    assert said.splitlines()[-1].endswith(f"{thief}, then oneway serve {tmp_path / 'bundle'} --web npm")
    assert open_kept(page.parent, oneway.Run.open(tmp_path / "protected")).about.name in ("linear", "kernel", "mirror")
    assert page.read_text().count("data:image") >= 8, "drawn faces are shown"
    assert (tmp_path / "faces.png").is_file()
    report = read_report(page.parent, oneway.AuditReport, "oneway demo")
    sentence = demo.conclusion(report)
    assert sentence.count(".\n") == 0
    assert sentence in " ".join(said.split())
    assert f"the verdict is {report.verdict.level}." in sentence

    demo.demo(tmp_path)
    assert files(tmp_path) == finished
    assert capsys.readouterr().out.splitlines()[-2].endswith(f": {page}")

    unprotected, protected = (read_json(tmp_path / name / "config.json") for name in ("unprotected", "protected"))
    assert (unprotected["protect"]["game"]["pixel"], protected["protect"]["game"]["pixel"] > 0) == (0.0, True)
    assert report.control.audit == "audit"

    with pytest.raises(oneway.InputError, match=r"was made with other settings; delete .* or choose another --out"):
        demo.demo(tmp_path, seed=1)
    assert files(tmp_path) == finished


def test_the_conclusion_says_utility_kept_leakage_with_its_interval_and_the_verdict() -> None:
    def useful(mcc: float) -> dict[str, Any]:
        return {"value": {"value": mcc, "low": mcc - 0.01, "high": mcc + 0.01, "n": 60, "unit": "MCC"}, "each": {}}

    made = audited()
    leak = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 60, "unit": "leakage"}
    changed = made | {
        "utility": useful(0.45),
        "control": made["control"] | {"utility": useful(0.5)},
        "leakage": made["leakage"] | {"picture_similarity": leak},
        "verdict": made["verdict"] | {"level": "partial"},
    }
    sentence = demo.conclusion(typed(changed))
    assert "keeps 90% of its mean MCC (0.450 of 0.500)" in sentence
    assert all(part in sentence for part in ("25.0", "20.0", "30.0", "the verdict is partial"))
    refused = changed | {"leakage": made["leakage"] | {"picture_similarity": {"refused": "there is no verifier"}}}
    assert "how much cannot be said: there is no verifier" in demo.conclusion(typed(refused))
