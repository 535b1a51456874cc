"""The examples of the README, and of the pages that it sends readers to, run as they stand."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from string import Template

import pytest

import oneway
from oneway import cli

README = (Path(__file__).parents[1] / "README.md").read_text()
MEASURED, USAGE, PYTHON = (
    (Path(__file__).parents[1] / "docs" / f"{page}.md").read_text() for page in ("measured", "usage", "python")
)


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_python_example_runs(
    pack: oneway.Pack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    defaults: Callable[..., None],
) -> None:
    example = "".join(blocks("python", PYTHON))
    (tmp_path / "faces64").symlink_to(pack.path)
    monkeypatch.chdir(tmp_path)
    # The budgets alone are made small; every call and every name is the example's.
    defaults("oneway.auditing.attack.InversionConfig", max_steps=2, check_every=1, width=0.25)
    defaults("oneway.judges.identification.IdentificationConfig", steps=2, width=0.125)
    short, count = re.subn(r"steps=\d+", "steps=2", example)
    assert count == 1
    exec(compile(short, "python.md", "exec"), {})
    printed = capsys.readouterr().out.strip()
    assert "face similarity ↓" in printed
    assert re.fullmatch(r"-?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\]", printed.splitlines()[-1])
    assert (tmp_path / "runs" / "mine" / "attack" / "results.json").is_file()
    (pack.path / "verifier.safetensors").unlink()


def test_the_install_section_says_what_the_package_says_of_itself() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    (section,) = re.findall(r"^## Install\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in section
    assert {"uv pip install .", "pip install ."} <= {each.strip() for each in re.split(r"[#\n]|or:", section)}
    assert "`oneway --version`" in section
    assert "`python -m oneway`" in section
    extras = set(re.findall(r"`\[(\w+)\]`", section))
    assert extras == set(project["optional-dependencies"])


def test_the_first_screen_shows_the_loop_and_its_page() -> None:
    first = README.splitlines()[:20]
    assert [line.split()[1] for line in first if line.startswith("oneway ")] == ["protect", "audit", "export", "watch"]
    assert any("](docs/serving.png)" in line for line in first)


def commands() -> list[str]:
    shown = [block for page in (README, USAGE, MEASURED) for block in blocks("", page)]
    lines = [line.split("#")[0].strip() for block in shown for line in block.splitlines()]
    kept = dict(
        re.findall(r'^([A-Z]+)="(.*)"$', "\n".join(lines), flags=re.MULTILINE)
    )  # the shell's, used below as $NAME
    return [Template(line).substitute(kept) for line in lines if line.startswith("oneway ")]


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_readme_are_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _, name, *arguments = shlex.split(command)
    place = arguments[1] if name in ("prepare", "benchmark", "experiment") else arguments[0]
    place = arguments[arguments.index("--data") + 1] if "--data" in arguments else place
    with pytest.raises(SystemExit):
        cli.main([name, *arguments])
    # All that may be wrong is that the example's data is not here; a flag that is unknown is said in other words.
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {place}")
    assert list(tmp_path.iterdir()) == []


def test_the_readme_takes_its_figures_from_where_they_were_measured() -> None:
    (section,) = re.findall(r"^## Measured\n(.*?)^## ", README, flags=re.DOTALL | re.MULTILINE)
    figures = re.findall(r"-?\d+\.\d+[^\d]*? \[-?\d+\.\d+, -?\d+\.\d+\]", section)
    assert len(figures) == 11
    assert [figure for figure in figures if figure not in MEASURED] == []


def test_the_readme_is_short_and_sends_readers_to_pages_that_are_there() -> None:
    assert len(README.splitlines()) <= 120
    linked = re.findall(r"\]\(((?!https:)[^)#]+)\)", README)
    assert [page for page in linked if not (Path(__file__).parents[1] / page).exists()] == []


def test_the_readme_shows_commands() -> None:
    assert {command.split()[1] for command in commands()} == {
        "prepare",
        "protect",
        "attack",
        "audit",
        "compare",
        "price",
        "export",
        "card",
        "serve",
        "watch",
        "benchmark",
        "recommend",
        "leaderboard",
        "experiment",
    }
