"""The command line: few flags, held by a listing; errors in one line; nothing heavy imported for help."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import oneway
from conftest import Attacked
from oneway import cli
from oneway.config import override
from oneway.protection.config import ProtectConfig, paper, small

pytestmark = pytest.mark.whole

PACKING = {"--out", "--size", "--public", "--seed", "--jobs", "--skip-bad", "--resume"}
FLAGS = {
    "": set(),
    "prepare": set(),
    "prepare celeba": PACKING,
    "prepare lfw": PACKING,
    "prepare folder": PACKING | {"--labels", "--identity", "--align"},
    "prepare huggingface": PACKING | {"--identity", "--split", "--attributes"},
    "prepare webdataset": PACKING | {"--identity", "--division", "--linked"},
    "prepare synthetic": PACKING | {"--people", "--shots"},
    "protect": {
        "--out",
        "--preset",
        "--cut",
        "--task",
        "--steps",
        "--seed",
        "--device",
        "--defence",
        "--set",
        "--show-config",
        "--resume",
    },
    "attack": {
        "--out",
        "--data",
        "--control",
        "--verifier",
        "--steps",
        "--seed",
        "--device",
        "--images",
        "--set",
        "--show-config",
        "--resume",
    },
    "audit": {
        "--out",
        "--features",
        "--data",
        "--control",
        "--verifier",
        "--fail-above",
        "--summary",
        "--thorough",
        "--seed",
        "--device",
        "--images",
        "--set",
        "--show-config",
        "--resume",
        "--jobs",
    },
    "compare": {"--out", "--summary", "--fail-if-worse", "--margin"},
    "price": {"--task", "--data", "--verifier", "--out", "--seed", "--device"},
    "export": {"--out", "--data", "--bits", "--attack", "--key"},
    "card": {"--audit", "--key"},
    "verify-bundle": {"--key"},
    "serve": {"--port", "--host", "--token-file", "--web", "--detector", "--control", "--set"},
    "watch": {"--features", "--canary", "--false-alarms", "--json", "--metrics"},
    "benchmark": {
        "--out",
        "--cut",
        "--defence",
        "--preset",
        "--verifier",
        "--encoders",
        "--jobs",
        "--dry-run",
        "--set",
        "--show-config",
        "--resume",
    },
    "recommend": {"--cut", "--utility", "--leakage", "--excess"},
    "leaderboard": {"--cut", "--utility", "--out"},
    "experiment": {
        "--out",
        "--preset",
        "--extra-public",
        "--perceptual-network",
        "--verifier",
        "--jobs",
        "--dry-run",
        "--set",
        "--show-config",
        "--resume",
    },
    "verifier": {"--out", "--steps", "--seed", "--device", "--set"},
    "demo": {"--out", "--seed"},
    "doctor": set(),
    "completion": set(),
}
"""Every flag there is. A new one needs a reason: a field of a configuration is reached by --set."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def oneway_says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in a folder of its own; gives its exit code, and what it wrote to both streams."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)  # or what a command should have refused is written into the checkout

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = int(exit.code or 0)
        out, errors = capsys.readouterr()
        return code, out, errors

    return run


@pytest.mark.parametrize("command", FLAGS)
def test_the_flags_of_a_command_are_these_and_at_most_fifteen(oneway_says: Run, command: str) -> None:
    code, out, _ = oneway_says(*command.split(), "--help")
    shown = re.findall(r"^[│ ] (?:-\w, )?(--[a-z][a-z-]*)", out, flags=re.MULTILINE)
    assert code == 0
    assert len(shown) == len(set(shown))
    assert set(shown) - {"--help"} == FLAGS[command]
    assert len(FLAGS[command]) <= 15


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_what_is_said_of_a_flag_is_one_line_where_there_is_room(
    oneway_says: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "900")
    said = oneway_says(command, "--help")[1].split("\n")
    beside, below = r"[│ ] (?:-\w, )?[-\w]\S*.*", r"[│ ] {6,}\S.*"  # of a flag that leaves no room, its help is below
    broken = [line for line, after in pairwise(said) if re.match(below, line) and re.match(below, after)]
    assert any(re.match(beside, line) for line in said)
    assert not broken


@pytest.mark.parametrize("command", [*cli.COMMANDS, "prepare folder", "prepare celeba"])
def test_help_says_of_no_flag_that_it_is_nothing_by_default(oneway_says: Run, command: str) -> None:
    said = oneway_says(*command.split(), "--help")[1]
    assert not re.search(r"default: (None|False)", said)
    assert command != "prepare folder" or "(default: 0)" in said


