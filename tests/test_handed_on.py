"""What people hand on tells no more than they think: no face, no inverter, no path, no name, no machine."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import oneway
from conftest import RUNTIME, Attacked
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import SCORES
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.steps import Steps
from oneway.data.join import join
from oneway.judges.cache import FOLDER, known_features
from oneway.judges.verifier import Verifier
from oneway.protection.run import SHARED, WEIGHTS
from oneway.shipping.kept import KEPT
from oneway.storage.runs import named, read_json, read_tensors
from trees import Noise, noise_source

pytestmark = pytest.mark.whole

QUICK = oneway.InversionConfig(width=0.25, max_steps=2, check_every=1)
BRIEF = AuditConfig(attackers=("mirror",), steps=2, brief=True, runtime=RUNTIME)
JUDGED = {"shown.npy"}
WRITTEN = {"config.json", "results.json", "report.html", SCORES}


@pytest.fixture(scope="module")
def real(once: Callable[..., Path]) -> oneway.Pack:
    """A pack whose pictures are not drawn, of people enough for an audit."""
    source = noise_source(560)
    return oneway.Pack.open(
        once("photographed", lambda path: oneway.prepare(source, path, size=32, jobs=1, progress=False))
    )


@pytest.fixture(scope="module")
def run(once: Callable[..., Path], real: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> oneway.Run:
    config = tiny({"steps": 2})
    return oneway.Run.open(once("of-real", lambda path: oneway.protect(real, path, config, progress=False)), real)


@pytest.fixture(scope="module")
def audited(once: Callable[..., Path], run: oneway.Run) -> Path:
    return once("of-real-audit", lambda path: oneway.audit(run, out=path, config=BRIEF, progress=False))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_holds_what_is_said_to_be_shared_and_the_weights(run: oneway.Run) -> None:
    assert {path.name for path in run.path.iterdir()} == {*SHARED, WEIGHTS}


def test_the_adversary_is_kept_on_request_only(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    config = replace(tiny({"steps": 1}), keep=True)
    run = oneway.protect(pack, tmp_path / "run", config, progress=False)
    names = read_tensors(run.path / "checkpoint.safetensors")[0]
    assert any(name.startswith("adversary") for name in names)


def test_what_a_killed_run_left_half_written_goes_when_it_finishes(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    run = oneway.protect(pack, tmp_path / "run", tiny({"steps": 1}), progress=False)
    (run.path / "results.json").unlink()
    (run.path / ".checkpoint.safetensors.1.partial").write_bytes(b"the adversary")
    oneway.protect(pack, tmp_path / "run", tiny({"steps": 1}), resume=True, progress=False)
    assert {path.name for path in run.path.iterdir()} == {*SHARED, WEIGHTS}


@pytest.mark.parametrize("images", [False, True])
def test_an_attack_leaves_no_inverter_and_faces_on_request_only(run: oneway.Run, tmp_path: Path, images: bool) -> None:
    oneway.attack(run, tmp_path / "attack", QUICK, runtime=RUNTIME, images=images, progress=False)
    assert files(tmp_path / "attack") == WRITTEN | (JUDGED if images else set())
    assert ("data:image" in (tmp_path / "attack" / "report.html").read_text()) == images


def test_drawn_faces_are_shown_without_being_asked_for(protected: oneway.Run, tmp_path: Path) -> None:
    oneway.attack(protected, tmp_path / "attack", replace(QUICK, keep=True), runtime=RUNTIME, progress=False)
    assert files(tmp_path / "attack") == WRITTEN | JUDGED | {KEPT}
    assert "data:image" in (tmp_path / "attack" / "report.html").read_text()


def test_the_page_of_an_audit_is_without_faces_unless_they_are_asked_for(
    run: oneway.Run, audited: Path, tmp_path: Path
) -> None:
    assert files(audited) == WRITTEN
    assert "data:image" not in (audited / "report.html").read_text()
    assert "--images" in (audited / "report.html").read_text()
    oneway.audit(run, out=tmp_path / "shown", config=BRIEF, images=True, progress=False)
    assert "data:image" in (tmp_path / "shown" / "report.html").read_text()
    assert "shown.npy" in files(tmp_path / "shown")


def test_an_interrupted_audit_without_images_has_drawn_nobody(
    run: oneway.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    take = Steps.take

    def dying(self: Steps, name: str, make: Any) -> Any:
        found = take(self, name, make)
        taken.append(name)
        if name == "inversion mirror":
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "take", dying)
        with pytest.raises(KeyboardInterrupt):
            oneway.audit(run, out=tmp_path / "audit", config=BRIEF, progress=False)
    kept = list((tmp_path / "audit" / "parts").glob("*.npz"))
    assert kept
    for path in kept:
        with np.load(path) as arrays:
            assert not [name for name in arrays.files if arrays[name].dtype == np.uint8], path.name
    with pytest.raises(oneway.InputError, match="started with images = False, not True"):
        oneway.audit(run, out=tmp_path / "audit", config=BRIEF, images=True, resume=True, progress=False)
    oneway.audit(run, out=tmp_path / "audit", config=BRIEF, resume=True, progress=False)
    assert files(tmp_path / "audit") == WRITTEN


def test_only_what_was_drawn_here_counts_as_drawn(pack: oneway.Pack, real: oneway.Pack, tmp_path: Path) -> None:
    assert pack.drawn
    assert not real.drawn
    small = oneway.prepare(noise_source(40), tmp_path / "noise", size=32, jobs=1, progress=False)
    assert not join(pack, small, tmp_path / "joined").drawn
    with pytest.raises(oneway.InputError, match="give this source another name"):
        replace(noise_source(4), layout="synthetic")


def test_no_file_says_where_it_was_made_or_by_which_machine(
    run: oneway.Run, audited: Path, attacked: Attacked, control: Attacked
) -> None:
    told = [os.fsencode(run.path.parent), os.fsencode(Path.home()) + b"/"]
    for folder in (run.path, audited, attacked.path, control.path):
        for path in folder.rglob("*"):
            assert socket.gethostname() not in path.name.split(".")
            if path.is_file():
                content = path.read_bytes()
                assert not [each for each in told if each in content], path


def test_a_file_in_a_configuration_is_told_by_its_name_and_content(
    tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    seen, begun = "resnet10t,a=1:/home/somebody/seen.safetensors", "/home/somebody/begun.safetensors"
    content = named(tiny({"game.perceptual_network": seen, "network.weights": begun}))
    assert content["game"]["perceptual_network"] == "resnet10t,a=1:seen.safetensors"
    assert content["network"]["weights"] == "begun.safetensors"
    assert named(AuditConfig(perceptual="/home/somebody/vgg.safetensors"))["perceptual"] == "vgg.safetensors"
    assert named(AuditConfig(perceptual="vgg16"))["perceptual"] == "vgg16"
    here, there = tmp_path / "here" / "vgg.safetensors", tmp_path / "there" / "vgg.safetensors"
    for path in (here, there):
        path.parent.mkdir()
        path.write_bytes(b"weights")
    first, second = (named(AuditConfig(perceptual=f"vgg16:{path}"))["perceptual"] for path in (here, there))
    assert first == second == f"vgg16:vgg.safetensors@{hashlib.sha256(b'weights').hexdigest()[:12]}"
    there.write_bytes(b"others")
    assert named(AuditConfig(perceptual=f"vgg16:{there}"))["perceptual"] != first


def test_a_run_finds_a_pack_that_is_near_and_asks_for_one_that_is_not(
    pack: oneway.Pack,
    tiny: Callable[..., oneway.ProtectConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny({"steps": 1})
    beside, work = tmp_path / "own" / "faces", tmp_path / "own"
    beside.parent.mkdir()
    beside.symlink_to(pack.path)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    with monkeypatch.context() as patch:
        patch.chdir(work)
        oneway.protect(oneway.Pack.open("faces"), "runs/near", config, progress=False)
    data = read_json(work / "runs" / "near" / "config.json")["data"]
    assert data == {"name": "faces", "hash": pack.hash, "path": "../../faces"}
    monkeypatch.chdir(tmp_path)
    moved = (tmp_path / "own").rename(tmp_path / "moved")
    assert oneway.Run.open(moved / "runs" / "near").pack.hash == pack.hash
    (moved / "faces").rename(moved / "people")
    with pytest.raises(oneway.InputError, match=r"faces is not where .*near says.*; name the pack with --data"):
        oneway.Run.open(moved / "runs" / "near")
    assert oneway.Run.open(moved / "runs" / "near", oneway.Pack.open(moved / "people")).attributes == pack.attributes

    (tmp_path / "somebody").mkdir()
    (tmp_path / "somebody" / "faces").symlink_to(pack.path)
    monkeypatch.chdir(tmp_path / "home" if (tmp_path / "home").exists() else moved)
    far = oneway.protect(oneway.Pack.open(tmp_path / "somebody" / "faces"), tmp_path / "far", config, progress=False)
    assert "somebody" not in (far.path / "config.json").read_text() + (far.path / "results.json").read_text()
    with pytest.raises(oneway.InputError, match=r"does not say where faces lies, .*name the pack with --data"):
        oneway.Run.open(far.path)


def test_the_scores_of_people_are_not_in_the_order_of_their_names(people: oneway.Pack, real: oneway.Pack) -> None:
    order = hidden_order(people.test)
    assert sorted(order) == list(range(len(people.test)))
    np.testing.assert_array_equal(order, hidden_order(oneway.Pack.open(people.path).test))
    codes, ranks = anonymous(people.test.identities[order]), people.test.identities[order]
    rows = np.arange(len(order))
    chance = 4 / np.sqrt(len(order))
    for told in (order, ranks):
        for handed in (rows, codes):
            assert abs(np.corrcoef(told, handed)[0, 1]) < chance
    # The same people are one and the same number, others another.
    assert len(set(zip(codes, ranks, strict=True))) == len(set(codes)) == len(set(ranks))
    assert set(codes) == set(range(people.test.num_people))


def test_who_lacks_the_pictures_cannot_make_the_order(tmp_path: Path) -> None:
    """Names and labels may be guessed; pixels are not."""

    class Other(Noise):
        def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
            return super().__call__(index + 1000, size)

    packs = [
        oneway.prepare(noise_source(60, reader=reader), tmp_path / str(seed), size=16, jobs=1, progress=False)
        for seed, reader in enumerate((Noise(), Other()))
    ]
    assert packs[0].test.names == packs[1].test.names
    assert list(hidden_order(packs[0].test)) != list(hidden_order(packs[1].test))


def test_a_control_is_matched_by_picture(people: oneway.Pack, tmp_path: Path) -> None:
    """An encoder that is its own control leaks all of it, in every resampling of people."""

    def features() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(3, 8, 8, stride=8))

    given: dict[str, Any] = {"data": people, "config": BRIEF, "progress": False}
    oneway.audit(features(), out=tmp_path / "control", **given)
    report = oneway.audit(features(), out=tmp_path / "same", control=tmp_path / "control", **given)
    with np.load(tmp_path / "control" / SCORES) as first, np.load(tmp_path / "same" / SCORES) as second:
        for name in first.files:
            np.testing.assert_array_equal(first[name], second[name])
    shares = [share for share in report.leakage.values() if isinstance(share, oneway.Estimate)]
    assert shares
    for share in shares:
        assert share.value == share.low == share.high == 1


def test_templates_of_faces_are_said_to_be_kept_and_nobody_else_reads_them(
    real: oneway.Pack, verifier: Verifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces").mkdir()
    for path in real.path.iterdir():
        if path.is_file():
            (tmp_path / "faces" / path.name).symlink_to(path)
    pack = oneway.Pack.open(tmp_path / "faces")
    before = os.umask(0o022)
    try:
        for part in (pack.test, pack.validation):
            known_features(verifier, part)
    finally:
        os.umask(before)
    kept = tmp_path / "faces" / FOLDER
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    modes = [stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()]
    assert modes == [0o600, 0o600]
    said = capsys.readouterr().err
    assert said.count(f"templates of the pack's faces are kept in {kept}") == 1


def test_tensorboard_reads_the_events_back(run: oneway.Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    logged = (run.path / "log.csv").read_text().splitlines()
    header, last = logged[0].split(","), logged[-1].split(",")
    for name, value in zip(header[1:], last[1:], strict=True):
        scalar = events.Scalars(name)[-1]
        assert scalar.step == int(last[0])
        assert scalar.value == pytest.approx(float(value), rel=1e-4)


def test_results_name_what_they_are_of(run: oneway.Run, audited: Path) -> None:
    made = json.loads((audited / "results.json").read_text())["provenance"]
    assert made["data"] == {"name": run.pack.path.name, "hash": run.pack.hash}
    assert made["victim"]["run"] == run.path.name
