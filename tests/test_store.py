"""The folders of a store: of equal settings the same ones, and of another file at the same path others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import oneway
from oneway import InputError
from oneway.auditing.config import AuditConfig
from oneway.config import override, to_dict
from oneway.models.encoder import halves
from oneway.protection.train import protect
from oneway.report.values import SCHEMA
from oneway.storage import runs
from oneway.storage.inputs import file_hash
from oneway.sweep import store
from oneway.sweep.gather import Gathering
from oneway.sweep.store import Setting, Store

pytestmark = pytest.mark.whole

Tiny = Callable[..., oneway.ProtectConfig]
FIELDS = {
    "weights": ({"network.weights": "FILE"}, {}, True),
    "game": ({"game.perceptual": "0.1", "game.perceptual_network": "vgg16:FILE"}, {}, True),
    "audit": ({}, {"perceptual": "timm:mobilenetv1_100,pad_type=same:FILE"}, False),
}
"""What names a file, of the training and of the audit, and whether another file is another run."""


def setting(pack: oneway.Pack, config: oneway.ProtectConfig, **audit: Any) -> Setting:
    return Setting(protect=config, audit=AuditConfig(**audit), data=pack.path, attacked=pack.path)


@pytest.mark.parametrize("field", FIELDS)
def test_a_setting_is_named_by_what_its_files_hold_and_not_by_where_they_lie(
    people: oneway.Pack, tiny: Tiny, tmp_path: Path, field: str
) -> None:
    trained, attacked, decides_run = FIELDS[field]

    def made(path: Path) -> Setting:
        ours, audit = (
            {name: value.replace("FILE", str(path)) for name, value in each.items()} for each in (trained, attacked)
        )
        return setting(people, override(tiny(), ours), **audit)

    here, there = tmp_path / "here" / "net.safetensors", tmp_path / "there" / "net.safetensors"
    for path in (here, there):
        path.parent.mkdir()
        path.write_bytes(b"one file")
    run, report = made(here).run, made(here).report
    assert (made(there).run, made(there).report) == (run, report)
    here.write_bytes(b"another, that lies where the first one did")
    assert (made(here).run != run) == decides_run
    assert made(here).report != report
    here.write_bytes(b"one file")
    assert (made(here).run, made(here).report) == (run, report)


@pytest.mark.parametrize("weights", [None, "imagenet"])
@pytest.mark.parametrize("perceptual", [None, "vgg16"])
def test_without_a_file_of_ones_own_names_are_those_of_before(
    people: oneway.Pack, tiny: Tiny, tmp_path: Path, weights: str | None, perceptual: str | None
) -> None:
    config = override(tiny(), {"network.weights": weights, "game.perceptual_network": perceptual})
    made = setting(people, config, perceptual=perceptual, renewed=str(tmp_path))
    trained = {name: value for name, value in to_dict(config).items() if name != "runtime"}
    trained["game"] = {name: value for name, value in to_dict(config.game).items() if name != "perceptual_relative"}
    idle = ("runtime", "keep", "generator")
    audited = {name: value for name, value in to_dict(made.audit).items() if name not in idle}
    assert audited["renewed"] == str(tmp_path), "a folder has no hash, so it is told by where it lies"
    assert made.run.endswith(f"-{runs.digest([trained, people.hash])}")
    assert made.report.endswith(f"-{runs.digest([SCHEMA, audited, people.hash, None])}")
    assert setting(people, override(config, {"game.perceptual_relative": True})).run != made.run


def test_an_encoder_that_began_with_another_file_is_not_taken_for_one_of_this_file(
    people: oneway.Pack, tiny: Tiny, tmp_path: Path
) -> None:
    path, config = tmp_path / "start.safetensors", tiny({"steps": 1})

    def write(seed: int) -> str:
        """Put the weights of a freshly drawn network there, and give their hash."""
        torch.manual_seed(seed)
        encoder, rest = halves(config.network, people.size)
        named = encoder.state_dict() | rest.state_dict()
        save_file({name: tensor.clone() for name, tensor in named.items()}, path)
        return file_hash(path)

    first = write(0)
    made = setting(people, override(config, {"network.weights": str(path)}))
    old, new = (Store(path=tmp_path / name, pack=people.path) for name in ("old", "new"))
    protect(people, old.run(made), made.protect, progress=False)
    assert new.take(old.path, [made]) == 0
    assert made_with(new.run(made)) == f"start.safetensors@{first[:12]}"

    second = write(1)
    assert second != first
    other = Store(path=tmp_path / "other", pack=people.path)
    with pytest.raises(InputError, match=r"holds no finished run of these settings; .*with the same files of weights"):
        other.take(old.path, [made])
    plain = replace(made, protect=config)
    protect(people, old.run(plain), config, progress=False)
    assert other.take(old.path, [plain, made]) == 1, "it lacks the one of the new file"
    assert not other.run(made).exists()
    assert other.run(plain).is_dir()


def made_with(folder: Path) -> str:
    """Read with which weights a run says that it began."""
    content: Any = runs.read_json(folder / runs.CONFIG)
    return str(content["protect"]["network"]["weights"])


def test_a_node_brings_nothing_that_was_gathered_with_another_file(
    people: oneway.Pack, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, count = tmp_path / "start.safetensors", 0

    def make(held: Store, _: bool, __: bool, setting: Setting) -> None:
        nonlocal count
        for folder in held._folders(setting, audits=True):
            if not (folder / runs.RESULTS).exists():
                count += 1
                runs.write_json(folder / runs.RESULTS, {"of": path.read_text()})

    monkeypatch.setattr(store, "_make", make)
    gathering = Gathering(f"file://{tmp_path / 'gathered'}")
    made = setting(people, override(tiny(), {"network.weights": str(path)}), perceptual=f"vgg16:{path}")
    for node, text, expected in (("a", "one file", 2), ("b", "one file", 2), ("c", "another file", 4)):
        path.write_text(text)
        monkeypatch.setattr(store, "scratch", lambda _, node=node: tmp_path / node)
        here = Store(path=tmp_path / "bench", pack=people.path)
        store._make_apart(here, True, gathering, made)
        assert count == expected, "a node brings what another one made with the same file, and only that"
        brought = tmp_path / f"brought by {node}"
        assert gathering.pull(f"audits/{made.report}", brought)
        assert runs.read_json(brought / runs.RESULTS) == {"of": text}
