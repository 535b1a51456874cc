"""What another package adds is found: in help, in an audit, its report, the table, the page and the limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import oneway
from conftest import RUNTIME
from oneway.attacks.panel import attackers
from oneway.cli import main
from oneway.config import to_dict
from oneway.data.prepare import prepare
from oneway.data.readers.layouts import layouts
from oneway.errors import InputError
from oneway.judges.cache import known_features
from oneway.judges.named import open_named
from oneway.judges.vectors import vectors_of
from oneway.metrics.registry import Metric, metrics
from oneway.plugins import points, registered
from oneway.protection.defences.defence import penalty_of, worn, wrapped
from oneway.protection.recipes import Recipe, classes, names, recipes
from oneway.sweep.benchmark import DefencesConfig
from oneway.sweep.store import absolute
from oneway.tasks.registry import kinds
from oneway.tasks.task import labels_of, loss_of, utility_of
from test_columns import mixed

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
from oneway.attacks.panel import attackers
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
    small = ["steps=2", "network.width=0.125", "network.feature_width=8", "task=Smiling", *runtime]
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
    assert list(inversion["ways"]) == ["linear", "kernel", "frugal"]
    assert {"brightness", "colour", "picture_similarity"} < set(inversion["ways"]["frugal"]["scores"])
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


@pytest.mark.parametrize("command", ["audit", "benchmark"])
def test_help_names_what_other_packages_add_to_what_is_measured(
    command: str, adds: Adds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adds(METRICS, ADDED[METRICS])
    install(tmp_path, {group: ADDED[group] for group in ("oneway.attacks", "oneway.judges")}, "other")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Installed packages add: attackers frugal; figures brightness, colour; judges thumbnail." in said
    assert "Args:" not in said


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
    def {method}(self, encoder, pictures, features): return {term}
"""
PARTS = {"above": "@checked", "kind": 'Literal["x"]', "field": "step", "method": "penalty", "term": "None"}
"""One that can be used."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"above": ""}, "must be made by `@checked`"),
        ({"kind": "str"}, r"must have a field `name: Literal\[\"x\"\] = \"x\"`"),
        ({"field": "steps"}, "must name by `strength` the field that says how strong it is, not 'step'"),
        ({"kind": "Nowhere"}, r"cannot be loaded \(NameError"),
        ({"method": "penalise"}, "must have a method `wrap` or `penalty`, or it does nothing"),
        ({"field": "strengths: ClassVar[tuple] = (0, 1); step"}, r"must have strengths that are numbers above 0, not"),
    ],
)
def test_a_defence_of_another_package_that_is_none_is_named(
    changes: dict[str, str], message: str, adds: Adds, monkeypatch: pytest.MonkeyPatch
) -> None:
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(PARTS | changes))
    with pytest.raises(InputError, match=refused("oneway.defences", "x") + message):
        classes.__wrapped__()


@pytest.mark.parametrize("name", ["none", "noise"])
def test_a_defence_of_another_package_has_a_name_of_its_own(name: str, adds: Adds) -> None:
    adds("oneway.defences", {name: "added:Added"})
    with pytest.raises(InputError, match=refused("oneway.defences", name) + "has a name that is taken"):
        names()


def test_a_defence_of_another_package_is_listed_and_made(adds: Adds, capsys: pytest.CaptureFixture[str]) -> None:
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(PARTS))
    made = classes.__wrapped__()["x"](step=2.0)  # type: ignore[call-arg]
    assert (made.name, made.level) == ("x", 2.0)
    assert names() == [*recipes(), "x"]
    with pytest.raises(SystemExit):
        main(["protect", "--help"])
    assert ", x." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            "features.square()",
            r"must give by `penalty` one number as a tensor \(\) with a gradient, .*not a tensor \(2, 3",
        ),
        ("features.detach().sum()", r"must give by `penalty` .* with a gradient, or None, not a tensor \(\)"),
        ("3.0", "must give by `penalty` .* not 3.0"),
        ("features.nowhere", r"fails \(AttributeError: 'Tensor' object has no attribute 'nowhere'\)"),
    ],
)
def test_a_penalty_of_another_package_that_cannot_be_minimised_is_named(term: str, message: str, adds: Adds) -> None:
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(PARTS | {"term": term}))
    made = classes.__wrapped__()["x"]()
    features = torch.zeros(2, 3, requires_grad=True)
    with pytest.raises(InputError, match=refused("oneway.defences", "x") + message):
        penalty_of(made, nn.Identity(), torch.zeros(2, 3, 4, 4), features)


@pytest.mark.parametrize(("made", "message"), [("3", "must give by `wrap` an encoder"), ("1 / 0", r"fails \(ZeroDiv")])
def test_what_another_package_puts_on_an_encoder_must_be_one(made: str, message: str, adds: Adds) -> None:
    text = DEFENCE.format_map(PARTS) + f"    def wrap(self, encoder, shape): return {made}\n"
    adds("oneway.defences", {"x": "added:Added"}, text)
    with pytest.raises(InputError, match=refused("oneway.defences", "x") + message):
        wrapped(classes.__wrapped__()["x"](), nn.Identity(), (3,))


def test_an_error_about_an_encoder_names_the_package_that_put_something_on_it(adds: Adds) -> None:
    adds("oneway.defences", {"x": "added:Added"}, DEFENCE.format_map(PARTS))
    with (
        pytest.raises(InputError, match=r"^too small \(the entry point 'x' .*, in the package oneway"),
        worn(classes.__wrapped__()["x"]()),
    ):
        raise InputError("too small")


def test_a_defence_without_strengths_is_compared_only_at_one_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = recipes() | {"x": Recipe(make=lambda config, strength: config)}
    monkeypatch.setattr("oneway.sweep.benchmark.recipes", lambda: every)
    with pytest.raises(InputError, match="the defence 'x' says no strengths to compare it at; give x=STRENGTH"):
        DefencesConfig(defences=("noise", "x"))
    assert DefencesConfig(defences=("x=2",)).defences == ("x=2",)


# ---- tasks

TASK = """
from dataclasses import dataclass
from typing import ClassVar, Literal
import numpy as np
from oneway.config import checked
from oneway.tasks.task import Task

