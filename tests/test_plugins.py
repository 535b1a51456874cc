"""What another package adds is found: in help, in an audit, its report, the table, the page and the limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import oneway
from conftest import RUNTIME
from oneway.config import to_dict
from oneway.errors import InputError
from oneway.judges.verifier import Verifier
from oneway.metrics.registry import Metric
from oneway.plugins import points, registered
from oneway.sweep.store import absolute

Judging = Callable[[str, str], Verifier | None]
METRICS = "oneway.metrics"
EXAMPLE = Path(__file__).parent / "example"
ADDED: dict[str, dict[str, str]] = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]


def install(folder: Path, added: Mapping[str, Mapping[str, str]], name: str = "oneway-example") -> None:
    """Say in a folder what a package of a name adds, as its installation does."""
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in own.items()) for group, own in added.items()
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process in which the example is installed."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, ADDED)
    paths = [str(folder), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"}


def says(environment: dict[str, str], *arguments: object, code: int = 0) -> str:
    """Run a command line where the example is installed; gives what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "oneway", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def runtime() -> list[str]:
    settings = {name: value for name, value in to_dict(RUNTIME).items() if name in ("device", "precision")}
    return [word for name, value in settings.items() for word in ("--set", f"runtime.{name}={value}")]


@pytest.mark.whole
def test_what_another_package_measures_is_in_an_audit_its_limits_its_table_and_its_page(
    people: oneway.Pack, installed: dict[str, str], tmp_path: Path
) -> None:
    import torch

    from test_onnx_encoder import export

    encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3))
    path = export(encoder.eval(), tmp_path / "encoder.onnx")
    out = tmp_path / "audit"
    given = ["--data", people.path, "--out", out, "--verifier", "thumbnail", "--fail-above", "colour=0.5", *runtime()]
    for setting in ("attackers=frugal", "brief=true", "pixels=0..1", "steps=2"):
        given += ["--set", setting]
    said = says(installed, "audit", path, *given, code=3)
    assert "FAILED: colour" in said
    assert "brightness off by ↑" in said
    assert "colour kept ↓" in said
    results = json.loads((out / "results.json").read_text())
    inversion = results["attacks"]["inversion"]
    assert list(inversion["ways"]) == ["linear", "frugal"]
    assert {"brightness", "colour", "face_similarity"} < set(inversion["ways"]["frugal"]["scores"])
    assert "the inversion attacker 'mirror'" in results["untested"]
    assert [judge["name"] for judge in results["judges"]] == ["thumbnail"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for expected in ("frugal", "brightness off by\u00a0↑", "colour kept\u00a0↓", "thumbnail"):
        assert expected in page


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"x": "no_such_module:X"}, "the entry point 'x' (no_such_module:X) of group oneway.metrics cannot be loaded"),
        ({"x": "os:absent"}, "cannot be loaded (AttributeError"),
        ({"x": "os:sep"}, "must be a Metric, not '/'"),
        ({"y": "oneway_example.metric:METRIC"}, "must be called 'y' too, not 'brightness'"),
        ({"ssim": "oneway_example.metric:METRIC"}, "has a name that is taken; there are ssim, psnr"),
        ({"far-off": "oneway_example.metric:METRIC"}, "must have an identifier for a name"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_named_with_its_package(
    added: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, {METRICS: added})
    for path in (tmp_path, EXAMPLE):
        monkeypatch.syspath_prepend(str(path))
    own = {name: Metric(name=name, title=name, unit="share") for name in ("ssim", "psnr")}
    with pytest.raises(InputError) as refused:
        registered(METRICS, Metric, own)
    assert str(refused.value).startswith("the package oneway-example 1.0: the entry point ")
    assert message in str(refused.value)


def test_two_packages_cannot_add_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        install(tmp_path, {METRICS: {"x": "os:sep"}}, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"the package o\w+ 1.0: the entry point 'x' .* has the name of one in"):
        points(METRICS)


@pytest.fixture
def judging(pack: oneway.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judging:
    """Open a judge for a pack, by its name, where a package adds the one that an expression makes."""

    def opened(name: str, made: str) -> Verifier | None:
        (tmp_path / "judging.py").write_text(f"from oneway_example.judge import Thumbnail\nJUDGE = {made}\n")
        install(tmp_path, {"oneway.judges": {name: "judging:JUDGE"}})
        for path in (tmp_path, EXAMPLE):
            monkeypatch.syspath_prepend(str(path))
        monkeypatch.delitem(sys.modules, "judging", raising=False)
        return oneway.open_verifier(pack, name)

    return opened


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("'thumbnail'", "must be a function of a pack that makes a judge, not 'thumbnail'"),
        ("lambda pack: Thumbnail(pack, 3)", "fails on .* \\(TypeError: "),
        ("lambda pack: None", "fails on .* \\(AttributeError: 'NoneType' object has no attribute 'name'"),
        ("type('Other', (Thumbnail,), {'name': 'other'})", "must make a judge called 'thumbnail' too, not 'other'"),
        ("type('Long', (Thumbnail,), {'__call__': lambda *a: 2 * Thumbnail.__call__(*a)})", "n unit vectors"),
        ("type('None', (Thumbnail,), {'__call__': lambda *a: None})", "n unit vectors"),
    ],
)
def test_a_judge_of_another_package_that_is_none_is_named(made: str, message: str, judging: Judging) -> None:
    with pytest.raises(InputError, match=rf"the package oneway-example 1.0: the entry point 'thumbnail' .*{message}"):
        judging("thumbnail", made)


def test_a_judge_of_another_package_is_opened_by_its_name_unless_a_file_has_it(
    pack: oneway.Pack, judging: Judging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = judging("thumbnail", "Thumbnail")
    assert opened is not None
    assert opened.name == "thumbnail"
    assert absolute(Path("thumbnail")) == Path("thumbnail"), "a sweep's processes find it by its name"
    with pytest.raises(InputError, match=r"verifier 'thumb' does not exist; give .*, or thumbnail"):
        oneway.open_verifier(pack, "thumb")
    monkeypatch.chdir(tmp_path)
    Path("thumbnail").write_text("a file")
    with pytest.raises(InputError, match="thumbnail is not a readable safetensors file"):
        oneway.open_verifier(pack, "thumbnail")
