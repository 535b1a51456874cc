"""Every field of every configuration: shown, set by name and back, refused where it cannot be; in files likewise."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oneway
from oneway import cli, config
from oneway.attacks.fit import Schedule
from oneway.attacks.inversion import InversionConfig
from oneway.attacks.panel import SOLVED, attackers
from oneway.auditing.config import AuditConfig, thorough
from oneway.config import override, schema, text, to_dict
from oneway.errors import InputError
from oneway.judges.identification import IdentificationConfig
from oneway.protection.config import GameConfig, ProtectConfig, paper, small
from oneway.protection.defences.cem import CEM
from oneway.protection.recipes import classes, prescribe, recipes
from oneway.report.settings import law, meaning, settings_lines
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.config import small as small_experiment
from oneway.sweep.benchmark import DefencesConfig
from oneway.sweep.executor import Executor

Says = Callable[..., tuple[int, str, str]]
SIGHT = GameConfig(decoder_steps=2, perceptual_network="vgg16")
WHOLE: dict[str, Any] = {
    "protect": ProtectConfig(game=SIGHT, defence=CEM()),
    "audit": AuditConfig(perceptual="vgg16", generator="faces.onnx"),
    "attack": InversionConfig(),
    "verifier": IdentificationConfig(),
    "executor": Executor(kind="ray"),
}
"""Configurations in which any one field may be set, whatever the laws between them."""


TRAINED = sorted(set(attackers()) - {each.name for each in SOLVED})


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Says:
    """Run a command line here; gives its exit code, and what it wrote to both streams."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(arguments)
        except SystemExit as exit:
            code = int(exit.code or 0)
        return code, *capsys.readouterr()

    return run


def shown(out: str) -> dict[str, str]:
    """The settings that `--show-config` wrote, by name."""
    return dict(re.findall(r"^([a-z][\w.]*)=(.*)$", out, flags=re.MULTILINE))


def listed(made: Any, above: str = "") -> dict[str, str]:
    return {setting.name: text(setting.value) for setting in config.settings(made, above)}


# ---- shown

COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "protect": (["--preset", "paper", "--cut", "layer2"], listed(override(paper(), {"network.cut": "layer2"}))),
    "protect --defence": (["--defence", "cem=0.2"], listed(prescribe(small(), "cem", 0.2))),
    "attack": (["--steps", "7", "--set", "seed=3"], listed(InversionConfig(max_steps=7, seed=3))),
    "audit": (["--set", "attackers=mirror,gan"], listed(AuditConfig(attackers=("mirror", "gan")))),
    "audit --thorough": (["--thorough", "--set", "seeds=2"], listed(replace(thorough(), seeds=2))),
    "benchmark": (
        ["defences", "--cut", "fc", "--jobs", "3"],
        listed(DefencesConfig(cuts=("fc",), protect=small())) | listed(Executor(jobs=3), "executor."),
    ),
    "experiment": (
        ["all", "--set", "executor.kind=ray", "--set", "pixel=3"],
        listed(replace(small_experiment(), pixel=3.0)) | listed(Executor(kind="ray"), "executor."),
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_shows_its_configuration_as_it_would_be_used(says: Says, command: str) -> None:
    arguments, expected = COMMANDS[command]
    name, *data = command.split()[0], *[each for each in arguments if each in ("defences", "all")]
    code, out, errors = says(name, *arguments, "--show-config")
    assert (code, errors) == (0, "")
    assert shown(out) == expected
    # What is shown can be given back, and is then shown again.
    again = [f"--set={name}={value}" for name, value in expected.items() if "jobs" not in name]
    jobs = ["--jobs", "3"] if name == "benchmark" else []
    assert says(name, *data, *jobs, *again, "--show-config")[1] == out
    assert all(len(line) <= 100 for line in out.splitlines() if line.startswith(" "))


@pytest.mark.parametrize(
    "made", [*WHOLE.values(), DefencesConfig(), ExperimentConfig(), *(k() for k in classes().values())]
)
def test_every_field_says_what_it_may_be_and_what_it_means(made: Any) -> None:
    lines = list(settings_lines(made, width=100))
    every = list(config.settings(made))
    assert len(lines) == 2 * len(every)
    for setting in every:
        assert len(meaning(setting.owner, setting.field)) > 5, setting.name
        assert len(law(schema(setting.owner)["properties"][setting.field])) > 2, setting.name


def test_a_field_is_shown_with_its_range_and_meaning() -> None:
    lines = list(settings_lines(small(), width=200))
    assert lines[lines.index("game.warmup=0.25") + 1] == (
        "    number, 0 or more, below 1; share of the steps that train the utility alone, before the game begins."
    )
    assert lines[lines.index("defence=none") + 1].startswith("    blur | cem | downscale | dropout | noise | ")
    assert lines[lines.index("network.norm=batch") + 1].startswith("    batch | group; ")
    assert lines[lines.index("steps=3000") + 1].startswith("    whole number, 1 or more; ")
    assert lines[lines.index("keep=false") + 1].startswith("    true | false; ")
    assert "".join(settings_lines(InversionConfig(), width=500)).count("an attack that it ends says so") == 1


def test_the_schedule_of_attackers_is_said_once() -> None:
    own = {"batch_size", "learning_rate", "drops", "check_every", "max_steps", "seed"}
    assert {field.name for field in fields(Schedule)} == own
    for kind in (InversionConfig, type(AuditConfig().feature), type(AuditConfig().information)):
        assert issubclass(kind, Schedule)
        assert not any(f"{name}:" in (kind.__doc__ or "") for name in own - {"batch_size"})


@pytest.mark.parametrize("command", ["protect", "attack", "audit", "benchmark defences", "experiment all"])
def test_without_what_it_works_on_a_command_says_what_is_missing(says: Says, command: str) -> None:
    code, out, errors = says(*command.split())
    assert (code, out) == (2, "")
    assert re.fullmatch(r"error: (DATA|RUN|--out) is missing; `--help` says what it is, .*\n", errors)


# ---- set


def values(made: Any, setting: config.Setting) -> st.SearchStrategy[Any]:
    """Values that a setting may have, by its law."""
    if setting.name == "attackers":
        return st.lists(st.sampled_from(TRAINED), min_size=1, unique=True).map(tuple)
    if setting.name == "job_gpus":
        return st.floats(0, 1, allow_subnormal=False) | st.none()
    if setting.name in ("jobs", "kind"):  # one process, or a cluster: the other fields decide
        return st.just(setting.value)
    if setting.name == "network.backbone":
        return st.sampled_from(
            ["resnet18", "resnet50", "torchvision:mobilenet_v2", "timm:vit_tiny_patch16_224,depth=2"]
        )
    if setting.name in ("network.input.mean", "network.input.deviation"):  # of one colour, or of three
        numbers = st.floats(0.125, 255, allow_subnormal=False)
        return st.none() | st.tuples(numbers) | st.tuples(numbers, numbers, numbers)
    return drawn(schema(setting.owner)["properties"][setting.field])


def drawn(described: dict[str, Any], *, listed: bool = False) -> st.SearchStrategy[Any]:
    if "anyOf" in described:
        # A group that may be left out is given whole, from Python, or `none`.
        return st.one_of([drawn(each) for each in described["anyOf"] if "$ref" not in each])
    if "oneOf" in described:
        return st.sampled_from(sorted(described["discriminator"]["mapping"])).map(lambda name: classes()[name]())
    if "enum" in described:
        return st.sampled_from(described["enum"])
    low, above = described.get("minimum"), described.get("exclusiveMinimum")
    high, below = described.get("maximum"), described.get("exclusiveMaximum")
    match described["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(low, below - 1)
        case "number":
            least, most = (low if above is None else above), (high if below is None else below)
            numbers = st.floats(least, most, allow_nan=False, allow_infinity=False, allow_subnormal=False)
            return numbers.filter(lambda number: number not in (above, below))
        case "null":
            return st.none()
        case "array":
            return st.lists(drawn(described["items"], listed=True), max_size=3).map(tuple)
    told = st.text(min_size=1).filter(lambda name: name != "none")
    return told.filter(lambda name: "," not in name) if listed else told


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_what_is_set_by_its_text_is_what_was_meant(data: st.DataObject) -> None:
    made = WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))]
    every = [each for each in config.settings(made) if each.name != "game.perceptual_network"]
    setting = data.draw(st.sampled_from(every))
    value = data.draw(values(made, setting))
    changed = override(made, {setting.name: text(value)})
    found = {each.name: each.value for each in config.settings(changed)}
    assert found[setting.name] == value
    assert type(changed) is type(made)
    assert config.from_dict(type(made), to_dict(changed)) == changed
    apart = [each for each in every if not (each.name.startswith(setting.name) or setting.name.startswith(each.name))]
    untouched = {each.name: each.value for each in apart}
    assert {name: found[name] for name in untouched} == untouched