{above}
@dataclass(frozen=True, kw_only=True)
class Added(Task):
    name: {kind} = "x"
    kinds: ClassVar = ("binary",)
    {title}: ClassVar = "agreement"
    unit: ClassVar = "share"
    num_logits = 1
    @classmethod
    def {of}(cls, columns, training, held): return cls(columns=columns)
    def labels(self, part): return {labels}
    def loss(self, logits, labels): return {loss}
    def decide(self, logits): return {{self.columns[0]: logits[:, 0] > 0}}
    def {told}(self, logits): return (logits > 0).astype(np.float32)
    def statistics(self, logits, labels): return {statistics}
    def score(self, sums): return {score}
"""
TASKED = {
    "above": "@checked",
    "kind": 'Literal["x"]',
    "title": "title",
    "of": "of",
    "labels": "np.zeros((len(part), 1))",
    "loss": "logits.mean()",
    "told": "told",
    "statistics": "np.ones((len(logits), 2))",
    "score": "sums[:, 0] / sums[:, 1]",
}
"""One that can be used."""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"above": ""}, "must be made by `@checked`"),
        ({"kind": "str"}, r"must have a field `name: Literal\[\"x\"\] = \"x\"`"),
        ({"title": "heading"}, "must have `title`"),
        ({"of": "made"}, "must have `of`"),
        ({"told": "decided"}, "must have `told`"),
    ],
)
def test_a_task_of_another_package_that_is_none_is_named(changes: dict[str, str], message: str, adds: Adds) -> None:
    adds("oneway.tasks", {"x": "added:Added"}, TASK.format_map(TASKED | changes))
    with pytest.raises(InputError, match=refused("oneway.tasks", "x") + message):
        kinds.__wrapped__()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"labels": "[1]"}, r"must give labels \(4, 1\), numbers of each picture, not list"),
        ({"labels": "np.zeros(len(part))"}, r"must give labels \(4, 1\), numbers of each picture, not float64 \(4,\)"),
        ({"loss": "logits"}, r"must give by `loss` one number as a tensor \(\), not a tensor \(4, 1\)"),
        ({"loss": "logits.nowhere"}, r"fails \(AttributeError"),
        ({"statistics": "np.ones(3)"}, r"must give by `statistics` an array \(4, d\), a row for each picture"),
        ({"statistics": "np.full((4, 2), np.nan)"}, "must give by `statistics` finite numbers"),
        ({"score": "sums[:, 0] + 1"}, "must give by `score` finite numbers, at most 1, not 5.0"),
    ],
)
def test_what_a_task_of_another_package_gives_is_held_to_what_it_must_be(
    changes: dict[str, str], message: str | None, adds: Adds
) -> None:
    adds("oneway.tasks", {"x": "added:Added"}, TASK.format_map(TASKED | changes))
    task = kinds.__wrapped__()["x"](columns=("a",))
    part: Any = range(4)

    def use() -> float:
        labels = labels_of(task, part)
        loss_of(task, torch.zeros(4, 1), torch.from_numpy(labels))
        return utility_of(task, np.zeros((4, 1)), labels, np.arange(4)).value.value

    if message is None:
        assert use() == 1
        return
    with pytest.raises(InputError, match=refused("oneway.tasks", "x") + message):
        use()


LEARNED = """
import sys
from dataclasses import replace
from pathlib import Path
import oneway
from oneway.config import override
from oneway.protection.config import small