def listed(help: str) -> list[str]:
    """The subcommands in a help text, which is drawn in ASCII where the terminal has no more."""
    return re.findall(r"^[│ ] +[^\w\s] ?(\w+) ", help, flags=re.MULTILINE)


def test_every_command_is_in_the_listing(oneway_says: Run) -> None:
    code, out, _ = oneway_says("--help")
    assert code == 0
    assert (
        set(re.findall(r"^  ([\w-]+) ", out, flags=re.MULTILINE))
        == set(cli.COMMANDS)
        == {name.split()[0] for name in FLAGS if name}
    )
    _, out, _ = oneway_says("prepare", "--help")
    assert {f"prepare {layout}" for layout in listed(out)} == {name for name in FLAGS if name.startswith("prepare ")}


@pytest.mark.parametrize(
    ("given", "hint"),
    [([], "which command?"), (["audti", "x"], "did you mean `oneway audit`?"), (["[/bold]"], "there are prepare, ")],
)
def test_a_command_that_is_none_is_said_in_one_line(oneway_says: Run, given: list[str], hint: str) -> None:
    code, _, errors = oneway_says(*given)
    assert code == 2
    assert hint in one_line(errors)


@pytest.mark.parametrize(
    "command", ["--help", "protect --help", "attack --help", "audit --help", "prepare synthetic --help"]
)
def test_help_imports_no_torch(command: str) -> None:
    code = (
        "import sys\n"
        "from oneway.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'torchvision', 'pyarrow', 'skimage') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def one_line(errors: str) -> str:
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture
def spoiled(early: oneway.Run, tmp_path: Path) -> Path:
    """A run whose weights are another network's: torch's own words on that take many lines."""
    run = shutil.copytree(early.path, tmp_path / "spoiled")
    content = json.loads((run / "config.json").read_text())
    content["protect"]["network"]["width"] = 0.25
    (run / "config.json").write_text(json.dumps(content))
    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("prepare celeba NOWHERE --out OUT", "NOWHERE"),
        ("prepare foldr NOWHERE --out OUT", "layout 'foldr' does not exist; did you mean 'folder'"),
        ("benchmark defence PACK --out OUT", "are defences, not 'defence': oneway benchmark defences DATA"),
        ("benchmark PACK --out OUT", "are defences, not '/"),
        ("demo --out SPOILED/config.json", "config.json is a file; choose another --out"),
        ("prepare synthetic --out OUT --size 8", "size: must be at least 16 pixels, got 8"),
        ("prepare synthetic --out OUT --people 0", "identities: must be at least 1, got 0"),
        ("protect NOWHERE --out OUT", "not a pack (no such folder)"),
        ("protect PACK --out OUT --cut layer9", "cut 'layer9' does not exist; did you mean 'layer4'"),
        ("protect PACK --out OUT --set game.pixel=-1", "game.pixel must be 0 or more, not '-1'"),
        ("protect PACK --out OUT --steps 0", "steps must be at least 1, not 0"),
        ("protect PACK --out OUT --task Smilling", "did you mean 'Smiling'"),
        ("protect PACK --out OUT --set game.pixell=1", "setting 'game.pixell' does not exist; did you mean"),
        ("protect PACK --out OUT --set game.noise=1", "'game.noise' does not exist; did you mean 'network.noise'"),
        ("protect PACK --out OUT --set network.noise=-1", "network.noise must be 0 or more, not '-1'"),
        ("protect PACK --out OUT --set pixel=1", "setting 'pixel' does not exist; did you mean 'game.pixel'"),
        ("protect PACK --out OUT --set network.wdth=1", "setting 'network.wdth' does not exist; did you mean"),
        ("protect PACK --out OUT --set network=1", "setting 'network' does not exist"),
        ("protect PACK --out OUT --set steps.more=1", "setting 'steps.more' does not exist"),
        ("protect PACK --out OUT --set steps=many", "steps must be a whole number, not 'many'"),
        ("protect PACK --out OUT --set steps=1.5", "steps must be a whole number, not '1.5'"),
        ("protect PACK --out OUT --set learning_rate=fast", "learning_rate must be a number, not 'fast'"),
        ("protect PACK --out OUT --set network.stem=tiny", "network.stem = 'tiny' does not exist"),
        ("protect PACK --out OUT --set runtime.precision=bf61", "did you mean 'bf16'"),
        ("protect PACK --out OUT --set steps", "--set takes NAME=VALUE, not 'steps'"),
        ("protect PACK --out RUN", "holds a finished run"),
        ("attack NOWHERE", "NOWHERE is not a folder; give the --out of a `oneway protect`"),
        ("attack PACK", "is a pack; give the --out of a `oneway protect` on it that has finished"),
        ("attack RUN --data OTHERS", "is not the one that"),
        ("attack RUN --out OUT --control PACK --verifier JUDGE", "config.json does not exist"),
        ("attack RUN --out OUT --verifier NOWHERE", "does not exist"),
        ("attack RUN --out OUT --verifier NOWHERE.onnx", "is not a file; give an ONNX file"),
        ("attack RUN --out OUT --verifier JUDGE --set wdth=1", "setting 'wdth' does not exist; did you mean 'width'"),
        ("attack RUN --out OUT --verifier JUDGE --steps 0", "max_steps must be at least 1, not 0"),
        ("attack SPOILED --data PACK --out OUT --verifier JUDGE", "does not fit the network"),
        ("audit NOWHERE --out OUT", "NOWHERE is not a folder; give the --out of a `oneway protect`"),
        ("audit RUN --out OUT --verifier JUDGE", "has 24 test people and an audit needs 50"),
        ("audit RUN --out OUT --verifier JUDGE --set attackers=miror", "did you mean 'mirror'"),
        ("audit RUN --out OUT --verifier JUDGE --fail-above fce_similarity=1", "did you mean 'picture_similarity'"),
        ("audit RUN --out OUT --verifier JUDGE --fail-above rank_1", "--fail-above takes NAME=VALUE, not 'rank_1'"),
        ("audit NOWHERE.onnx --out OUT", "name it with --data"),
        ("audit NOWHERE.ONNX --out OUT", "name it with --data"),
        ("audit --features NOWHERE --out OUT", "name it with --data"),
        ("audit --features NOWHERE --data PACK --out OUT --verifier JUDGE", "NOWHERE"),
        ("audit --data PACK --out OUT --verifier JUDGE", "give either an encoder"),
        ("compare", "a comparison takes two audits or more, not 0: oneway compare BEFORE AFTER"),
        ("compare NOWHERE OUT", "results.json does not exist; give the --out of a finished `oneway audit"),
        ("verifier NOWHERE --out OUT", "not a pack"),
        ("verifier PACK --out JUDGE", "exists; choose another --out, or delete it"),
        ("verifier PACK --out OUT --set stepps=1", "setting 'stepps' does not exist; did you mean 'steps'"),
    ],
)
def test_what_a_user_did_wrong_is_said_in_one_line(
    oneway_says: Run,
    pack: oneway.Pack,
    other_pack: oneway.Pack,
    early: oneway.Run,
    control: Attacked,
    spoiled: Path,
    tmp_path: Path,
    arguments: str,
    message: str,
) -> None:
    places = {
        "NOWHERE": tmp_path / "NOWHERE",
        "NOWHERE.onnx": tmp_path / "NOWHERE.onnx",
        "OUT": tmp_path / "out",
        "PACK": pack.path,
        "OTHERS": other_pack.path,
        "RUN": early.path,
        "SPOILED": spoiled,
        "SPOILED/config.json": spoiled / "config.json",
        "JUDGE": control.path.parent / "judge.safetensors",
    }
    code, out, errors = oneway_says(*(places.get(word, word) for word in arguments.split()))
    assert (code, out) == (2, "")
    assert message in one_line(errors)
    assert not (tmp_path / "out").exists()


