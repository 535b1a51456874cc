"""Audits of encoders built to fool one: each figure must say what is so, and nothing is printed that says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import oneway
from conftest import RUNTIME, Once
from dumps import write_dump
from oneway.attacks.feature import FeatureConfig
from oneway.attacks.information import InformationConfig
from oneway.attacks.optimisation import OptimisationConfig
from oneway.auditing.config import AuditConfig
from oneway.config import to_dict
from oneway.judges.verifier import Verifier
from oneway.report.reports import read_report
from oneway.report.values import AttackResult, Refused

pytestmark = pytest.mark.whole

CONFIG = AuditConfig(
    attackers=("mirror",),
    queries=(60,),
    steps=20,
    feature=FeatureConfig(width=4, batch_size=32),
    information=InformationConfig(batch_size=48),
    optimisation=OptimisationConfig(steps=10, num_pictures=4),
    runtime=RUNTIME,
)
BRIEF = replace(CONFIG, brief=True)
Audit = Callable[..., oneway.AuditReport]


class Changed(nn.Module):
    """A plain convolutional encoder whose features are scaled, shifted or given noise."""

    def __init__(self, *, scale: float = 1.0, shift: float = 0.0, noise: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
        self.scale, self.shift, self.noise = scale, shift, noise

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.layers(pictures) * self.scale + self.shift
        return features + self.noise * torch.randn_like(features) if self.noise else features


class Negative(nn.Module):
    """Gives the negative of the picture for its features."""

    def forward(self, pictures: Tensor) -> Tensor:
        return 1 - pictures


def audit_noisily(people: oneway.Pack, judge: Verifier, path: Path) -> None:
    """Audit the plain encoder with some noise beside another that has the same features, four times as large."""
    other = path.with_suffix(".npz")
    dump(Changed(scale=4.0), people, other)
    config = replace(CONFIG, renewed=str(other))
    oneway.audit(Changed(noise=0.5), data=people, out=path, config=config, verifier=judge, progress=False)


def dump(encoder: nn.Module, people: oneway.Pack, path: Path, *, whole: bool = False) -> None:
    """Store an encoder's features, as float32 or as whole numbers of 8 bits."""
    names, features = [], []
    for part in (people.public, people.validation, people.test):
        names += part.names
        pictures = torch.from_numpy(part.images(slice(None))).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            features.append(encoder(pictures).numpy())
    stored = np.concatenate(features)
    write_dump(path, names, np.round(stored / np.abs(stored).max() * 127).astype(np.int8) if whole else stored)


@pytest.fixture(scope="module")
def control(once: Once, people: oneway.Pack, judge: Verifier) -> Path:
    """The audit of the plain encoder."""

    def make(path: Path) -> None:
        oneway.audit(Changed(), data=people, out=path, config=CONFIG, verifier=judge, progress=False)

    return once("audited-control", make)


@pytest.fixture(scope="module")
def brief(once: Once, people: oneway.Pack, judge: Verifier) -> Path:
    """A brief audit of the plain encoder."""

    def make(path: Path) -> None:
        oneway.audit(Changed(), data=people, out=path, config=BRIEF, verifier=judge, progress=False)

    return once("audited-briefly", make)


@pytest.fixture(scope="module")
def noisy(once: Once, people: oneway.Pack, judge: Verifier) -> oneway.AuditReport:
    """What is found of the plain encoder with some noise, without a control."""
    return read(once("audited-noisy", partial(audit_noisily, people, judge)))


@pytest.fixture(scope="module")
def silent(once: Once, people: oneway.Pack, judge: Verifier, control: Path) -> Path:
    """The audit of an encoder that says nothing but noise, beside the plain one."""

    def make(path: Path) -> None:
        victim = Changed(scale=0.0, noise=1.0)
        oneway.audit(victim, data=people, out=path, config=CONFIG, verifier=judge, control=control, progress=False)

    return once("audited-silent", make)