pack = oneway.Pack.open(sys.argv[1])
settings = {"network.width": 0.125, "network.cut": "layer1", "runtime.device": "cpu"}
settings |= {"steps": 2, "task": "ordinal:hair"}
oneway.protect(pack, Path(sys.argv[2]), override(small(), settings), progress=False)
loaded = oneway.load_encoder(sys.argv[2])
print(*loaded.decide(loaded.encode(pack.test.images(slice(0, 3))))["hair"])
"""


@pytest.mark.whole
def test_a_task_of_another_package_is_learned_and_decides(tmp_path: Path) -> None:
    """In one process, where the example is installed."""
    install(tmp_path, {"oneway.tasks": ADDED["oneway.tasks"]})
    pack = prepare(mixed(), tmp_path / "pack", size=16, jobs=1, progress=False)
    paths = [str(tmp_path), str(EXAMPLE), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", LEARNED, str(pack.path), str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= set(pack.classes["hair"])
    said = json.loads((tmp_path / "run" / "config.json").read_text())["task"]
    assert said == [{"name": "ordinal", "columns": ["hair"], "classes": list(pack.classes["hair"])}]
    utility = json.loads((tmp_path / "run" / "results.json").read_text())["utility"]
    assert (utility["title"], utility["of"]) == ("variance of ranks explained", "hair")
    with pytest.raises(InputError, match=r"task.*'ordinal'"):  # where the package is not installed
        oneway.Run.open(tmp_path / "run", pack)


# ---- attackers

ATTACKER = """
import torch
from torch import nn
from oneway.attacks.fit import Fitted
from oneway.attacks.panel import Attacker

class Network(nn.Module):
    def forward(self, features):
        return {drawn}

def fit(context):
    return {fitted}

