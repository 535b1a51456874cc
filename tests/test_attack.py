"""An attack's results: what docs/results.md promises, recomputed by hand, on test people, beside a fair control."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import oneway
from conftest import Attacked, write_discriminants
from oneway.auditing.reconstruction import shown
from oneway.config import to_dict
from oneway.data.join import join
from oneway.data.packed import Private
from oneway.judges.verifier import Verifier
from oneway.onnx_session import session_options
from oneway.report.reports import read_report
from oneway.report.values import SCHEMA, Refused
from oneway.shipping.kept import KEPT

pytestmark = pytest.mark.whole

SCORES = {"picture_similarity": "cosine", "ssim": "SSIM", "psnr": "dB", "mse": "MSE"}


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
    """Decode the test people with the attacker that was kept, as (n, size, size, 3) in 0..1."""
    pictures = torch.from_numpy(run.pack.test.images(slice(None))).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        features = run.load().encoder(pictures).numpy()
    session = onnxruntime.InferenceSession(str(attack.path / KEPT), session_options())
    return session.run(["picture"], {"features": features})[0].transpose(0, 2, 3, 1).astype(np.float64)


def test_the_report_is_an_audits_by_one_attacker_and_has_the_runs_utility(
    protected: oneway.Run, attacked: Attacked
) -> None:
    report = attacked.report
    assert (report.schema, report.kind, report.victim.kind) == (SCHEMA, "audit", "run")
    assert report.utility == protected.report.utility
    assert list(report.attacks["inversion"].ways) == ["mirror"]
    left_out = Refused(refused="left out: one attacker alone was asked for")
    others = {name: found for name, found in report.attacks.items() if name != "inversion"}
    assert others == dict.fromkeys(others, left_out)
    assert report.queries == left_out
    untested = [line for line in report.untested if line.startswith("the inversion attacker")]
    assert all(any(name in line for line in untested) for name in ("linear", "residual", "transformer", "gan"))
    assert not any("mirror" in line for line in untested)


def test_every_score_is_an_estimate_over_the_test_people(protected: oneway.Run, attacked: Attacked) -> None:
    report = attacked.report
    for scores in (report.attacks["inversion"].scores, report.floors["mean_picture"], report.decisions.scores):
        for name, unit in SCORES.items():
            score = scores[name]
            assert isinstance(score, oneway.Estimate)
            assert score.unit == unit
            assert score.n == protected.pack.test.num_people == 24
            assert score.low <= score.value <= score.high
            assert score.low < score.high
    value = report.utility.value
    assert (value.n, value.unit) == (24, "MCC")
    assert set(report.utility.each) == set(protected.attributes)
    assert report.floors["constant_prediction"]["utility"] == 0
    written = json.loads((attacked.path / "results.json").read_text())
    for score in (written["utility"]["value"], written["attacks"]["inversion"]["scores"]["mse"]):
        assert set(score) == {"value", "low", "high", "n", "unit"}


def test_the_course_of_the_attack_is_told(
    protected: oneway.Run, attacked: Attacked, inversion: oneway.InversionConfig
) -> None:
    way = attacked.report.attacks["inversion"].ways["mirror"]
    assert (way.course.steps, way.course.converged) == (inversion.max_steps, False)
    assert way.course.queries == 2 * len(protected.pack.public), "every public picture and its mirror image"
    assert 0 < way.course.validation_error < 0.1
    assert way.validation["mse"] == pytest.approx(way.course.validation_error, rel=1e-5)
    assert attacked.report.unconverged == ["inversion mirror"]


def test_the_verifier_says_how_good_it_is(attacked: Attacked, verifier: Verifier) -> None:
    # 48 validation pictures make about a thousand pairs: too few for a false accept rate of one in a thousand.
    judge = attacked.report.judge
    assert (judge.name, judge.fingerprint) == ("judge.safetensors", verifier.fingerprint)
    assert (judge.false_accept_rate, judge.threshold, judge.true_accept_rate) == (1e-3, None, None)
    assert -1 <= judge.similarity.different < judge.similarity.same <= 1
    # Hardly trained, it finds all faces alike, the mean face too.
    assert "finds the mean face" in judge.blind
    assert {guard.name: guard.passed for guard in attacked.report.guards}["judge"] is False
    assert "recognised" not in attacked.report.attacks["inversion"].scores


def test_few_test_people_are_marked(attacked: Attacked) -> None:
    (guard,) = [guard for guard in attacked.report.guards if guard.name == "test people"]
    assert guard.passed is False
    assert guard.message.startswith("24 test people: fewer than 50")
    assert attacked.report.verdict.level == "undecided"


def test_the_provenance_says_what_made_it(
    protected: oneway.Run, attacked: Attacked, inversion: oneway.InversionConfig
) -> None:
    made = attacked.report.provenance
    assert all((made.oneway, made.torch, made.torchvision, made.python, made.machine, made.created))
    assert made.data.hash == protected.pack.hash
    weights = hashlib.sha256((protected.path / "protector.safetensors").read_bytes()).hexdigest()
    assert (made.victim["run"], made.victim["hash"]) == (protected.path.name, weights), "its name and weights"
    assert str(protected.path.parent) not in (attacked.path / "results.json").read_text(), "and no path"
    assert made.audit["alone"]["max_steps"] == inversion.max_steps
    assert made.victim["protect"]["game"]["pixel"] == protected.config.game.pixel


def test_the_error_is_the_one_computed_by_hand(protected: oneway.Run, attacked: Attacked) -> None:
    pictures = protected.pack.test.images(slice(None)) / 255
    drawn = reconstructions(protected, attacked)
    reported = attacked.report.attacks["inversion"].scores
    assert reported["mse"].value == pytest.approx(by_hand(pictures, drawn), rel=1e-4)
    each = ((pictures - drawn) ** 2).mean(axis=(1, 2, 3))
    assert reported["psnr"].value == pytest.approx(float((10 * np.log10(1 / each)).mean()), rel=1e-4)


def test_the_floors_are_those_computed_by_hand(protected: oneway.Run, attacked: Attacked) -> None:
    pictures = protected.pack.test.images(slice(None)) / 255
    mean = (protected.pack.public.images(slice(None)) / 255).mean(axis=0)
    floor, decided = attacked.report.floors["mean_picture"]["mse"], attacked.report.decisions.scores["mse"]
    assert floor.value == pytest.approx(by_hand(pictures, mean[None]), rel=1e-4)
    # A real face is no better a guess of another than the mean, which minimises the squared error.
    assert attacked.report.floors["random_public_picture"]["mse"].value > floor.value
    # What is drawn from decisions is drawn towards that mean as far as they say nothing.
    assert decided.value < 1.1 * floor.value


def test_a_judge_that_sees_gives_validation_people_a_floor_too(
    unprotected: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    pack = unprotected.pack
    write_discriminants(pack, tmp_path / "judge.onnx")
    judge = oneway.open_verifier(pack, tmp_path / "judge.onnx")
    assert judge is not None
    report = oneway.attack(unprotected, tmp_path / "a", QUICK, verifier=judge, runtime=runtime, progress=False)
    assert report.judges[0].blind is None
    mean = pack.public.images(slice(None)).mean(axis=0, dtype=np.float64) / 255
    seen = judge(torch.from_numpy(mean).permute(2, 0, 1)[None].float(), None)[0]
    pictures = torch.from_numpy(pack.validation.images(slice(None))).permute(0, 3, 1, 2) / 255
    floor = float((judge(pictures, None) @ seen).mean())
    assert report.validation["picture_similarity"].floor == pytest.approx(floor, abs=1e-4)


def test_the_control_stands_beside(attacked: Attacked, control: Attacked, unprotected: oneway.Run) -> None:
    assert control.report.control is None
    beside = attacked.report.control
    assert (beside.name, beside.audit) == (unprotected.path.name, control.path.name)
    assert control.report.provenance.victim["hash"] == unprotected.about["hash"]
    assert beside.utility == control.report.utility
    assert beside.attacks == control.report.attacks


def test_the_attacker_is_left_where_it_is_asked_for_and_no_checkpoint(attacked: Attacked, control: Attacked) -> None:
    expected = {"config.json", "shown.npy", "scores.npz", "report.html", "results.json"}
    assert {path.name for path in control.path.iterdir()} == expected
    assert {path.name for path in attacked.path.iterdir()} == expected | {KEPT}


def test_the_page_shows_originals_beside_reconstructions(
    protected: oneway.Run, attacked: Attacked, control: Attacked
) -> None:
    test = protected.pack.test
    rows = shown(protected.pack)
    assert len(set(test.identities[rows])) == 8
    kept = np.load(attacked.path / "shown.npy")
    assert np.abs((reconstructions(protected, attacked)[rows] * 255).round() - kept).max() <= 1
    found = re.findall(r"data:image/png;base64,([^\"')\s]+)", (attacked.path / "report.html").read_text())
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB")) for each in found]
    for expected in (*test.images(rows), *kept, *np.load(control.path / "shown.npy")):
        assert any(np.array_equal(picture, expected) for picture in pictures)
    without = re.findall(r"data:image/png;base64,", (control.path / "report.html").read_text())
    assert len(without) == len(found) - len(kept), "the control's stand only beside the others"


def test_the_attack_and_its_scores_need_no_private_person(
    early: oneway.Run, runtime: oneway.RuntimeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def seen(*_: object) -> None:
        raise AssertionError("a private picture")

    monkeypatch.setattr(Private, "images", seen, raising=False)
    report = oneway.attack(early, tmp_path / "attack", QUICK, runtime=runtime, progress=False)
    assert report.judges == []
    assert "picture_similarity" not in report.attacks["inversion"].scores
    text = (tmp_path / "attack" / "results.json").read_text()
    assert json.loads(text) == to_dict(report) == json.loads(report.to_json()), "the file holds what the call returns"


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
) -> Callable[..., oneway.AuditReport]:
    """Attack beside a control that must be refused."""

    def attack(control: Path, run: oneway.Run = protected, **changes: Any) -> oneway.AuditReport:
        options = {"config": inversion, "verifier": verifier, "runtime": runtime, "progress": False} | changes
        return oneway.attack(run, tmp_path / "attack", control=control, **options)

    return attack


def test_a_control_that_attacked_a_protected_run_is_refused(
    against: Callable[..., oneway.AuditReport], attacked: Attacked, tmp_path: Path
) -> None:
    with pytest.raises(
        oneway.InputError, match=r"is a protected run \(game\.pixel = 3\), or the audit of one; give a run"
    ):
        against(attacked.path)
    assert not (tmp_path / "attack").exists()


def test_a_control_by_another_attack_is_refused(
    against: Callable[..., oneway.AuditReport], control: Attacked, inversion: oneway.InversionConfig, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=r"was made with audit\.alone\.seed = 0, not 1"):
        against(control.path, config=replace(inversion, seed=1))
    assert not (tmp_path / "attack").exists()


def test_a_control_judged_by_another_verifier_is_refused(
    against: Callable[..., oneway.AuditReport], control: Attacked
) -> None:
    with pytest.raises(oneway.InputError, match=r"was judged by judge\.safetensors \([0-9a-f]{12}\), not by no"):
        against(control.path, verifier=None)


def test_a_control_judged_by_another_verifier_of_the_same_name_is_refused_and_a_renamed_one_is_not(
    against: Callable[..., oneway.AuditReport], control: Attacked, verifier: Verifier
) -> None:
    with pytest.raises(oneway.InputError, match=r"was judged by judge\.safetensors .* not by judge\.safetensors \(o"):
        against(control.path, verifier=Renamed(verifier, "judge.safetensors", "other"))
    with pytest.raises(oneway.InputError, match="'mine' has no fingerprint, so whether it judged the control"):
        against(control.path, verifier=Renamed(verifier, "mine", None))
    with pytest.raises(Reached):
        against(control.path, verifier=Renamed(verifier, "mine", verifier.fingerprint))


@pytest.mark.parametrize("schema", [2, None])
def test_a_control_of_another_layout_is_refused_with_the_command_that_makes_it_anew(
    against: Callable[..., oneway.AuditReport], control: Attacked, schema: int | None, tmp_path: Path
) -> None:
    old = shutil.copytree(control.path, tmp_path / "old")
    results = json.loads((old / "results.json").read_text())
    (old / "results.json").write_text(json.dumps(results | {"schema": schema}))
    wanted = rf"schema must be {SCHEMA}, not {schema}; .*`oneway attack CONTROL .*, or make it anew"
    with pytest.raises(oneway.InputError, match=wanted):
        against(old)


def test_a_control_of_another_network_is_refused(
    against: Callable[..., oneway.AuditReport], control: Attacked, early: oneway.Run
) -> None:
    with pytest.raises(oneway.InputError, match=r"was made with network\.cut = 'layer2', not 'conv1'"):
        against(control.path, run=early)


def test_a_control_on_other_data_is_refused(
    against: Callable[..., oneway.AuditReport],
    control: Attacked,
    other_pack: oneway.Pack,
    tiny: Callable[..., oneway.ProtectConfig],
    tmp_path: Path,
) -> None:
    run = oneway.protect(other_pack, tmp_path / "run", tiny({"steps": 1}), progress=False)
    with pytest.raises(oneway.InputError, match=rf"was made with data = .*, not '{other_pack.hash}'"):
        against(control.path, run=run)


def test_a_control_that_is_no_attack_or_unfinished_is_refused(
    against: Callable[..., oneway.AuditReport], pack: oneway.Pack, control: Attacked, tmp_path: Path
) -> None:
    with pytest.raises(oneway.InputError, match=r"config\.json does not exist"):
        against(pack.path)
    unfinished = shutil.copytree(control.path, tmp_path / "unfinished")
    (unfinished / "results.json").unlink()
    with pytest.raises(oneway.InputError, match=r"results\.json does not exist; .* finished `oneway attack"):
        against(unfinished)
    lacking = shutil.copytree(control.path, tmp_path / "lacking")
    (lacking / "scores.npz").unlink()
    with pytest.raises(oneway.InputError, match=r"lacks scores\.npz; make it again"):
        against(lacking)
    assert not (tmp_path / "attack").exists()


def test_an_unprotected_run_is_attacked_first_where_it_is_the_control_once_and_without_its_attacker(
    early: oneway.Run, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    bare = shutil.copytree(early.path, tmp_path / "bare")
    given: dict[str, Any] = {"control": bare, "runtime": runtime, "progress": False}
    first = oneway.attack(early, tmp_path / "first", replace(QUICK, keep=True), **given)
    (made,) = bare.glob("audit-*")
    assert first.control.audit == made.name
    assert not (made / KEPT).exists()
    assert (tmp_path / "first" / KEPT).exists()
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    assert oneway.attack(early, tmp_path / "again", QUICK, **given).control == first.control
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before


def test_a_control_that_was_attacked_on_the_plain_pack_is_attacked_again_on_one_with_more_public_people(
    early: oneway.Run, people: oneway.Pack, runtime: oneway.RuntimeConfig, tmp_path: Path
) -> None:
    bare = shutil.copytree(early.path, tmp_path / "bare")
    given: dict[str, Any] = {"control": bare, "runtime": runtime, "progress": False}
    oneway.attack(early, tmp_path / "plain", QUICK, **given)
    (first,) = bare.glob("audit-*")
    more = join(early.pack, people, tmp_path / "more")
    for turn in ("joined", "again"):
        report = oneway.attack(oneway.Run.open(early.path, more), tmp_path / turn, QUICK, **given)
        (second,) = set(bare.glob("audit-*")) - {first}
        assert report.control is not None
        assert report.control.audit == second.name
        made = [read_report(each, oneway.AuditReport, "oneway attack").provenance.data.hash for each in (first, second)]
        assert made == [early.pack.hash, more.hash]