@pytest.fixture
def audit(people: oneway.Pack, judge: Verifier, control: Path, tmp_path: Path) -> Audit:
    def run(victim: Any = None, **options: Any) -> oneway.AuditReport:
        given = {"data": people, "out": tmp_path / "audit", "config": CONFIG, "verifier": judge, "control": control}
        return oneway.audit(victim, progress=False, **(given | options))

    return run


def test_templates_that_the_pictures_of_a_person_share_are_audited(
    people: oneway.Pack, audit: Audit, tmp_path: Path
) -> None:
    parts = (people.public, people.validation, people.test)
    names = [name for part in parts for name in part.names]
    codes = np.concatenate([part.identities for part in parts])
    templates = np.random.default_rng(0).normal(size=(codes.max() + 1, 8)).astype(np.float32)
    write_dump(tmp_path / "templates.npz", names, templates[codes])
    report = audit(features=tmp_path / "templates.npz", config=BRIEF, control=None)
    refusal = report.attacks["scatter"]
    assert isinstance(refusal, Refused)
    assert "same features" in refusal.refused
    assert "lda_score" not in report.floors["chance"]
    linkage = report.attacks["linkage"]
    assert isinstance(linkage, AttackResult)
    rank = linkage.scores["rank_1"]
    assert rank is not None
    assert rank.value == 1, "a template leads to its person"


def test_the_results_hold_what_is_promised(control: Path, people: oneway.Pack) -> None:
    results = json.loads((control / "results.json").read_text())
    assert results["kind"] == "audit"
    assert {"victim", "utility", "verdict", "attacks", "queries", "floors", "control", "judges", "leakage"} < set(
        results
    )
    assert {"guards", "untested", "seconds", "provenance", "schema"} < set(results)
    report = read(control)
    assert to_dict(report) == results
    assert report.victim.threat_models == ["black box", "white box"]
    inferred = report.attacks["inference"].scores
    assert inferred["inferred_mcc"].n == 100
    names = {name.partition(".")[2] for name in inferred if "." in name}
    assert names == set(people.attributes), "no task is known, so every attribute is inferred"
    assert report.attacks["bound"] == Refused(refused="no bound: the encoder is deterministic")
    assert len(report.verdict.numbers) == 3
    assert (control / "report.html").stat().st_size > 10_000
    assert not (control / "features").exists()
    assert not (control / "parts").exists()


def test_a_plain_encoder_is_undone_and_said_to_be(control: Path) -> None:
    report = read(control)
    ours, floor = report.attacks["inversion"].scores["mse"], report.floors["mean_picture"]["mse"]
    assert ours.high < 0.5 * floor.low
    assert report.attacks["information"].scores["bits"].low > 0.5
    linked = report.attacks["linkage"].scores["rank_1"]
    assert linked.low > 3 * report.floors["chance"]["rank_1"]


@pytest.mark.parametrize(
    "victim",
    [Changed(scale=1e-4), Changed(scale=-1.0, shift=3.0), Negative(), nn.Identity()],
    ids=["low bits", "turned and shifted", "negative image", "identity"],
)
def test_no_disguise_makes_an_open_encoder_look_closed(audit: Audit, victim: nn.Module, brief: Path) -> None:
    report = audit(victim, config=BRIEF, control=brief)
    assert report.verdict.level == "open", report.verdict
    assert report.leakage["picture_similarity"].value > 0.8
    assert isinstance(report.excess["picture_similarity"], Refused)  # a module of which no task is known
    ours, floor = report.attacks["inversion"].scores["mse"], report.floors["mean_picture"]["mse"]
    assert ours.high < 0.5 * floor.low


def test_noise_leaks_nothing(silent: Path) -> None:
    report = read(silent)
    for name in ("picture_similarity", "linkage"):
        share = report.leakage[name]
        assert share.low <= 0.05, (name, share)
        assert share.high < 0.4, (name, share)
    assert report.victim.noisy
    assert abs(report.attacks["information"].scores["bits"].value) < 0.3
    assert isinstance(report.attacks["averaging"], AttackResult), "the attacker averages what a noisy encoder says"
    assert report.verdict.level != "open"


