"""An attack's results: what docs/results.md promises, recomputed by hand, on test people, beside a fair control."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import oneway
from conftest import Attacked
from oneway.data import Private
from oneway.models.decoder import mirror
from oneway.models.verifier import Verifier
from oneway.report.grid import CELL, GAP
from oneway.runs import read_tensors

pytestmark = pytest.mark.whole

SCORES = {"face_similarity": "cosine", "ssim": "SSIM", "psnr": "dB", "mse": "MSE"}


class Reached(Exception):
    """The verifier is asked, so everything before was in order."""


class Renamed:
    """A verifier under another name or fingerprint, which is not to be asked."""

    def __init__(self, verifier: Verifier, name: str, fingerprint: str | None) -> None:
        self.name, self.fingerprint = name, fingerprint

    def __call__(self, *_: object) -> np.ndarray:
        raise Reached


QUICK = oneway.InversionConfig(width=0.5, max_steps=4, check_every=2)


def by_hand(pictures: np.ndarray, drawn: np.ndarray) -> float:
    return float(((pictures.astype(np.float64) - drawn) ** 2).mean())


def reconstructions(run: oneway.Run, attack: Attacked) -> np.ndarray:
    """Decode the test people with the saved decoder, as (n, size, size, 3) in 0..1."""
    protector = run.load()
    tensors, about = read_tensors(attack.path / "decoder.safetensors")
    decoder = mirror(protector.encoder, run.pack.size, width=about["width"]).eval()
    decoder.load_state_dict(tensors)
    pictures = torch.from_numpy(run.pack.test.images(slice(None))).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        return decoder(protector.encoder(pictures)).permute(0, 2, 3, 1).double().numpy()


def test_the_file_holds_what_the_call_returns(protected: oneway.Run, attacked: Attacked) -> None:
    results = attacked.results
    assert {"schema", "kind", "utility", "attacks", "floors", "control", "verifier", "provenance"} <= set(results)
    assert (results["schema"], results["kind"]) == (3, "attack")
    assert results["utility"] == json.loads((protected.path / "results.json").read_text())["utility"]


def test_every_score_is_an_estimate_over_the_test_people(protected: oneway.Run, attacked: Attacked) -> None:
    results = attacked.results
    everyone = (results["attacks"]["inversion"], results["floors"]["mean_face"], results["floors"]["nearest_by_output"])
    for scores in everyone:
        for name, unit in SCORES.items():
            score = scores[name]
            assert set(score) == {"value", "low", "high", "n", "unit"}
            assert score["unit"] == unit
            assert score["n"] == protected.pack.test.num_people == 24
            assert score["low"] <= score["value"] <= score["high"]
            assert score["low"] < score["high"]
    mean_mcc = results["utility"]["mean_mcc"]
    assert set(mean_mcc) == {"value", "low", "high", "n", "unit"}
    assert (mean_mcc["n"], mean_mcc["unit"]) == (24, "MCC")
    assert set(results["utility"]["mcc"]) == set(protected.attributes)
    assert results["floors"]["constant_prediction"]["mean_mcc"] == 0


def test_the_course_of_the_attack_is_told(attacked: Attacked, inversion: oneway.InversionConfig) -> None:
    course = attacked.results["attacks"]["inversion"]
    assert (course["steps"], course["converged"]) == (inversion.max_steps, False)
    assert course["queries"] >= inversion.max_steps * inversion.batch_size
    assert 0 < course["validation_mse"] < 0.1


def test_the_verifier_says_how_good_it_is(attacked: Attacked, verifier: Verifier) -> None:
    # 48 validation pictures make about a thousand pairs: too few for a false accept rate of one in a thousand.
    about = attacked.results["verifier"]
    assert (about["name"], about["fingerprint"]) == ("judge.safetensors", verifier.fingerprint)
    assert (about["false_accept_rate"], about["threshold"], about["true_accept_rate"]) == (1e-3, None, None)
    assert -1 <= about["similarity"]["different"] < about["similarity"]["same"] <= 1
    # Hardly trained, it finds all faces alike, the mean face too.
    assert "finds the mean face" in about["blind"]
    assert [(guard["name"], guard["passed"]) for guard in attacked.results["guards"]] == [
        ("people", True),
        ("judge", False),
    ]
    assert "recognised" not in attacked.results["attacks"]["inversion"]


def test_the_provenance_says_what_made_it(
    protected: oneway.Run, attacked: Attacked, inversion: oneway.InversionConfig
) -> None:
    made = attacked.results["provenance"]
    assert {"oneway", "torch", "torchvision", "python", "machine", "created"} <= set(made)
    assert made["data"]["hash"] == protected.pack.hash
    weights = hashlib.sha256((protected.path / "protector.safetensors").read_bytes()).hexdigest()
    assert made["run"] == {"name": protected.path.name, "hash": weights}, "its name and weights, and no path"
    assert made["attack"]["max_steps"] == inversion.max_steps
    assert made["protect"]["game"]["pixel"] == protected.config.game.pixel


def test_the_error_is_the_one_computed_by_hand(protected: oneway.Run, attacked: Attacked) -> None:
    pictures = protected.pack.test.images(slice(None)) / 255
    drawn = reconstructions(protected, attacked)
    reported = attacked.results["attacks"]["inversion"]
    assert reported["mse"]["value"] == pytest.approx(by_hand(pictures, drawn), rel=1e-4)
    each = ((pictures - drawn) ** 2).mean(axis=(1, 2, 3))
    assert reported["psnr"]["value"] == pytest.approx(float((10 * np.log10(1 / each)).mean()), rel=1e-4)


def test_the_floors_are_those_computed_by_hand(protected: oneway.Run, attacked: Attacked) -> None:
    pictures = protected.pack.test.images(slice(None)) / 255
    mean = (protected.pack.public.images(slice(None)) / 255).mean(axis=0)
    floors = attacked.results["floors"]
    assert floors["mean_face"]["mse"]["value"] == pytest.approx(by_hand(pictures, mean[None]), rel=1e-4)
    # A real face is no better a guess of another than the mean, which minimises the squared error.
    assert floors["nearest_by_output"]["mse"]["value"] > floors["mean_face"]["mse"]["value"]


def test_the_control_stands_beside(attacked: Attacked, control: Attacked, unprotected: oneway.Run) -> None:
    assert control.results["control"] is None
    beside = attacked.results["control"]
    assert beside == {
        "run": unprotected.about,
        "utility": control.results["utility"],
        "attacks": control.results["attacks"],
    }


def test_the_decoder_is_left_where_it_is_asked_for_and_no_checkpoint(attacked: Attacked, control: Attacked) -> None:
    expected = {"config.json", "shown.npy", "grid.png", "results.json"}
    assert {path.name for path in control.path.iterdir()} == expected
    assert {path.name for path in attacked.path.iterdir()} == expected | {"decoder.safetensors"}


def test_the_picture_shows_originals_above_reconstructions(
    protected: oneway.Run, attacked: Attacked, control: Attacked
) -> None:
    with Image.open(attacked.path / "grid.png") as sheet, Image.open(control.path / "grid.png") as other:
        assert sheet.format == "PNG"
        assert sheet.size[0] == other.size[0] == 8 * (CELL + GAP) + GAP
        assert (sheet.size[1] - GAP) * 2 == (other.size[1] - GAP) * 3  # three rows against two, the control's between
        pixels = np.asarray(sheet.convert("RGB"))
    row = (len(pixels) - GAP) // 3
    test, factor = protected.pack.test, CELL // protected.pack.size
    drawn = (reconstructions(protected, attacked) * 255).round()
    people = []
    for column in range(8):
        left = GAP + column * (CELL + GAP)
        cells = [
            pixels[(below + 1) * row + GAP - GAP - CELL : (below + 1) * row + GAP - GAP, left : left + CELL]
            for below in range(3)
        ]
        original, _, reconstructed = (cell[::factor, ::factor] for cell in cells)
        same = np.flatnonzero((test.images(slice(None)) == original).all(axis=(1, 2, 3)))
        assert len(same) == 1, "the pictures shown must be of test people"
        people.append(int(test.identities[same[0]]))
        assert np.abs(drawn[same[0]] - reconstructed).max() <= 1
    assert len(set(people)) == 8


def test_the_attack_and_its_scores_need_no_private_person(
    early: oneway.Run, runtime: oneway.RuntimeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def seen(*_: object) -> None:
        raise AssertionError("a private picture")

    monkeypatch.setattr(Private, "images", seen, raising=False)
    results = oneway.attack(early, tmp_path / "attack", QUICK, runtime=runtime, progress=False)
    assert results["verifier"] is None
    assert "face_similarity" not in results["attacks"]["inversion"]


def test_the_attack_leaves_the_run_as_it_was(early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path) -> None:
    run = replace(early, path=shutil.copytree(early.path, tmp_path / "run"))
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    oneway.attack(run, config=QUICK, runtime=runtime, progress=False)
    assert (run.path / "attack" / "results.json").is_file()
    assert before == {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


@pytest.fixture
def against(
    protected: oneway.Run,
    verifier: Verifier,
    inversion: oneway.InversionConfig,
    runtime: oneway.RuntimeConfig,
    tmp_path: Path,
) -> Callable[..., dict[str, Any]]:
    """Attack beside a control that must be refused."""

    def attack(control: Path, run: oneway.Run = protected, **changes: Any) -> dict[str, Any]:
        options = {"config": inversion, "verifier": verifier, "runtime": runtime, "progress": False} | changes
        return oneway.attack(run, tmp_path / "attack", control=control, **options)

    return attack


def test_a_control_that_attacked_a_protected_run_is_refused(
    against: Callable[..., dict[str, Any]], attacked: Attacked, tmp_path: Path
) -> None:
    with pytest.raises(
        oneway.InputError, match=r"attacked a protected run \(game\.pixel = 3\); give the attack on a run"
    ):
        against(attacked.path)
    assert not (tmp_path / "attack").exists()


def test_a_control_by_another_attack_is_refused(
    against: Callable[..., dict[str, Any]], control: Attacked, inversion: oneway.InversionConfig, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=r"was made with attack\.seed = 0, not 1"):
        against(control.path, config=replace(inversion, seed=1))
    assert not (tmp_path / "attack").exists()


def test_a_control_judged_by_another_verifier_is_refused(
    against: Callable[..., dict[str, Any]], control: Attacked
) -> None:
    with pytest.raises(oneway.InputError, match=r"was judged by judge\.safetensors \([0-9a-f]{12}\), not by no"):
        against(control.path, verifier=None)


def test_a_control_judged_by_another_verifier_of_the_same_name_is_refused_and_a_renamed_one_is_not(
    against: Callable[..., dict[str, Any]], control: Attacked, verifier: Verifier
) -> None:
    with pytest.raises(oneway.InputError, match=r"was judged by judge\.safetensors .* not by judge\.safetensors \(o"):
        against(control.path, verifier=Renamed(verifier, "judge.safetensors", "other"))
    with pytest.raises(oneway.InputError, match="'mine' has no fingerprint, so whether it judged the control"):
        against(control.path, verifier=Renamed(verifier, "mine", None))
    with pytest.raises(Reached):
        against(control.path, verifier=Renamed(verifier, "mine", verifier.fingerprint))


@pytest.mark.parametrize("schema", [2, None])
def test_a_control_of_another_layout_is_refused_with_the_command_that_makes_it_anew(
    against: Callable[..., dict[str, Any]], control: Attacked, schema: int | None, tmp_path: Path
) -> None:
    old = shutil.copytree(control.path, tmp_path / "old")
    results = json.loads((old / "results.json").read_text())
    (old / "results.json").write_text(json.dumps(results | {"schema": schema}))
    with pytest.raises(oneway.InputError, match=rf"\(schema {schema}, not 3\); make it anew.*: oneway attack"):
        against(old)


def test_a_control_of_another_network_is_refused(
    against: Callable[..., dict[str, Any]], control: Attacked, early: oneway.Run
) -> None:
    with pytest.raises(oneway.InputError, match=r"was made with network\.cut = 'layer2', not 'conv1'"):
        against(control.path, run=early)


def test_a_control_on_other_data_is_refused(
    against: Callable[..., dict[str, Any]],
    control: Attacked,
    other_pack: oneway.Pack,
    tiny: Callable[..., oneway.ProtectConfig],
    tmp_path: Path,
) -> None:
    run = oneway.protect(other_pack, tmp_path / "run", tiny({"steps": 1}), progress=False)
    with pytest.raises(oneway.InputError, match=rf"was made with data = .*, not '{other_pack.hash}'"):
        against(control.path, run=run)


def test_a_control_that_is_no_attack_or_unfinished_is_refused(
    against: Callable[..., dict[str, Any]], unprotected: oneway.Run, control: Attacked, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=r"is not a finished attack; give the --out of `oneway attack"):
        against(unprotected.path)
    with pytest.raises(oneway.InputError, match=r"results\.json does not exist"):
        against(tmp_path)
    spoiled = shutil.copytree(control.path, tmp_path / "spoiled")
    (spoiled / "shown.npy").unlink()
    with pytest.raises(oneway.InputError, match=r"kept no pictures to stand beside these; make it again with --images"):
        against(spoiled)
    assert not (tmp_path / "attack").exists()