WRONG: list[tuple[str, str, str]] = [
    *((command, setting, "0 or more|at least|positive") for command, setting in [
        ("protect", "steps=0"), ("protect", "steps=-3"), ("protect", "batch_size=1"), ("protect", "seed=-1"),
        ("protect", "learning_rate=0"), ("protect", "weight_decay=-1e-9"), ("protect", "network.width=0"),
        ("protect", "network.bottleneck=-1"), ("protect", "network.noise=-0.1"), ("protect", "game.decoder_steps=0"),
        ("protect", "game.pixel=-1"), ("protect", "game.decoder_batch_size=0"),
        ("protect", "runtime.devices=0"), ("protect", "runtime.num_nodes=-2"),
        ("protect", "runtime.checkpoint_seconds=-1"), ("attack", "width=0"), ("attack", "drops=-1"),
        ("attack", "gan=-1"), ("audit", "draws=1"), ("audit", "queries=100,1"), ("audit", "feature.width=0"),
        ("audit", "information.batch_size=1"), ("audit", "optimisation.steps=0"), ("audit", "steps=0"),
        ("audit", "breach=0"), ("benchmark defences", "executor.jobs=0"), ("benchmark defences", "protect.steps=0"),
        ("experiment all", "executor.job_cpus=0"), ("experiment all", "pixel=0"), ("experiment all", "strengths=0.1,0"),
    ]),
    *((command, setting, "below|at most") for command, setting in [
        ("protect", f"seed={2**64}"), ("protect", f"steps={2**63}"), ("protect", "game.warmup=1"),
        ("protect", "game.ramp=1.01"), ("audit", "breach=1"), ("audit", f"seed={2**63}"), ("attack", f"seed={2**63}"),
    ]),
    *((command, setting, "a whole number") for command, setting in [
        ("protect", "steps="), ("protect", "steps=ten"), ("protect", "steps=1.5"), ("protect", "steps=1e3"),
        ("protect", "steps=nan"), ("protect", "steps=none"), ("protect", "steps=true"), ("audit", "queries=100,x"),
        ("protect", f"steps={'9' * 5000}"), ("attack", "max_steps=0x10"), ("audit", "inference.drops=two"),
    ]),
    *((command, setting, "a number|a finite number") for command, setting in [
        ("protect", "learning_rate="), ("protect", "learning_rate=fast"), ("protect", "learning_rate=nan"),
        ("protect", "learning_rate=-inf"), ("protect", "game.pixel=1e999"), ("protect", "game.pixel=none"),
        ("attack", "width=wide"), ("experiment all", "perceptual=0,nan"), ("protect", "game.pixel=0,1"),
    ]),
    *((command, setting, "does not exist") for command, setting in [
        ("protect", "stesp=3"), ("protect", "=3"), ("protect", "game=3"), ("protect", "network=none"),
        ("protect", "game.=3"), ("protect", ".pixel=3"), ("protect", "game.pixel.more=3"),
        ("protect", "network.stem=tiny"), ("protect", "network.backbone=vgg"), ("protect", "runtime.device=tpu"),
        ("protect", "game.target=blue"),
        ("protect", "defence=blurr"), ("protect", "game.bottleneck=3"), ("attack", "decoder=mirorr"),
        ("audit", "attackers=miror"), ("audit", "pixels=0..256"), ("audit", "feature=3"), ("audit", "runtime.gpu=1"),
        ("benchmark defences", "executor.kind=slurm"), ("benchmark defences", "executor.job=2"),
        ("experiment all", "protect.game.pixell=1"),
    ]),
    ("protect", "calibrate=perhaps", "must be true or false"),
    ("protect", "defence.weight=1", "cannot be set, since there is no defence; set defence=NAME first"),
    ("protect", "game.perceptual=1", "game.perceptual_network must be given"),
    ("audit", "attackers=", "attackers must name at least one"),
    ("audit", "attackers=mirror,mirror", "attackers must name at least one, each once"),
    ("audit", "attackers=perceptual", "needs a network to see with"),
    ("audit", "attackers=generative", "needs a generator of pictures to draw with"),
    ("benchmark defences", "cuts=", "cuts must name at least one layer"),
    ("benchmark defences", "defences=nose", "defences must be of"),
    ("benchmark defences", "executor.gather=s3://bucket", "set executor.kind=ray"),
    ("experiment all", "shown=Smiling", "shown must name two attributes"),
    ("experiment all", "perceptual=1", "perceptual must begin with 0"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "setting", "message"), WRONG)
