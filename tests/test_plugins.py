"""What another package adds is found: in help, in an audit, its report, the table, the page and the limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oneway
from conftest import RUNTIME
from oneway.cli import main
from oneway.config import to_dict
from oneway.data.readers.layouts import layouts
from oneway.errors import InputError
from oneway.metrics.registry import Metric
from oneway.plugins import points, registered
from oneway.protection.recipes import classes, names, recipes
from oneway.sweep.store import absolute

Adds = Callable[..., None]
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


SCRIPT = """
import json, sys
from pathlib import Path
from oneway.cli import main
from oneway.sweep.benchmark import DefencesConfig, cells

print("strengths", *(cell.strength for cell in cells(DefencesConfig(defences=("rounding",)), Path(sys.argv[2]))))
for arguments in json.loads(sys.argv[1]):
    print(*arguments)
    main(arguments)
"""


@pytest.mark.whole
def test_what_another_package_adds_trains_is_compared_attacks_measures_and_judges(
    people: oneway.Pack, tmp_path: Path
) -> None:
    """In one process, where the example is installed."""
    install(tmp_path, ADDED)
    run, out = tmp_path / "run", tmp_path / "audit"
    runtime = [f"runtime.{name}={value}" for name, value in to_dict(RUNTIME).items() if name in ("device", "precision")]
    small = ["steps=2", "network.width=0.125", "network.feature_width=8", "attributes=Smiling", *runtime]
    audit = ["attackers=frugal", "brief=true", "steps=2", *runtime]
    commands = [
        ["protect", people.path, "--out", run, "--cut", "fc", "--defence", "rounding=0.01", *settings(small)],
        [
            "audit",
            run,
            "--data",
            people.path,
            "--out",
            out,
            "--verifier",
            "thumbnail",
            "--fail-above",
            "colour=0.5",
            *settings(audit),
        ],
    ]
    paths = [str(tmp_path), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands, default=str), str(people.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert json.loads((run / "config.json").read_text())["protect"]["defence"] == {"name": "rounding", "step": 0.01}
    for expected in ("strengths 0.0 0.5 2.0 8.0", "FAILED: colour", "brightness off by ↑", "colour kept ↓"):
        assert expected in done.stdout
    results = json.loads((out / "results.json").read_text())
    inversion = results["attacks"]["inversion"]
    assert list(inversion["ways"]) == ["linear", "frugal"]
    assert {"brightness", "colour", "face_similarity"} < set(inversion["ways"]["frugal"]["scores"])
    assert "the inversion attacker 'mirror'" in results["untested"]
    assert [judge["name"] for judge in results["judges"]] == ["thumbnail"]
    page = (out / "report.html").read_text(encoding="utf-8")
    for expected in ("frugal", "brightness off by\u00a0↑", "colour kept\u00a0↓", "thumbnail"):
        assert expected in page


def settings(given: Sequence[str]) -> list[str]:
    return [word for setting in given for word in ("--set", setting)]


@pytest.fixture
def adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adds:
    """Let a package be installed here that adds objects to a group, some of them in the module `added` of a text."""

    def add(group: str, points: Mapping[str, str], text: str = "") -> None:
        install(tmp_path, {group: points})
        (tmp_path / "added.py").write_text(text)
        monkeypatch.delitem(sys.modules, "added", raising=False)
        for path in (tmp_path, EXAMPLE):
            monkeypatch.syspath_prepend(str(path))

    return add


def refused(group: str, name: str) -> str:
    """How an error begins that is of an entry point."""
    return rf"^the package oneway-example 1\.0: the entry point '{name}' \(.*\) of group {group} "


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", "no_such_module:X", r"cannot be loaded \(ModuleNotFoundError: .*; mend or remove that package$"),
        ("x", "os:absent", r"cannot be loaded \(AttributeError"),
        ("x", "os:sep", "must be a Metric, not '/'"),
        ("y", "oneway_example.metric:METRIC", "must be called 'y' too, not 'brightness'"),
        ("ssim", "oneway_example.metric:METRIC", "has a name that is taken; there are ssim, psnr"),
        ("far-off", "oneway_example.metric:METRIC", "must have an identifier for a name"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_named_with_its_package(
    name: str, value: str, message: str, adds: Adds
) -> None:
    adds(METRICS, {name: value})
    own = {name: Metric(name=name, title=name, unit="share") for name in ("ssim", "psnr")}
    with pytest.raises(InputError, match=refused(METRICS, name) + message):
        registered(METRICS, Metric, own)


def test_two_packages_cannot_add_one_name(adds: Adds, tmp_path: Path) -> None:
    adds(METRICS, {"x": "os:sep"})
    install(tmp_path, {METRICS: {"x": "os:sep"}}, "other")
    with pytest.raises(InputError, match=r"^the package [\w-]+ 1.0: the entry point 'x' .* has the name of one in"):
        points(METRICS)


# ---- defences

DEFENCE = """
from dataclasses import dataclass
from typing import ClassVar, Literal
from oneway.config import NotNegative, checked
from oneway.protection.defences.defence import Defence