def test_averaging_answers_undoes_noise(noisy: oneway.AuditReport) -> None:
    once, often = noisy.attacks["inversion"].scores["mse"], noisy.attacks["averaging"].scores["mse"]
    assert often.high < once.low


def test_averages_are_the_strongest_attackers_and_the_query_curve_is_of_one_who_learns_from_few(
    noisy: oneway.AuditReport,
) -> None:
    inversion = noisy.attacks["inversion"]
    strongest = inversion.strongest["picture_similarity"]
    similar = {name: way.validation["picture_similarity"] for name, way in inversion.ways.items()}
    assert strongest == max(similar, key=lambda name: similar[name])
    assert noisy.attacks["averaging"].facts["attacker"] == strongest
    assert noisy.queries.attacker == max(("linear", "kernel", "mirror"), key=lambda name: similar[name])
    few, all_of_them = noisy.queries.curve
    assert few.queries == 60
    assert all_of_them.scores["mse"] == inversion.ways[noisy.queries.attacker].scores["mse"]


def test_a_brief_audit_has_the_leakages_of_a_whole_one(control: Path, brief: Path) -> None:
    whole, ours = read(control), read(brief)
    for attack in ("inversion", "feature", "linkage", "scatter"):
        assert untimed(ours.attacks[attack]) == untimed(whole.attacks[attack]), attack
    left_out = ("inference", "information", "optimisation", "averaging")
    for attack in (*left_out, "bound"):
        assert ours.attacks[attack] == Refused(refused="left out: the audit is brief")
        assert ours.seconds[attack] == 0
    assert set(left_out) <= {line.partition(":")[0] for line in ours.untested}
    assert [point.queries for point in ours.queries.curve] == [whole.queries.curve[-1].queries]


def read(folder: Path) -> oneway.AuditReport:
    return read_report(folder, oneway.AuditReport, "oneway audit")


def untimed(result: AttackResult | Refused) -> AttackResult | Refused:
    """Leave out of an attack's result what the clock says."""
    if isinstance(result, Refused):
        return result
    return replace(result, seconds=None, ways={name: replace(way, seconds=None) for name, way in result.ways.items()})


def test_constant_features_are_refused(audit: Audit, tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="the same features for all of 256 public pictures"):
        audit(Changed(scale=0.0), control=None)
    assert not (tmp_path / "audit" / "results.json").exists()


def test_features_that_are_not_finite_are_refused(audit: Audit) -> None:
    with pytest.raises(oneway.InputError, match="features are not finite"):
        audit(Changed(scale=1e38, shift=float("inf")), control=None)


def test_too_few_test_people_are_refused(audit: Audit, pack: oneway.Pack) -> None:
    with pytest.raises(oneway.InputError, match="has 24 test people and an audit needs 50"):
        audit(Changed(), data=pack, control=None)


