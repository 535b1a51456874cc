"""Judges are told by their fingerprints: the same ones under other names see the same, or are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import oneway
from conftest import AUDIT, Once
from oneway.auditing.labels import trained_with, unseen
from oneway.auditing.renamed import score_here
from oneway.auditing.steps import StepFacts, StepResult
from oneway.judges.verifier import Verifier
from oneway.report.reports import read_report
from oneway.report.values import AttackResult

pytestmark = pytest.mark.whole

CONFIG = replace(AUDIT, attackers=("identity",))


class Named:
    """A verifier under another name."""

    def __init__(self, verifier: Verifier, name: str) -> None:
        self.verifier, self.name, self.fingerprint = verifier, name, verifier.fingerprint

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        return self.verifier(pictures, landmarks)

    def differentiable(self, device: torch.device) -> Any:
        return self.verifier.differentiable(device)  # type: ignore[attr-defined]


def encoder() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())


@pytest.fixture(scope="module")
def judges(people: oneway.Pack, people_judges: list[Path]) -> list[Verifier]:
    opened = [oneway.open_verifier(people, path) for path in people_judges]
    return [judge for judge in opened if judge is not None]


@pytest.fixture(scope="module")
def control(once: Once, people: oneway.Pack, judges: list[Verifier]) -> Path:
    """The audit of an encoder, whose judges are called so that neither name is the whole of what begins alike."""

    def make(path: Path) -> None:
        named = [Named(judge, name) for judge, name in zip(judges, ("first", "second by one"), strict=True)]
        oneway.audit(encoder(), data=people, out=path, config=CONFIG, verifier=named, progress=False)

    return once("control-of-renamed", make)


NAMES = {"a": "b", "b": "a", "a again": "an independent judge", "un/usual by a": "c again 2"}


@pytest.mark.parametrize(
    ("score", "here"),
    [
        ("inversion ssim", "inversion ssim"),
        ("inversion picture_similarity independent again 2", "inversion picture_similarity independent again 2"),
        ("inversion picture_similarity by a", "inversion picture_similarity by b"),
        ("feature_similarity by b", "feature_similarity by a"),
        ("inversion recognised by a again 12", "inversion recognised by b again 12"),
        ("inversion picture_similarity by b independent", "inversion picture_similarity by a independent"),
        ("picture_similarity by a again independent", "picture_similarity by an independent judge independent"),
        (
            "inversion picture_similarity by a independent again 2",
            "inversion picture_similarity by b independent again 2",
        ),
        (
            "floor mean_feature feature_similarity by un/usual by a",
            "floor mean_feature feature_similarity by c again 2",
        ),
        ("inversion picture_similarity by another", "inversion picture_similarity by another"),
    ],
)
def test_a_score_is_named_after_its_judges_name_here(score: str, here: str) -> None:
    assert score_here(score, NAMES) == here


def test_a_control_by_the_same_judges_under_other_names_is_the_same_control(
    people: oneway.Pack, judges: list[Verifier], control: Path, tmp_path: Path
) -> None:
    """The control is the audited encoder itself, so every judge must find the same of both, and leakage be whole."""
    called = ["second by one", "moved.onnx"]  # the first judge by the name that the second had there
    named = [Named(judge, name) for judge, name in zip(judges, called, strict=True)]
    report = oneway.audit(
        encoder(), data=people, out=tmp_path / "a", config=CONFIG, verifier=named, control=control, progress=False
    )
    with np.load(tmp_path / "a" / "scores.npz") as ours, np.load(control / "scores.npz") as theirs:
        there = {name: name.replace("moved.onnx", "second by one") for name in ours.files}
        assert sorted(there.values()) == sorted(theirs.files)
        assert "inversion picture_similarity by moved.onnx independent" in ours.files
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[there[name]], err_msg=name)
    assert [judge.name for judge in report.judges] == called
    for judge in report.judges:
        assert judge.features is not None
        assert judge.features.control == judge.features.similarity
        assert judge.features.leakage.value == pytest.approx(1), judge.name
        for faces in (judge.pictures, judge.independent):
            assert faces is not None
            assert faces.control is not None
            assert faces.leakage.value == pytest.approx(1), judge.name
            assert faces.control.value == pytest.approx(faces.picture_similarity.value)
    assert report.control is not None
    for attack in ("inversion", "feature"):
        found, beside = report.attacks[attack], report.control.attacks[attack]
        assert isinstance(found, AttackResult)
        assert isinstance(beside, AttackResult)
        assert (found.scores, found.validation) == (beside.scores, beside.validation)
        assert [way.judged for way in found.ways.values()] == [way.judged for way in beside.ways.values()]
        assert [way.validation for way in found.ways.values()] == [way.validation for way in beside.ways.values()]
    alone = read_report(control, oneway.AuditReport, "oneway audit")
    assert [judge.name for judge in alone.judges] == ["first", "second by one"], "the control's own report stays"
    assert report.control.victim == alone.provenance.victim


class KilledError(BaseException):
    """Ends an audit where SIGKILL would."""


def begin(people: oneway.Pack, path: Path, judges: list[Verifier], patch: pytest.MonkeyPatch) -> None:
    """Begin an audit, and kill it when its panel has drawn."""

    def kill(*_: object, **__: object) -> None:
        raise KilledError

    with patch.context() as patched:
        patched.setattr("oneway.auditing.inference.predicted", kill)
        with pytest.raises(KilledError):
            oneway.audit(encoder(), data=people, out=path, config=CONFIG, verifier=judges, progress=False)


def test_an_unfinished_audit_goes_on_by_its_only_judge_under_another_name(
    people: oneway.Pack, judges: list[Verifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(people, tmp_path / "a", [Named(judges[0], "old.onnx")], monkeypatch)
    given: dict[str, Any] = {"data": people, "config": CONFIG, "verifier": Named(judges[0], "new"), "progress": False}
    resumed = oneway.audit(encoder(), out=tmp_path / "a", resume=True, **given)
    straight = oneway.audit(encoder(), out=tmp_path / "straight", **given)
    assert resumed.iso24745 == straight.iso24745
    assert [resumed.leakage, resumed.judges] == [straight.leakage, straight.judges]


@pytest.mark.parametrize(
    ("names", "alone", "saw"),
    [
        ([], True, False),
        (["old"], True, True),
        (["now"], True, True),
        (["old"], False, False),
        (["old", "now"], False, True),
    ],
)
def test_who_trained_with_the_only_judge_did_whatever_it_was_called(names: list[str], alone: bool, saw: bool) -> None:
    judge: Any = SimpleNamespace(name="now", alone=alone)
    step = StepResult(facts=StepFacts(trained_with=names))
    assert trained_with(step, judge) == saw
    assert list(unseen({"identity": step}, judge)) == ([] if saw else ["identity"])


def test_an_unfinished_audit_by_several_judges_is_not_gone_on_with_under_other_names(
    people: oneway.Pack, judges: list[Verifier], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def called(*names: str) -> list[Verifier]:
        return [Named(judge, name) for judge, name in zip(judges, names, strict=True)]

    begin(people, tmp_path / "a", called("first", "second"), monkeypatch)
    given: dict[str, Any] = {"data": people, "out": tmp_path / "a", "config": CONFIG, "resume": True, "progress": False}
    for names, old, new in (
        (("first", "moved.onnx"), "second", "moved.onnx"),
        (("moved.onnx", "second"), "first", "moved.onnx"),
        (("second", "first"), "first", "second"),
    ):
        with pytest.raises(oneway.InputError, match=rf"with the verifier '{old}', which is '{new}' now: .* so again"):
            oneway.audit(encoder(), verifier=called(*names), **given)
    report = oneway.audit(encoder(), verifier=called("first", "second"), **given)
    assert [judge.name for judge in report.judges] == ["first", "second"]