{above}
@dataclass(frozen=True, kw_only=True)
class Added(Defence):
    name: {kind} = "x"
    strength: ClassVar[str] = "step"
    {field}: NotNegative = 1.0
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"above": ""}, "must be made by `@checked`"),
        ({"kind": "str"}, r"must have a field `name: Literal\[\"x\"\] = \"x\"`"),
        ({"field": "steps"}, "must name by `strength` the field that says how strong it is, not 'step'"),
        ({"kind": "Nowhere"}, r"cannot be loaded \(NameError"),
    ],
)
def test_a_defence_of_another_package_that_is_none_is_named(
    changes: dict[str, str], message: str, adds: Adds, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"above": "@checked", "kind": 'Literal["x"]', "field": "step"}
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(parts | changes))
    with pytest.raises(InputError, match=refused("oneway.defences", "x") + message):
        classes.__wrapped__()


@pytest.mark.parametrize("name", ["none", "noise"])
def test_a_defence_of_another_package_has_a_name_of_its_own(name: str, adds: Adds) -> None:
    adds("oneway.defences", {name: "added:Added"})
    with pytest.raises(InputError, match=refused("oneway.defences", name) + "has a name that is taken"):
        names()


def test_a_defence_of_another_package_is_listed_and_made(adds: Adds, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"above": "@checked", "kind": 'Literal["x"]', "field": "step"}
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(parts))
    made = classes.__wrapped__()["x"](step=2.0)  # type: ignore[call-arg]
    assert (made.name, made.level) == ("x", 2.0)
    assert names() == [*recipes(), "x"]
    with pytest.raises(SystemExit):
        main(["protect", "--help"])
    assert ", x." in " ".join(capsys.readouterr().out.split())


# ---- readers

READER = """
from dataclasses import dataclass
from oneway.data.readers.layouts import Packing

@dataclass(frozen=True, kw_only=True)
class Added(Packing):
    {field} = 1
    def {method}(self): return 3
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "read"}, "must have a method `source`"),
        ({"field": "odd: Nowhere"}, r"cannot be loaded \(NameError"),
    ],
)
def test_a_reader_of_another_package_that_is_none_is_named(
    changes: dict[str, str], message: str, adds: Adds, capsys: pytest.CaptureFixture[str]
) -> None:
    text = READER.format_map({"method": "source", "field": "odd: int"} | changes)
    adds("oneway.readers", {"x": "added:Added"}, f"from __future__ import annotations\n{text}")
    with pytest.raises(InputError, match=refused("oneway.readers", "x") + message):
        layouts()
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "synthetic", "--out", "never"])
    assert "the package oneway-example 1.0" in capsys.readouterr().err


def test_a_reader_of_another_package_has_a_command_with_its_flags(
    adds: Adds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adds("oneway.readers", ADDED["oneway.readers"])
    with pytest.raises(SystemExit, match="0"):
        main(["prepare", "album", "--help"])
    assert "--kind" in capsys.readouterr().out
    for person in range(6):
        (tmp_path / f"album/{person}").mkdir(parents=True)
        for shot in range(2):
            pixels = np.random.default_rng(2 * person + shot).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"album/{person}/{shot}.png")
    main(["prepare", "album", str(tmp_path / "album"), "--out", str(tmp_path / "pack"), "--size", "16", "--jobs", "1"])
    made = oneway.Pack.open(tmp_path / "pack")
    assert sum(len(part) for part in (made.private, made.public, made.validation, made.test)) == 12


def test_a_reader_that_gives_no_source_is_said(adds: Adds, capsys: pytest.CaptureFixture[str]) -> None:
    adds("oneway.readers", {"x": "added:Added"}, READER.format(method="source", field="odd: int"))
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "x", "--out", "never"])
    assert "Added.source gave 3, not an oneway.data.source.Source" in capsys.readouterr().err


# ---- judges


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("'thumbnail'", "must be a function of a pack that makes a judge, not 'thumbnail'"),
        ("lambda pack: Thumbnail(pack, 3)", r"fails on .* \(TypeError: "),
        ("lambda pack: None", r"fails on .* \(AttributeError: 'NoneType' object has no attribute 'name'"),
        ("type('Other', (Thumbnail,), {'name': 'other'})", "must make a judge called 'x' too, not 'other'"),
        ("type('Long', (Named,), {'__call__': lambda *a: 2 * Thumbnail.__call__(*a)})", ".* n unit vectors"),
        ("type('None', (Named,), {'__call__': lambda *a: None})", ".* n unit vectors"),
    ],
)
def test_a_judge_of_another_package_that_is_none_is_named(
    made: str, message: str, adds: Adds, pack: oneway.Pack
) -> None:
    named = "Named = type('Named', (Thumbnail,), {'name': 'x'})"
    text = f"from oneway_example.judge import Thumbnail\n{named}\nJUDGE = {made}\n"
    adds("oneway.judges", {"x": "added:JUDGE"}, text)
    with pytest.raises(InputError, match=refused("oneway.judges", "x") + message):
        oneway.open_verifier(pack, "x")


def test_a_judge_of_another_package_is_opened_by_its_name_unless_a_file_has_it(
    pack: oneway.Pack, adds: Adds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adds("oneway.judges", ADDED["oneway.judges"])
    opened = oneway.open_verifier(pack, "thumbnail")
    assert opened is not None
    assert opened.name == "thumbnail"
    assert absolute(Path("thumbnail")) == Path("thumbnail"), "a sweep's processes find it by its name"
    with pytest.raises(InputError, match=r"verifier 'thumb' does not exist; give .*, or thumbnail"):
        oneway.open_verifier(pack, "thumb")
    monkeypatch.chdir(tmp_path)
    Path("thumbnail").write_text("a file")
    with pytest.raises(InputError, match="thumbnail is not a readable safetensors file"):
        oneway.open_verifier(pack, "thumbnail")
