"""What a user can do wrong: each is said in words that name it and the way out, and leaves nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import oneway
from conftest import Attacked
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.storage import runs
from trees import truncate

pytestmark = pytest.mark.whole

Config = Callable[..., oneway.ProtectConfig]
QUICK = oneway.InversionConfig(width=0.5, max_steps=4, check_every=2)


@pytest.fixture
def copied(early: oneway.Run, tmp_path: Path) -> oneway.Run:
    """A finished run that may be spoiled."""
    return replace(early, path=shutil.copytree(early.path, tmp_path / "run"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, r"not a pack \(no such folder\); a pack is a folder with images\.npy"),
        (lambda path: path.mkdir(), r"not a pack \(images\.npy, labels\.parquet, pack\.json missing\)"),
        (lambda path: path.write_text("hello"), "not a pack"),
    ],
    ids=["missing", "empty", "a file"],
)
def test_the_data_folder_is_none(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "faces")
    with pytest.raises(oneway.InputError, match=message):
        oneway.Pack.open(tmp_path / "faces")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network.cut": "layer9"}, "cut 'layer9' does not exist; did you mean 'layer4'"),
        ({"network.cut": "body.2"}, "cut 'body.2' does not exist"),
        ({"network.backbone": "resnet19"}, "network.backbone = 'resnet19' does not exist; did you mean 'resnet18'"),
        ({"network.width": 0.0}, "width must be positive, not 0.0"),
        ({"network.weights": "no/such.safetensors"}, "'no/such.safetensors' is not a file; give a safetensors file"),
        ({"task": ("Smilling",)}, "attribute 'Smilling' does not exist; did you mean 'Smiling'"),
        ({"task": ("Smiling", "Height")}, "attribute 'Height' does not exist"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_the_configuration_cannot_be_used(
    pack: oneway.Pack, tiny: Config, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(oneway.InputError, match=message):
        oneway.protect(pack, tmp_path / "run", tiny(changes), progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch_size", 1),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("decoder_learning_rate", -1.0),
        ("weight_decay", -0.1),
        ("seed", -1),
        ("game.pixel", -1.0),
        ("game.pixel", float("nan")),
        ("game.decoder_steps", 0),
        ("game.decoder_batch_size", 0),
        ("game.perceptual", -1.0),
        ("game.warmup", 1.0),
        ("game.ramp", 1.5),
        *((name, float("inf")) for name in ("learning_rate", "weight_decay", "network.noise")),
        *((f"game.{name}", float("inf")) for name in ("pixel", "perceptual")),
    ],
)
def test_a_value_outside_its_law_is_named(tiny: Config, name: str, value: float) -> None:
    with pytest.raises(oneway.InputError, match=rf"{name} must be .*, not {value}"):
        tiny({name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0.0}, "width must be positive, not 0.0"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"check_every": 0}, "check_every must be at least 1, not 0"),
        ({"max_steps": 0}, "max_steps must be at least 1, not 0"),
        ({"drops": -1}, "drops must be 0 or more, not -1"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
    ],
)
def test_a_value_of_the_attack_outside_its_law_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        oneway.InversionConfig(**changes)


@pytest.mark.parametrize(
    ("cut", "stem", "smallest"),
    [
        ("layer2", "full", 8),
        ("layer3", "full", 16),
        ("layer4", "full", 32),
        ("avgpool", "full", 32),
        ("fc", "full", 32),
        ("conv1", "small", 2),
        ("layer2", "small", 4),
        ("layer4", "small", 16),
        ("fc", "small", 16),
    ],
)
def test_pictures_too_small_for_the_cut_are_refused_and_the_smallest_are_taken(
    tiny: Config, cut: str, stem: str, smallest: int
) -> None:
    config = tiny({"network.cut": cut, "network.stem": stem, "network.norm": "group"})
    with pytest.raises(oneway.InputError, match=rf"pictures of {smallest - 1} pixels .* too small .* {cut!r}.*earlier"):
        build(config, size=smallest - 1, num_logits=2)
    assert build(config, size=smallest, num_logits=2) is not None


@pytest.mark.parametrize("cut", ["layer4", "fc"])
def test_a_pack_of_too_small_pictures_starts_no_run(
    other_pack: oneway.Pack, tiny: Config, tmp_path: Path, cut: str
) -> None:
    with pytest.raises(oneway.InputError, match=r"of 16 pixels are too small for the cut .* or pictures of 32"):
        oneway.protect(other_pack, tmp_path / "run", tiny({"network.cut": cut, "network.stem": "full"}), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_module_of_ones_own_that_cannot_take_the_pictures_is_refused(
    other_pack: oneway.Pack, tiny: Config, tmp_path: Path
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 20), nn.ReLU())
    with pytest.raises(oneway.InputError, match="cannot take pictures of 16 x 16 pixels"):
        oneway.protect(other_pack, tmp_path / "run", tiny({"network.cut": "0"}), network=network, progress=False)
    with pytest.raises(oneway.InputError, match="cut 'conv' does not exist"):
        oneway.protect(other_pack, tmp_path / "run", tiny({"network.cut": "conv"}), network=network, progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_pack_is_refused(early: oneway.Run, other_pack: oneway.Pack) -> None:
    with pytest.raises(
        oneway.InputError, match=rf"hash {other_pack.hash[:12]}.*is not the one .*{early.pack.hash[:12]}"
    ):
        oneway.Run.open(early.path, other_pack)


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "pack", "attack"])
def test_what_is_no_run_is_not_opened(kind: str, pack: oneway.Pack, control: Attacked, tmp_path: Path) -> None:
    path = {"pack": pack.path, "attack": control.path}.get(kind, tmp_path / kind)
    if kind == "file":
        path.write_text("hello")
    if kind == "empty":
        path.mkdir()
    message = {
        "missing": "is not a folder; give the --out of a `oneway protect`",
        "file": "is not a folder",
        "empty": "config.json does not exist",
        "pack": "is a pack; give the --out of a `oneway protect` on it",
        "attack": "is not a protect run; give the --out of a `oneway protect`",
    }
    with pytest.raises(oneway.InputError, match=message[kind]):
        oneway.Run.open(path)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00\x01"])
def test_a_damaged_description_is_refused(copied: oneway.Run, content: str) -> None:
    (copied.path / "config.json").write_text(content)
    with pytest.raises(oneway.InputError, match=r"config\.json .*the run must be made again"):
        oneway.Run.open(copied.path)


def test_a_description_with_a_field_of_another_version_is_refused(copied: oneway.Run, pack: oneway.Pack) -> None:
    content = json.loads((copied.path / "config.json").read_text())
    content["protect"]["game"]["pixels"] = content["protect"]["game"].pop("pixel")
    (copied.path / "config.json").write_text(json.dumps(content))
    with pytest.raises(
        oneway.InputError, match=r"field 'protect\.game\.pixels' does not exist; did you mean 'protect\.game\.pixel'"
    ):
        oneway.Run.open(copied.path, pack)


def test_a_finished_run_is_not_overwritten(copied: oneway.Run, pack: oneway.Pack, tiny: Config) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.path.rglob("*")}
    for resume in (False, True):
        with pytest.raises(oneway.InputError, match="holds a finished run; choose another --out, or delete it"):
            oneway.protect(pack, copied.path, tiny(), resume=resume, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in copied.path.rglob("*")}


def test_an_unfinished_run_is_not_overwritten(copied: oneway.Run, pack: oneway.Pack, tiny: Config) -> None:
    (copied.path / "results.json").unlink()
    with pytest.raises(oneway.InputError, match="holds an unfinished run; add --resume to continue it"):
        oneway.protect(pack, copied.path, tiny(), progress=False)
    with pytest.raises(oneway.InputError, match="holds an unfinished run; continue it with `oneway protect"):
        oneway.Run.open(copied.path)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_other_files_is_left_alone(pack: oneway.Pack, tiny: Config, tmp_path: Path, resume: bool) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(oneway.InputError, match="exists and is not a run of ours; choose another --out"):
        oneway.protect(pack, tmp_path / "run", tiny(), resume=resume, progress=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_file_in_the_place_of_the_run_is_left_alone(
    pack: oneway.Pack, tiny: Config, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(oneway.InputError, match="choose another"):
        oneway.protect(pack, tmp_path / place, tiny({"steps": 1}), progress=False)
    assert (tmp_path / "file").read_text() == "years of work"


def test_an_empty_folder_is_taken(pack: oneway.Pack, tiny: Config, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert oneway.protect(pack, tmp_path / "run", tiny({"steps": 1}), progress=False).load() is not None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"protector\.safetensors is not a readable safetensors file .*the run must be made again"),
        (lambda path: path.write_bytes(b""), r"protector\.safetensors is not a readable safetensors file"),
        (lambda path: path.unlink(), r"protector\.safetensors does not exist; give the folder of a finished run"),
        (lambda path: runs.write_tensors(path, {}), r"protector\.safetensors does not fit the network"),
    ],
    ids=["truncated", "empty", "missing", "of another network"],
)
def test_damaged_weights_are_refused_before_the_attack_begins(
    copied: oneway.Run, runtime: oneway.RuntimeConfig, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(copied.path / "protector.safetensors")
    with pytest.raises(oneway.InputError, match=message):
        oneway.attack(copied, config=QUICK, runtime=runtime, progress=False)
    assert not (copied.path / "attack").exists()


def test_a_damaged_checkpoint_is_refused(copied: oneway.Run, pack: oneway.Pack) -> None:
    (copied.path / "results.json").unlink()
    shutil.copy(copied.path / "protector.safetensors", copied.path / "checkpoint.safetensors")
    truncate(copied.path / "checkpoint.safetensors")
    with pytest.raises(oneway.InputError, match=r"checkpoint\.safetensors is not a readable safetensors file"):
        oneway.protect(pack, copied.path, copied.config, resume=True, progress=False)


def test_weights_of_a_backbone_that_do_not_fit_are_refused(pack: oneway.Pack, tiny: Config, tmp_path: Path) -> None:
    runs.write_tensors(tmp_path / "other.safetensors", {})
    (tmp_path / "text.safetensors").write_text("hello")
    for name, message in (("other", r"tensors are missing .*first 'conv1\.weight'"), ("text", "is not a safetensors")):
        config = tiny({"network.weights": str(tmp_path / f"{name}.safetensors")})
        with pytest.raises(oneway.InputError, match=message):
            oneway.protect(pack, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def write_half(path: Path, content: bytes) -> int:
    """Write as far as the disk goes."""
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def test_a_full_disk_leaves_the_file_that_was_there_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = runs.write_json
    old(tmp_path / "results.json", {"kept": 1})
    monkeypatch.setattr(Path, "write_text", lambda path, content, encoding: write_half(path, content.encode(encoding)))
    for name in ("results.json", "new.json"):
        with pytest.raises(
            oneway.InputError, match=rf"cannot write .*{name}: No space left on device; free some space"
        ):
            runs.write_json(tmp_path / name, {"lost": 2})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"results.json": b'{\n  "kept": 1\n}\n'}


def test_a_run_that_filled_the_disk_goes_on_when_there_is_space(
    pack: oneway.Pack, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oneway.protection.train.LOG_EVERY", 3)  # steps between two checkpoints
    config = tiny({"steps": 9})
    straight = oneway.protect(pack, tmp_path / "straight", config, progress=False)
    whole, save = Path.write_bytes, Training.save

    def full(self: Training) -> None:
        monkeypatch.setattr(Path, "write_bytes", whole if self.step == 3 else write_half)
        save(self)

    monkeypatch.setattr(Training, "save", full)
    with pytest.raises(oneway.InputError, match=r"cannot write .*checkpoint\.safetensors: No space left"):
        oneway.protect(pack, tmp_path / "run", config, progress=False)
    monkeypatch.setattr(Path, "write_bytes", whole)
    monkeypatch.setattr(Training, "save", save)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "log.csv", "tensorboard", "checkpoint.safetensors"}
    assert runs.read_tensors(tmp_path / "run" / "checkpoint.safetensors")[1]["step"] == 3
    run = oneway.protect(pack, tmp_path / "run", config, resume=True, progress=False)
    assert (run.path / "protector.safetensors").read_bytes() == (straight.path / "protector.safetensors").read_bytes()


def test_a_log_that_fills_the_disk_is_said_as_one(
    pack: oneway.Pack, tiny: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oneway.protection import log

    class Full:
        def writerow(self, row: list[object]) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writerows = writerow

    writer = log.csv.writer

    def open_writer(file: Any) -> Any:
        return writer(file) if file.mode == "w" else Full()

    monkeypatch.setattr(log.csv, "writer", open_writer)
    with pytest.raises(oneway.InputError, match=r"cannot write .*log\.csv: No space left on device"):
        oneway.protect(pack, tmp_path / "run", tiny({"steps": 20}), progress=False)


def test_a_page_that_fills_the_disk_leaves_no_results(
    early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path.write_text

    def full(path: Path, content: str, **options: Any) -> int:
        return write_half(path, content.encode()) if "report.html" in path.name else text(path, content, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(oneway.InputError, match=r"cannot write .*report\.html: No space left"):
        oneway.attack(early, tmp_path / "attack", QUICK, runtime=runtime, progress=False)
    names = {path.name for path in (tmp_path / "attack").iterdir()}
    assert "report.html" not in names
    assert "results.json" not in names
    assert not any(name.endswith(".partial") for name in names)