def test_people_who_are_both_public_and_test_are_refused(
    audit: Audit, people: oneway.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = people.people.copy()
    mixed[people.test.rows.start] = mixed[people.public.rows.start]
    monkeypatch.setitem(people.__dict__, "people", mixed)
    with pytest.raises(oneway.InputError, match="is both public and test"):
        audit(Changed(), control=None)


def test_a_control_at_its_floor_has_no_share(audit: Audit, silent: Path) -> None:
    report = audit(Changed(), control=silent)
    assert "not above its floor" in report.leakage["picture_similarity"].refused


def test_another_question_is_no_control(audit: Audit) -> None:
    with pytest.raises(oneway.InputError, match=r"was made with audit\.steps = 20, not 10"):
        audit(Changed(), config=replace(CONFIG, steps=10))


def test_stored_features_are_audited_without_the_encoder(audit: Audit, people: oneway.Pack, tmp_path: Path) -> None:
    dump(Changed(), people, tmp_path / "dump" / "features.npz", whole=True)
    report = audit(features=tmp_path / "dump")
    assert report.victim.threat_models == ["feature dump"]
    assert report.leakage["picture_similarity"].value > 0.8
    assert "weights were not given" in report.attacks["optimisation"].refused
    assert "stored features are one answer for each picture" in report.attacks["averaging"].refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attackers": ("miror",)}, "did you mean 'mirror'"),
        ({"attackers": ()}, "must name at least one"),
        ({"attackers": ("perceptual",)}, "needs a network to see with"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"queries": (1,)}, "queries must be at least 2, not 1"),
        ({"breach": 1.0}, "breach must be below 1, not 1.0"),
        ({"draws": 1}, "draws must be at least 2"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        AuditConfig(**changes)


@pytest.mark.parametrize("both", [True, False])
def test_either_an_encoder_or_features(audit: Audit, both: bool, tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="give either an encoder"):
        audit(Changed() if both else None, features=tmp_path if both else None)


class Turned:
    """A verifier that sees just the same, with other features: a copy of one is no second judge."""

    def __init__(self, verifier: Verifier, name: str) -> None:
        self.verifier, self.name, self.fingerprint = verifier, name, f"{verifier.fingerprint} as {name}"

    def __call__(self, pictures: Tensor, landmarks: Any = None) -> Any:
        return -self.verifier(pictures, landmarks)


def test_of_several_judges_attackers_train_with_the_first_and_another_counts(
    audit: Audit, judge: Verifier, tmp_path: Path
) -> None:
    config = replace(BRIEF, attackers=("mirror", "identity"))
    judges = [judge, Turned(judge, "other")]
    report = audit(Changed(), config=config, verifier=judges, control=None)
    ways = report.attacks["inversion"].ways
    assert list(ways) == ["linear", "kernel", "mirror", "identity"]
    assert all(list(way.judged) == ["judge.onnx", "other"] for way in ways.values())
    first, second = report.judges
    assert (first.trained_with, first.counts, second.trained_with, second.counts) == (True, False, False, True)
    assert report.judge is second
    assert first.independent is not None
    assert first.independent.attacker in {"linear", "kernel", "mirror"}, (
        "who trained with it is no independent attacker"
    )
    assert second.independent is None
    assert report.iso24745 is not None
    accepted = {(row.judge, row.attacker, row.trained_with): row for row in report.iso24745.irreversibility}
    assert all(name != "other" or not trained_with for name, _, trained_with in accepted)
    for name, faces in (("judge.onnx", first.independent), ("judge.onnx", first.pictures), ("other", second.pictures)):
        saw = name == "judge.onnx" and faces.attacker == "identity"
        assert accepted[name, faces.attacker, saw].recognised == faces.recognised
    with np.load(tmp_path / "audit" / "scores.npz") as kept:  # what a control is held to
        names = {"picture_similarity": first.pictures, "picture_similarity by other": second.pictures}
        for name, faces in (names | {"picture_similarity independent": first.independent}).items():
            assert kept[f"inversion {name}"].mean() == pytest.approx(faces.picture_similarity.value)
    # One network under two names sees the same, so each figure can be held to the other's.
    assert first.pictures == replace(second.pictures, excess=None), (
        "excess is of who did not train with the judge alone"
    )
    seen = second.pictures.recognised
    assert [each.false_accept_rate for each in seen] == [1e-2, 1e-3, 1e-4]
    assert seen[2].threshold is None, "49 * 148 pairs are too few for one in ten thousand"
    assert report.attacks["inversion"].scores["picture_similarity"] == second.pictures.picture_similarity
    assert report.attacks["inversion"].strongest["picture_similarity"] == second.pictures.attacker
    assert report.floors["mean_picture"]["picture_similarity"] == second.pictures.floor
    assert "picture_similarity" not in report.floors["random_public_picture"], "the first judge's alone is known"
    assert all(way.scores.items() >= way.judged["other"].items() for way in ways.values())
    assert not any(guard.name == "independent judge" for guard in report.guards)
    lacking = next(line for line in report.untested if line.startswith("attackers who train with every judge but one"))
    assert "no attacker can train with the verifier 'other', without gradients" in lacking
    assert read(tmp_path / "audit") == report
    with pytest.raises(oneway.InputError, match=r"judged by judge\.onnx .* and other .*, not by judge\.onnx .*order"):
        audit(Changed(), config=config, verifier=judge, control=tmp_path / "audit", out=tmp_path / "against")
    with pytest.raises(oneway.InputError, match=r"two verifiers are called 'judge\.onnx'"):
        audit(Changed(), config=config, verifier=[judge, judge], out=tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


class Moved(Turned):
    """Another network: the same with its features in another order of sizes, and with gradients."""

    def __call__(self, pictures: Tensor, landmarks: Any = None) -> Any:
        return self._moved(torch.from_numpy(self.verifier(pictures, landmarks))).numpy()

    def _moved(self, features: Tensor) -> Tensor:
        return F.normalize(features * torch.linspace(0.2, 1, features.shape[1]), dim=1)

    def differentiable(self, device: torch.device) -> Any:
        embed = self.verifier.differentiable(device)  # type: ignore[attr-defined]
        return lambda pictures, points: self._moved(embed(pictures, points))


def test_every_judge_has_an_attacker_that_trained_with_the_others_and_features_leak_by_the_worst(
    audit: Audit, judge: Verifier, tmp_path: Path
) -> None:
    config = replace(BRIEF, attackers=("identity",), steps=20)
    judges = [judge, Moved(judge, "un/usual, name")]
    report = audit(Changed(), config=config, verifier=judges, control=None)
    ways = report.attacks["inversion"].ways
    assert list(ways) == ["linear", "kernel", "identity with judge.onnx", "identity with un/usual, name"]
    first, second = report.judges
    assert first.trained_with
    assert second.trained_with
    for own, seen in (("identity with judge.onnx", first), ("identity with un/usual, name", second)):
        assert seen.independent is not None
        assert seen.independent.attacker != own, "who trained with it is no independent attacker"
    assert not any(line.startswith("attackers who train with every") for line in report.untested)
    told = {each.name: each.features for each in report.judges}
    assert [each.counts for each in told.values() if each] == [True, False], "without a control the first counts"
    with np.load(tmp_path / "audit" / "scores.npz") as kept:
        for name, key in {"judge.onnx": "", "un/usual, name": " by un/usual, name"}.items():
            assert kept[f"feature_similarity{key}"].mean() == pytest.approx(told[name].similarity.value)
            assert kept[f"floor mean_feature feature_similarity{key}"].mean() == pytest.approx(told[name].floor.value)
    against = audit(Changed(), config=config, verifier=judges, control=tmp_path / "audit", out=tmp_path / "against")
    shares = {each.name: each.features.leakage for each in against.judges if each.features is not None}
    assert all(share.value == pytest.approx(1) for share in shares.values()), "the same encoder leaks all"
    (counts,) = [each for each in against.judges if each.features is not None and each.features.counts]
    assert against.leakage["feature_similarity"] == shares[counts.name]
    assert against.attacks["feature"].scores["feature_similarity"] == counts.features.similarity
    assert all(each.features.gained is not None for each in against.judges if each.features is not None)
    assert against.control.attacks["feature"].scores["feature_similarity"] == counts.features.similarity
    assert against.floors["mean_feature"]["feature_similarity"] == counts.features.floor


def test_the_only_judge_is_an_upper_bound_where_attackers_train_with_it(audit: Audit) -> None:
    report = audit(Changed(), config=replace(BRIEF, attackers=("identity",)), control=None)
    assert report.judge.trained_with
    (guard,) = [guard for guard in report.guards if guard.name == "independent judge"]
    assert guard.passed is None
    assert "upper bound" in guard.message
    assert any(line == "the inversion attacker 'mirror'" for line in report.untested)


def test_no_attacker_trains_with_a_judge_if_none_is_to(audit: Audit, tmp_path: Path) -> None:
    config = replace(BRIEF, attackers=("mirror", "identity"), surrogates=0)
    report = audit(Changed(), config=config, control=None)
    assert "identity" not in report.attacks["inversion"].ways
    assert not report.judge.trained_with
    assert "the inversion attacker 'identity'" in report.untested