def test_a_setting_that_cannot_be_is_one_line_that_names_it(
    says: Says, command: str, setting: str, message: str
) -> None:
    code, out, errors = says(*command.split(), "--set", setting, "--show-config")
    assert (code, out) == (2, "")
    assert len(errors.splitlines()) == 1
    assert len(errors) < 800
    assert re.match(rf"error: .*({message})", errors), errors
    name = setting.partition("=")[0].removeprefix("executor.")
    assert name in errors or message.startswith(("needs", "set ")), errors


# ---- files

RUN: dict[str, Any] = {
    "protect": to_dict(ProtectConfig(defence=CEM())),
    "data": {"name": "faces", "hash": "0" * 64, "path": "faces"},
    "network": None,
    "size": 32,
    "attributes": ["Smiling"],
}
DAMAGED: list[tuple[str, str, str]] = [
    *((f"protect.{place}", value, "must be|does not exist") for place, value in [
        ("steps", '"5"'), ("steps", "true"), ("steps", "5.5"), ("steps", "null"), ("steps", "[5]"), ("steps", "{}"),
        ("steps", "0"), ("steps", "1e400"), ("steps", "NaN"), ("steps", "9" * 400), ("seed", "-1"),
        ("seed", str(2**63)), ("batch_size", "1"), ("learning_rate", '"0.1"'), ("learning_rate", "NaN"),
        ("learning_rate", "-Infinity"), ("learning_rate", "0"), ("learning_rate", "true"), ("calibrate", "1"),
        ("calibrate", '"true"'), ("calibrate", "null"), ("task", '"Smiling"'), ("task", "null"),
        ("task", "[1]"), ("task", "{}"), ("keep", "0"), ("network", "[]"), ("network", "null"),
        ("network.backbone", '"vgg"'), ("network.backbone", "18"), ("network.stem", '"Full"'), ("network.cut", "2"),
        ("network.width", "0"), ("network.width", "[]"), ("network.bottleneck", "1.5"), ("network.noise", "Infinity"),
        ("network.noise", "-1"), ("network.noise", '"nan"'), ("network.weights", "3"), ("network.more", "3"),
        ("game", '"away"'), ("game.target", "null"), ("game.target", '"blue"'), ("game.pixel", "-0.1"),
        ("game.warmup", "1"), ("game.ramp", "2"), ("game.decoder_steps", "0"), ("game.perceptual_network", "5"),
        ("game.pixell", "0.1"), ("game.decoders", "2"), ("runtime", "3"), ("runtime.device", '"tpu"'),
        ("runtime.precision", "32"), ("runtime.devices", "0"), ("stepps", "3"), ("defence", '"cem"'),
        ("defence.name", '"cemm"'), ("defence.weight", "-1"), ("defence.components", "true"), ("defence.rate", "0.5"),
    ]),
    ("protect", "null", "protect must be an object"),
    ("protect", "[]", "protect must be an object"),
    ("protect", "3", "protect must be an object"),
    ("protect.defence.name", "null", "must be|does not exist"),
    ("protect.game.perceptual", "1", "game.perceptual_network must be given"),
    ("data", "null", "data must be an object"),
    ("data", '"faces"', "data must be an object"),
    ("data.hash", "5", "data.hash must be a text"),
    ("data.path", "5", "data.path must be a text"),
    ("data.more", "5", "field 'data.more' does not exist"),
    ("network", "5", "network must be a text"),
    ("size", "0", "size must be at least 1"),
    ("attributes", '"Smiling"', "attributes must be a list"),
    ("more", "5", "field 'more' does not exist"),
    ("size", "[" * 100_000, "cannot be read as JSON"),
    ("size", '{"a":' * 100_000, "cannot be read as JSON"),
    ("size", "[" * 300 + "]" * 300, "size must be a whole number|nested|it is no JSON"),
    ("size", "3,,", "cannot be read as JSON"),
]  # fmt: skip
TOLD = "told"