ATTACKER = Attacker(name="x", fit=fit, {fields})
"""
FITTED = "Fitted(network=Network(), steps=0, converged=True, validation_error=0.1)"
GREY = "torch.full((len(features), 3, 16, 16), 0.5)"


def fitted_by(adds: Adds, **changes: str) -> Any:
    """Fit the attacker of another package on pictures of 16 pixels."""
    parts = {"drawn": GREY, "fitted": FITTED, "fields": ""}
    adds("oneway.attacks", {"x": "added:ATTACKER"}, ATTACKER.format_map(parts | changes))
    context: Any = SimpleNamespace(public=SimpleNamespace(pack=SimpleNamespace(size=16)))
    return attackers.__wrapped__()["x"].fit(context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": "at_least=('linear', 'best')"}, "names an attacker 'best' that does not exist; there are linear, "),
        ({"fields": "start='best'"}, "names an attacker 'best' that does not exist"),
        ({"fitted": "3"}, "must give an oneway.attacks.fit.Fitted, not 3"),
        ({"fitted": "context.nowhere"}, r"fails \(AttributeError: "),
        (
            {"fitted": FITTED.replace("0.1", "float('nan')")},
            "must give a validation_error that is a finite float, not nan",
        ),
        ({"fitted": FITTED.replace("Network()", "abs")}, "must give a network, a torch.nn.Module, not <built-in"),
        ({"fitted": FITTED.replace("steps=0", "steps=None")}, "must give steps and converged, an int and a bool"),
    ],
)
def test_an_attacker_of_another_package_that_is_none_is_named(
    changes: dict[str, str], message: str, adds: Adds
) -> None:
    with pytest.raises(InputError, match=refused("oneway.attacks", "x") + message):
        fitted_by(adds, **changes)


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (f"255 * {GREY}", r"draws pictures in 127\.5\.\.127\.5, not in 0\.\.1"),
        (f"{GREY} * float('nan')", r"draws pictures in nan\.\.nan, not in 0\.\.1"),
        (f"{GREY}[:, :, :8]", r"draws pictures \(2, 3, 8, 16\), not \(2, 3, 16, 16\)"),
        (f"{GREY}[:1]", r"draws pictures \(1, 3, 16, 16\), not \(2, 3, 16, 16\)"),
        ("None", r"draws NoneType, not a tensor of pictures \(2, 3, 16, 16\)"),
        ("features @ torch.zeros(3, 3)", r"fails \(RuntimeError: "),
    ],
)
def test_pictures_of_another_packages_attacker_are_held_to_being_pictures(drawn: str, message: str, adds: Adds) -> None:
    network = fitted_by(adds, drawn=drawn).network
    with pytest.raises(InputError, match=refused("oneway.attacks", "x") + message):
        network(torch.zeros(2, 5))


def test_an_attacker_of_another_package_draws(adds: Adds) -> None:
    fitted = fitted_by(adds)
    assert not fitted.network.training
    assert torch.equal(fitted.network(torch.zeros(2, 5)), torch.full((2, 3, 16, 16), 0.5))


# ---- metrics

METRIC = """
import numpy as np
from oneway.judges.cache import known_features
from oneway.judges.named import open_named
from oneway.judges.vectors import vectors_of
from oneway.metrics.registry import Metric, metrics
METRIC = Metric(name="x", {fields})
"""
FIELDS = "title='of x', unit='share', measure=lambda drawn, originals: "


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("title='of x', unit='share'", "must be a figure of reconstructions, with a `measure` and without an `attack`"),
        (f"attack='feature', {FIELDS} 0", "must be a figure of reconstructions"),
        (f"safer='lower', {FIELDS} 0", "must have safer='low' or safer='high', not 'lower'"),
        ("title='', unit='share', measure=abs", "must have a title and a unit"),
        (f"{FIELDS} drawn.mean((1, 2, 3))", "must measure numbers in a NumPy array, not Tensor"),
        (f"{FIELDS} drawn.mean((2, 3)).numpy()", r"must measure one number a picture, \(2,\), not \(2, 3\)"),
        (f"{FIELDS} np.array([0, np.nan])", "measures nan, which is no finite number"),
        (f"{FIELDS} drawn @ 3", r"fails \(TypeError: "),
    ],
)
def test_a_metric_of_another_package_that_is_none_is_named(fields: str, message: str, adds: Adds) -> None:
    adds(METRICS, {"x": "added:METRIC"}, METRIC.format(fields=fields))

    def measured() -> object:
        measure = metrics.__wrapped__()["x"].measure
        return measure and measure(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))

    with pytest.raises(InputError, match=refused(METRICS, "x") + message):
        measured()


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
    assert "must give an oneway.data.source.Source by `source`, not 3" in capsys.readouterr().err


PICTURES = """
from dataclasses import dataclass
import numpy as np
from oneway.data.readers.layouts import Packing
from oneway.data.source import Source

def read(index, size):
    return {read}