def test_a_message_keeps_its_brackets_and_takes_one_line(oneway_says: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(**_: object) -> None:
        raise oneway.InputError("shape [1, 2] is not\n\t[red] [/] of a [bold]kind[/bold]")

    monkeypatch.setattr("oneway.demo.demo", lambda *_, **__: wrong())
    _, _, errors = oneway_says("demo")
    assert one_line(errors) == "error: shape [1, 2] is not [red] [/] of a [bold]kind[/bold]"


def test_a_run_that_diverges_ends_with_the_error_and_another_code(
    oneway_says: Run, pack: oneway.Pack, settings: dict[str, Any], tmp_path: Path
) -> None:
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    code, _, errors = oneway_says(
        "protect", pack.path, "--out", tmp_path / "run", *sets, "--defence", "none", "--set", "learning_rate=1e38"
    )
    assert code == 1
    assert errors.splitlines()[-1].startswith("error: the loss is not finite at step ")
    assert "Traceback" not in errors


@pytest.mark.parametrize(("command", "resumes"), [("protect", True), ("demo", False)])
def test_an_interrupt_says_how_to_go_on(
    oneway_says: Run, monkeypatch: pytest.MonkeyPatch, pack: oneway.Pack, command: str, resumes: bool
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oneway.protection.train.protect", interrupted)
    monkeypatch.setattr("oneway.demo.demo", interrupted)
    arguments = {"protect": ["protect", str(pack.path), "--out", "run"], "demo": ["demo"]}[command]
    code, _, errors = oneway_says(*arguments)
    assert code == 130
    assert len(errors.splitlines()) == 1 + resumes, "what an unfinished folder keeps is said where there is one"
    ways = {
        "protect": f"stopped; go on: oneway protect {pack.path} --out run --resume",
        "demo": "stopped; go on: oneway demo",
    }
    assert errors.splitlines()[0] == ways[command], "only a command that has the flag may be told to use it"


@pytest.mark.parametrize(("asked_for", "seen"), [([], 0), (["default"], 1)])
def test_warnings_of_libraries_reach_nobody_who_did_not_ask_for_them(
    oneway_says: Run, monkeypatch: pytest.MonkeyPatch, asked_for: list[str], seen: int
) -> None:
    monkeypatch.setattr("oneway.demo.demo", lambda *_, **__: warnings.warn("old", FutureWarning, stacklevel=1))
    monkeypatch.setattr(sys, "warnoptions", asked_for)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert oneway_says("demo")[0] == 0
    assert len(caught) == seen


class AskedError(Exception):
    """Carries what training was asked for."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, pack: oneway.Pack) -> Callable[..., ProtectConfig]:
    """Say what configuration a command line asks for."""

    def ask(_: oneway.Pack, __: Path, config: ProtectConfig, **___: object) -> None:
        raise AskedError(config)

    monkeypatch.setattr("oneway.protection.train.protect", ask)

    def give(*arguments: str) -> ProtectConfig:
        with pytest.raises(AskedError) as error:
            cli.main(["protect", str(pack.path), "--out", "run", *arguments])
        config: ProtectConfig = error.value.args[0]
        return config

    return give


@pytest.mark.parametrize(("flags", "named"), [((), None), (("--out", "there"), "there")])
def test_an_audit_of_a_run_lies_in_it_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, early: oneway.Run, control: Attacked, flags: tuple[str, ...], named: str | None
) -> None:
    def ask(_: oneway.Run, **given: Any) -> None:
        raise AskedError(given)

    monkeypatch.setattr("oneway.auditing.audit.audit", ask)
    judge = control.path.parent / "judge.safetensors"
    with pytest.raises(AskedError) as error:
        cli.main(["audit", str(early.path), "--verifier", str(judge), "--seed", "3", "--device", "cpu", *flags])
    given = error.value.args[0]
    assert given["out"] == (early.path / "audit" if named is None else Path(named))
    assert (given["config"].seed, given["config"].runtime.device) == (3, "cpu")


def test_the_presets_are_what_they_are_called(asked: Callable[..., ProtectConfig]) -> None:
    assert asked() == asked("--preset", "small") == small()
    assert asked("--preset", "paper") == paper()
    assert small() != paper()


def test_the_paper_preset_is_the_papers_game() -> None:
    config = paper()
    assert (config.network.backbone, config.network.width, config.network.stem) == ("resnet50", 1.0, "full")
    assert (config.game.decoder_steps, config.game.target) == (1, "away")


def test_a_defence_is_named_with_its_strength(asked: Callable[..., ProtectConfig]) -> None:
    assert asked("--defence", "recipe") == small()
    control = override(small(), {"game.pixel": 0.0, "network.noise": 0.0, "network.bottleneck": 0})
    assert asked("--defence", "none") == control
    assert asked("--defence", "noise=4") == override(control, {"defence": "noise", "defence.deviation": 4.0})
    papers = asked("--defence", "paper=30", "--set", "game.decoder_steps=2")
    assert (papers.game.pixel, papers.game.target, papers.game.decoder_steps) == (30.0, "away", 2)
    assert (papers.network.noise, papers.network.bottleneck) == (0.0, 0)


def test_the_defence_none_is_the_control_and_what_is_set_beside_it_counts(asked: Callable[..., ProtectConfig]) -> None:
    control = asked("--defence", "none")
    assert not control.protects
    noisy = asked("--defence", "none", "--set", "network.noise=2", "--set", "network.bottleneck=64")
    assert noisy == override(control, {"network.noise": 2.0, "network.bottleneck": 64})
    assert noisy.protection == ("network.bottleneck = 64", "network.noise = 2")
    assert asked("--set", "game.pixel=0").protection == ("network.bottleneck = 128", "network.noise = 1.5")
    assert asked("--defence", "noise=2").protection == ("defence.deviation = 2",)


@pytest.mark.parametrize(
    ("defence", "message"),
    [
        ("nose", "noise"),
        ("noise=much", "must be a number"),
        ("noise=", "must be a number"),
        ("noise=-1", "0 or more"),
        ("noise=nan", "must be a finite number, not 'nan'"),
        ("recipe=inf", "must be a finite number, not 'inf'"),
        ("recipe=-0.1", "the strength of the defence 'recipe': noise must be 0 or more, not -0.1"),
        ("none=5", "'none' has no strength"),
        ("none=0", "'none' has no strength"),
        ("noise=0", "must be above 0, not 0; the unprotected control is none"),
        ("recipe=0", "must be above 0, not 0"),
        ("blur=1e9", "at most 32 for pictures of 32 pixels"),
    ],
)
def test_a_defence_that_cannot_be_is_said(
    oneway_says: Run, pack: oneway.Pack, tmp_path: Path, defence: str, message: str
) -> None:
    code, _, errors = oneway_says("protect", pack.path, "--defence", defence, "--out", tmp_path / "run")
    assert code == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


def test_flags_and_settings_change_the_preset(asked: Callable[..., ProtectConfig]) -> None:
    flags = ["--cut", "layer3", "--defence", "none", "--set", "game.decoder_steps=7", "--steps", "9", "--seed", "3"]
    sets = [
        "runtime.device=cpu",
        "network.norm=group",
        "task=Smiling,Bald",
        "game.warmup=0.5",
        "network.weights=none",
    ]
    made = asked(*flags, *(f"--set={setting}" for setting in sets))
    assert made == override(
        small(),
        {
            "network.cut": "layer3",
            "game.pixel": 0.0,
            "network.noise": 0.0,
            "network.bottleneck": 0,
            "game.decoder_steps": 7,
            "steps": 9,
            "seed": 3,
            "runtime.device": "cpu",
            "network.norm": "group",
            "task": ("Smiling", "Bald"),
            "game.warmup": 0.5,
            "network.weights": None,
        },
    )


def test_from_drawing_to_the_table(oneway_says: Run, settings: dict[str, Any], tmp_path: Path) -> None:
    faces, judge, run, bare = (tmp_path / name for name in ("faces", "judge.safetensors", "run", "bare"))
    sets = [f"--set={name}={value}" for name, value in settings.items() if name not in ("steps", "game.pixel")]
    attack = ["--verifier", judge, "--steps", "4", "--set", "width=0.5", "--set", "check_every=2", "--device", "cpu"]

    code, out, _ = oneway_says(
        "prepare", "synthetic", "--out", faces, "--size", "32", "--people", "40", "--shots", "2", "--jobs", "1"
    )
    assert code == 0
    assert "21 attributes; pictures: private 28 of 14 people" in out
    code, out, _ = oneway_says(
        "verifier", faces, "--out", judge, "--steps", "2", "--set", "width=0.125", "--device", "cpu"
    )
    assert code == 0
    assert "verifier judge.safetensors" in out
    for path, given in ((bare, ("--defence", "none")), (run, ("--set", "game.pixel=3"))):
        code, out, _ = oneway_says("protect", faces, "--out", path, *sets, *given, "--steps", "4")
        assert code == 0
        assert "mean MCC of 21 attributes on 8 test people" in out
        assert f"oneway attack {path}" in out
        assert "may be shared: config.json" in out
        assert "for devices and servers only: protector.safetensors" in out
    assert oneway_says("attack", bare, *attack)[0] == 0
    code, out, _ = oneway_says("attack", run, "--control", bare / "attack", *attack)
    assert code == 0
    for words in (
        "this encoder",
        "control (unprotected)",
        "floor: knows nothing",
        "MSE",
        "ended by the budget before they converged",
    ):
        assert words in out
    assert "guard FAILED: test people: 8 test people" in out
    assert out.splitlines()[-1] == f"report: {run / 'attack' / 'report.html'}"
    assert "data:image" in (run / "attack" / "report.html").read_text(), "drawn faces are shown"
