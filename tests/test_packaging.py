"""What is handed out: a wheel and an archive of the sources, whole, with types, and of no more than the package."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*arguments: str | Path, folder: Path = ROOT) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("hatchling", "build", "--directory", folder)
    return folder


def test_wheel_and_sources_are_whole_and_say_what_they_are(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sources,) = built.glob("*.tar.gz")
    assert run("twine", "check", "--strict", wheel, sources).count("PASSED") == 2
    assert "OK" in run("check_wheel_contents", wheel)
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "oneway").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
        (said,) = [name for name in opened.namelist() if name.endswith("METADATA")]
        metadata = opened.read(said).decode()
    assert held == package
    assert "oneway/py.typed" in held
    assert set(re.findall(r"^Provides-Extra: (\w+)$", metadata, flags=re.MULTILINE)) == set(
        PROJECT["optional-dependencies"]
    )
    with tarfile.open(sources) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames()}
    assert {"LICENSE", "README.md", "SECURITY.md", "CITATION.cff", "pyproject.toml", "src/oneway/py.typed"} <= names
    assert [name for name in names if name.startswith(("site/", "docs/reference/", "demo/", "runs/"))] == []


def test_the_extras_are_documented() -> None:
    page = (ROOT / "docs" / "start" / "install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(PROJECT["optional-dependencies"])


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in citation
    assert f"\nlicense: {PROJECT['license']}\n" in citation
    assert version("oneway") == PROJECT["version"]