@dataclass(frozen=True, kw_only=True)
class Added(Packing):
    def source(self):
        names = tuple(map(str, range(40)))
        given = dict(
            layout="x", names=names, attributes=(), labels=np.zeros((40, 0), dtype=bool), identities=names,
            partition=None, landmarks=None, reader=read,
        )
        return Source(**(given | dict({given})))
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"given": "nowhere"}, "fails (NameError: name 'nowhere'"),
        ({"given": "labels=np.zeros((40, 1))"}, "gives labels of float64 (40, 1), which must be bool (40, 0)"),
        ({"given": "identities=('a', 'b')"}, "gives 2 identities, which must be 40, one for each name, or None"),
        ({"given": "landmarks=np.zeros((40, 2))"}, "gives landmarks (40, 2), which must be (40, 5, 2)"),
        ({"given": "names=('a',) * 40"}, "gives the name 'a' to several images"),
        (
            {"read": "np.zeros((size, size), np.uint8)"},
            " as uint8 (16, 16), which must be uint8 (16, 16, 3)",
        ),
        ({"read": "np.zeros((size, size, 3))"}, " as float64 (16, 16, 3), which must be uint8"),
        ({"read": "None"}, " as NoneType"),
        ({"read": "1 / 0"}, "fails (ZeroDivisionError: division by zero)"),
    ],
)
def test_what_another_packages_reader_gives_is_held_to_being_pictures_and_labels(
    changes: dict[str, str], message: str, adds: Adds, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"read": "np.zeros((size, size, 3), np.uint8)", "given": ""}
    adds("oneway.readers", {"x": "added:Added"}, PICTURES.format_map(parts | changes))
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "x", "--out", str(tmp_path / "pack"), "--size", "16", "--jobs", "1"])
    said = capsys.readouterr().err
    assert "error: the package oneway-example 1.0: the entry point 'x' (added:Added) of group oneway.readers" in said
    assert message in said
    assert not (tmp_path / "pack").exists()


# ---- judges


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("2 * vectors", r"must map n pictures to n unit vectors, .* not 3 to vectors of length 2;"),
        ("vectors[:1]", r"must map n pictures .* not 3 to float32 \(1, 192\)"),
        ("vectors.astype(int)", r"must map n pictures .* not 3 to int64 \(3, 192\)"),
        ("vectors.tolist()", "must map n pictures .* not 3 to list"),
        ("1 / 0", r"fails \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_judge_of_another_package_is_held_to_unit_vectors_of_every_picture(
    bad: str, message: str, adds: Adds, pack: oneway.Pack
) -> None:
    text = f"""
from oneway_example.judge import Thumbnail
class Judge(Thumbnail):
    name = "x"
    def __call__(self, pictures, landmarks=None, /):
        vectors = super().__call__(pictures, landmarks)
        return vectors if len(pictures) == 1 else {bad}
"""
    adds("oneway.judges", {"x": "added:Judge"}, text)
    made = open_named("x", pack)
    with pytest.raises(InputError, match=refused("oneway.judges", "x") + message):
        vectors_of(made, torch.rand(3, 3, 16, 16), None)


def test_a_judge_that_gives_numbers_that_are_not_finite_is_named_with_its_package(
    adds: Adds, pack: oneway.Pack
) -> None:
    text = """
from oneway_example.judge import Thumbnail
class Judge(Thumbnail):
    name, fingerprint = "x", None
    def __call__(self, pictures, landmarks=None, /):
        vectors = super().__call__(pictures, landmarks)
        return vectors if len(pictures) == 1 else vectors * float("nan")
"""
    adds("oneway.judges", {"x": "added:Judge"}, text)
    with pytest.raises(InputError, match=r"features of the verifier 'x' \(the entry point 'x' .* the package oneway"):
        known_features(open_named("x", pack), pack.public, progress=False)


def test_a_judge_given_in_python_is_named_too(pack: oneway.Pack) -> None:
    class Long:
        name, fingerprint = "long", None

        def __call__(self, pictures: torch.Tensor, landmarks: Any = None, /) -> Any:
            return np.full((len(pictures), 2), 3.0, dtype=np.float32)

    with pytest.raises(InputError, match=r"^'long' must map .* vectors of length 4\.24$"):
        known_features(Long(), pack.public, progress=False)


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
    for given in (Path("thumbnail"), "thumbnail", ["thumbnail"]):
        assert absolute(given) == (Path("thumbnail"),), "a sweep's processes find it by its name"
    with pytest.raises(InputError, match=r"verifier 'thumb' does not exist; give .*, or thumbnail"):
        oneway.open_verifier(pack, "thumb")
    monkeypatch.chdir(tmp_path)
    Path("thumbnail").write_text("a file")
    with pytest.raises(InputError, match="thumbnail is not a readable safetensors file"):
        oneway.open_verifier(pack, "thumbnail")
