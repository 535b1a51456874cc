"""What the task's decisions alone give away, against an audit of the decisions as stored features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import oneway
from conftest import AUDIT, RUNTIME, Once
from dumps import write_dump
from oneway.attacks.fit import Place
from oneway.auditing.assemble import unconverged
from oneway.auditing.context import AuditContext
from oneway.auditing.decisions import attack_decisions, summarise
from oneway.auditing.monotonicity import check_decisions
from oneway.auditing.shares import Counting
from oneway.auditing.stealing import steal
from oneway.auditing.steps import StepFacts, StepResult, Steps, refused
from oneway.auditing.victim import from_run
from oneway.judges.judge import Judge
from oneway.judges.verifier import Verifier
from oneway.report.values import Course, Decisions, Refused
from oneway.runtime import launch

pytestmark = pytest.mark.whole

CONFIG = AUDIT


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> oneway.Estimate:
    return oneway.Estimate(value=value, low=value - half, high=value + half, n=812, unit=unit)


@pytest.fixture(scope="module")
def run(once: Once, people: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> oneway.Run:
    """An encoder that decides something."""
    config = tiny({"game.pixel": 0.0, "steps": 100, "learning_rate": 1e-2, "network.cut": "layer1"})
    path = once("decided", lambda path: oneway.protect(people, path, config, progress=False))
    return oneway.Run.open(path, people)


def test_they_are_attacked_as_stored_decisions_are(
    run: oneway.Run, people: oneway.Pack, judge: Verifier, tmp_path: Path
) -> None:
    told = from_run(run, launch(RUNTIME), seed=0).decisions
    assert told is not None
    parts = (people.public, people.validation, people.test)
    signs = np.concatenate([2 * told[part.split] - 1 for part in parts]).astype(np.float32)
    write_dump(tmp_path / "signs.npz", [name for part in parts for name in part.names], signs)
    given: dict[str, Any] = {"data": people, "config": CONFIG, "verifier": judge, "images": False, "progress": False}
    ours = oneway.audit(run, out=tmp_path / "run", **given)
    theirs = oneway.audit(features=tmp_path / "signs.npz", out=tmp_path / "dump", control=tmp_path / "run", **given)
    decisions = ours.decisions
    drawn, linked = theirs.attacks["inversion"].ways["linear"].scores, theirs.attacks["linkage"]
    # This judge spreads faces from -1 to 1; ours are blurred by what breaks ties, so the same ridge regression ends a
    # little apart, on another processor a little further.
    for score, apart in {"picture_similarity": 0.01, "mse": 0.003, "ssim": 0.005}.items():
        assert decisions.scores[score].value == pytest.approx(drawn[score].value, abs=apart), score
    feature = theirs.attacks["feature"].scores["feature_similarity"].value
    assert decisions.scores["feature_similarity"].value == pytest.approx(feature, abs=0.01)
    ranks = [way.scores["rank_1"].value for way in linked.ways.values()]
    assert min(ranks) - 0.02 < decisions.scores["rank_1"].value < max(ranks) + 0.02
    # Without a control, they are a share of what the encoder itself gives away.
    share = decisions.leakage["feature_similarity"]
    assert share.value == pytest.approx(theirs.leakage["feature_similarity"].value, abs=0.05)
    assert 0 < share.value < 1
    assert any(reason.startswith("of what this encoder gives away") for reason in ours.verdict.reasons)


def test_the_panel_draws_from_them_too_where_it_is_asked_for(
    run: oneway.Run, people: oneway.Pack, judge: Verifier, tmp_path: Path
) -> None:
    config = replace(CONFIG, attackers=("identity",), brief=True, steps=30)
    given: dict[str, Any] = {"data": people, "verifier": judge, "images": False, "progress": False}
    solved = oneway.audit(run, out=tmp_path / "solved", config=config, **given)
    panel = oneway.audit(run, out=tmp_path / "panel", config=replace(config, decided_by="panel"), **given)
    assert panel.seconds.keys() - solved.seconds.keys() == {"decisions identity"}
    # On the validation people, by whom the strongest is chosen, more attackers never get less.
    assert panel.validation["picture_similarity"].decisions >= solved.validation["picture_similarity"].decisions
    assert panel.validation["picture_similarity"].score == solved.validation["picture_similarity"].score
    ours, theirs = (report.attacks["inversion"] for report in (panel, solved))
    assert ours.scores == theirs.scores, "the features are attacked as before"


def test_few_decisions_link_people_as_often_as_they_tell_them_apart(
    people: oneway.Pack, judge: Verifier, run: oneway.Run, tmp_path: Path
) -> None:
    # Three bits that are right of everyone: many people are alike, so without order among them no threshold lets in
    # one pair of a hundred. Pairs of rare ones are told first.
    told = ("Black_Hair", "Bald", "Pale_Skin")
    labels = {part.split: part.labels(told) for part in (people.public, people.validation, people.test)}
    victim = replace(
        from_run(run, launch(RUNTIME), seed=0),
        decisions={split: bits.astype(np.float32) for split, bits in labels.items()},
    )
    fabric = launch(RUNTIME)
    steps = Steps(tmp_path, fabric, checkpoint_seconds=60, progress=False)
    context = AuditContext(
        victim=victim,
        stolen=steal(victim, fabric, tmp_path, draws=2, seed=0, progress=False),
        judges=(Judge(people.test, people.validation, judge),),
        config=CONFIG,
        steps=steps,
    )
    found = steps.take("decisions", lambda place: attack_decisions(context, place, {})).facts.scores["tar_at_far_1e-2"]
    assert found is not None
    low, high = (best_rate(labels["test"], people.test.identities, rate) for rate in (0.005, 0.02))
    assert low < found.value < high


def best_rate(bits: NDArray[np.bool_], identities: NDArray[np.int64], false_accept_rate: float) -> float:
    """Give the most pairs of one person that bits can tell from as many pairs of others (Neyman and Pearson)."""
    codes = bits @ (1 << np.arange(bits.shape[1]))
    pair, same = codes[:, None] * 8 + codes, identities[:, None] == identities
    one = np.bincount(pair[same & ~np.eye(len(codes), dtype=bool)], minlength=64) / (same.sum() - len(codes))
    two = np.bincount(pair[~same], minlength=64) / (~same).sum()
    order = np.argsort(-one / np.maximum(two, 1e-12))
    return float(np.interp(false_accept_rate, np.cumsum(two[order]), np.cumsum(one[order])))


def test_decisions_that_are_all_alike_are_refused() -> None:
    outputs = {split: np.ones((4, 2), dtype=np.float32) for split in ("public", "validation", "test")}
    context: Any = SimpleNamespace(victim=SimpleNamespace(decisions=outputs))
    place: Any = None
    assert attack_decisions(context, place, {}) == refused("the task decides alike for every public picture")


@pytest.mark.parametrize(("lost", "passed"), [(0.02, False), (-0.02, True)])
def test_a_panel_that_gets_less_than_the_decisions_give_away_is_marked(
    people: oneway.Pack, judge: Verifier, lost: float, passed: bool
) -> None:
    judges = [Judge(people.test, people.validation, judge)]
    named = judges[0].counted
    drawn = np.random.default_rng(0).normal(size=len(people.test))  # intervals of each meet; of the difference do not
    decided = {f"inversion {named}": drawn + lost}
    (guard,) = check_decisions({f"inversion {named}": drawn}, decided, judges)
    assert guard.passed == passed
    assert ("by 0.020" in guard.message) != passed
    assert check_decisions({}, decided, judges) == []
    assert check_decisions({f"inversion {named}": drawn}, {}, judges) == []


def test_where_there_is_no_task_there_are_none(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 4, 4, stride=4)
    report = oneway.audit(
        module,
        data=people,
        out=tmp_path / "audit",
        config=replace(CONFIG, steps=2),
        verifier=judge,
        images=False,
        progress=False,
    )
    assert report.decisions == Refused(refused="what the encoder's task decides is not known")
    assert "decisions alone" not in (tmp_path / "audit" / "report.html").read_text()


def test_without_a_control_the_judge_counts_by_which_the_decisions_give_most_away() -> None:
    people = np.repeat(np.arange(60), 2)
    noise = np.random.default_rng(0).normal(0, 0.01, (6, len(people)))

    def judge(suffix: str) -> Any:
        return SimpleNamespace(
            key=lambda name: name + suffix,
            counted=f"picture_similarity{suffix}",
            test=SimpleNamespace(identities=people),
            trained_with=False,
            blind=None,
            told_apart="people",
            estimates=lambda arrays: {name: figure(float(values.mean())) for name, values in arrays.items()},
        )

    judges = [judge(""), judge(" by other")]
    arrays, scores = {}, {}
    for number, (one, told) in enumerate(zip(judges, (0.1, 0.4), strict=True)):
        for name, whole, floor in (
            ("picture_similarity", f"inversion {one.counted}", "mean_picture"),
            ("feature_similarity", one.key("feature_similarity"), "mean_feature"),
        ):
            arrays[one.key(name)] = told + noise[number]
            scores[whole] = 0.8 + noise[2 + number]
            scores[f"floor {floor} {one.key(name)}"] = noise[4 + number]
    step: Any = SimpleNamespace(refusal=None, arrays=arrays, facts=SimpleNamespace(scores={}, course=None, seconds=1.0))
    first: Any = Counting(pictures=judges[0], features=judges[0])

    alone = summarise(step, scores, None, judges, first)
    assert isinstance(alone, Decisions)
    for name in ("picture_similarity", "feature_similarity"):
        assert alone.leakage[name].value == pytest.approx(0.5, abs=0.01)
        assert alone.scores[name].value == pytest.approx(0.4, abs=0.01)
    beside = summarise(step, scores, scores, judges, first)
    assert isinstance(beside, Decisions)
    assert beside.leakage["feature_similarity"].value == pytest.approx(0.125, abs=0.01), "as the encoder's own counts"


@dataclass(frozen=True)
class Told:
    """What the attack on decisions looks at."""

    victim: Any
    judges: tuple[Any, ...]
    config: oneway.AuditConfig = CONFIG
    stolen: Any = None

    @property
    def judge(self) -> Any:
        return self.judges[0]


@pytest.mark.parametrize("late", [(), (0,), (1,), (2,), (1, 2)])
def test_any_network_that_its_budget_ended_is_told_of_the_decisions(
    late: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def judge(suffix: str) -> Any:
        return SimpleNamespace(verifier=None, alone=True, key=lambda name: name + suffix)

    judges = [judge(suffix) for suffix in ("", " by another", " by a third")]

    def predicted(_: Any, __: Any, judge: Any, *___: Any, **____: Any) -> StepResult:
        number = judges.index(judge)
        ended = Course(converged=number not in late, steps=10 + number, validation_error=0.5)
        arrays = {"feature_similarity": np.zeros(2)}
        return StepResult(facts=StepFacts(course=ended), arrays=arrays)

    def drawn(*_: Any) -> StepResult:
        return StepResult(facts=StepFacts(validation={"mse": 0.1}))

    monkeypatch.setattr("oneway.auditing.reconstruction.inversion", drawn)
    monkeypatch.setattr("oneway.auditing.inference.predicted", predicted)
    monkeypatch.setattr("oneway.auditing.inference.linked", lambda *_: StepResult())
    bits = np.eye(2, dtype=np.float32)
    context: Any = Told(victim=SimpleNamespace(decisions={"public": bits, "test": bits}), judges=tuple(judges))
    place = Place(fabric=launch(RUNTIME), checkpoint=tmp_path / "step.pt", progress=False)
    step = attack_decisions(context, place, {})
    assert step.course.converged == (not late)
    assert step.course.steps - 10 in (late or range(3))
    assert unconverged({"decisions": step}) == (["decisions"] if late else [])