@pytest.mark.parametrize(("place", "value", "message"), DAMAGED, ids=lambda value: value[:40])
def test_a_damaged_run_is_named_with_the_file_the_field_and_the_way_out(
    place: str, value: str, message: str, tmp_path: Path
) -> None:
    content = json.loads(json.dumps(RUN))
    inside, (*way, last) = content, place.split(".")
    for name in way:
        inside = inside[name]
    inside[last] = TOLD
    (tmp_path / "config.json").write_text(json.dumps(content).replace(f'"{TOLD}"', value))
    (tmp_path / "results.json").write_text("{}")
    for reading in (oneway.Run.open, oneway.load_encoder):
        with pytest.raises(InputError) as error:
            reading(tmp_path)
        told = str(error.value)
        assert re.search(message, told), told
        assert str(tmp_path / "config.json") in told
        assert told.endswith("the run must be made again") or "nested" in told
        assert last in told or "JSON" in told, told
        assert len(told) < 400 + len(str(tmp_path))


def test_what_is_missing_in_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    for name, told in (
        ("data", "data is missing"),
        ("network", "network is missing"),
        ("protect", "not a protect run"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({key: RUN[key] for key in RUN if key != name}))
        with pytest.raises(InputError, match=told):
            oneway.Run.open(tmp_path)


# ---- recipes


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_makes_a_configuration_of_its_own_and_leaves_the_given_one(name: str) -> None:
    base = override(small(), {"steps": 7, "network.cut": "layer2", "game.decoder_batch_size": 24})
    recipe = recipes()[name]
    made = [recipe.make(base, strength) for strength in (None, *recipe.strengths)]
    assert len({text(str(each)) for each in made}) >= len(recipe.strengths)
    for each in made:
        assert (each.steps, each.network.cut, each.game.decoder_batch_size) == (7, "layer2", 24)
    assert base == override(small(), {"steps": 7, "network.cut": "layer2", "game.decoder_batch_size": 24})
    with pytest.raises(InputError, match=f"the strength of the defence '{name}'|has no strength"):
        prescribe(base, name, -1.0)
