"""What a pull request shows of an audit or a comparison, and the recipe of docs/ci.md that makes it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from audited import audited, refused, typed
from oneway import cli
from oneway.errors import InputError
from oneway.report.junit import Check
from oneway.report.summary import GITHUB, audit_summary, write_summary

CI = (Path(__file__).parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
CHECKS = [
    Check(name="rank_1", passed=False, message="rank_1 0.318 [0.300, 0.336], limit 0.3", seconds=0),
    Check(name="ssim", passed=True, message="ssim 0.428 [0.411, 0.445], limit 0.5", seconds=0),
]


def test_a_summary_says_verdict_figures_limits_and_guards() -> None:
    text = audit_summary(typed(audited()), CHECKS)
    assert text.startswith("### Audit of faces64-layer2-pixel3: partial\n\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + len(typed(audited()).verdict.numbers)
    assert {row.count("|") for row in rows} == {6}
    assert "- **FAILED**: rank&#95;1 0.318 &#91;0.300, 0.336&#93;, limit 0.3\n- passed: ssim" in text
    assert "guard FAILED: convergence" in text
    assert "3 points that this audit does not show" in text


def test_an_audit_without_figures_has_a_summary_without_a_table() -> None:
    text = audit_summary(typed(refused()))
    assert "| " not in text
    assert "Nothing could be measured, so nothing is known." in text


def test_no_name_becomes_markup() -> None:
    results = audited()
    results["victim"]["name"] = "a|b <img src=x> [c](http://d) `e`\n# f"
    heading = audit_summary(typed(results)).splitlines()[0].removeprefix("### ")
    assert not re.search(r"[<>|`\[\]#](?!\d)", re.sub(r"&#\d+;", "", heading))


def test_it_is_written_anew_and_appended_to_a_jobs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sub" / "summary.md"
    monkeypatch.delenv(GITHUB, raising=False)
    for text in ("one\n", "two\n"):
        write_summary(path, text)
    assert path.read_text() == "two\n"
    monkeypatch.setenv(GITHUB, str(path))
    write_summary(path, "three\n")
    assert path.read_text() == "two\nthree\n\n"
    other = tmp_path / "other.md"
    write_summary(other, "four\n")
    assert other.read_text() == "four\n"
    for folder in (tmp_path, Path()):
        monkeypatch.setenv(GITHUB, str(folder))
        with pytest.raises(InputError, match="is a folder; name a file in it"):
            write_summary(folder, "five")
    monkeypatch.setenv(GITHUB, str(other / "sub"))
    with pytest.raises(InputError, match="cannot be written"):
        write_summary(other / "sub", "six")


def steps() -> list[str]:
    """The lines that the steps of every recipe in docs/ci.md run."""
    recipes = re.findall(r"^```yaml\n(.*?)^```", CI, flags=re.DOTALL | re.MULTILINE)
    assert recipes
    found = []
    for recipe in map(yaml.safe_load, recipes):
        assert True in recipe, "`on` is read as true by YAML 1.1, as every reader of workflows knows"
        assert recipe["permissions"] == {"contents": "read"}
        for job in recipe["jobs"].values():
            assert {"runs-on", "steps"} <= set(job)
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)
                found += step.get("run", "").replace("\\\n", " ").splitlines()
    return found


def commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", CI, flags=re.DOTALL | re.MULTILINE)
    lines = [*steps(), *(line.split(" #")[0] for block in blocks for line in block.replace("\\\n", " ").splitlines())]
    return [line.strip() for line in lines if line.strip().startswith("oneway ")]


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_recipe_is_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GITHUB, "summary.md")
    _, name, *arguments = (word.replace("$GITHUB_STEP_SUMMARY", "summary.md") for word in shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        cli.main([name, *arguments])
    # All that is wrong is that the example's files are not here; a flag that is unknown is said in other words.
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert re.match(r"error: \S*(faces64|audits/last)\S* ", line), line
    assert list(tmp_path.iterdir()) == []


def test_the_recipe_audits_compares_and_keeps_what_was_found() -> None:
    assert {line.split()[1] for line in commands()} == {"audit", "compare"}
    assert sum("GITHUB_STEP_SUMMARY" in line for line in steps()) == 2
