"""Who has more gets no less: a sabotaged attack is found out, and the verdict is not `low`."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from oneway.attacks.panel import attackers
from oneway.auditing.assemble import per_picture
from oneway.auditing.judged import by_judge
from oneway.auditing.labels import attacker_of, panel_of, strongest, trainings, unseen
from oneway.auditing.measures import trained_again
from oneway.auditing.monotonicity import check_control, check_monotonicity
from oneway.auditing.shares import counting, pictures_leakage
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.metrics.estimate import Estimate, mean
from oneway.metrics.leakage import leakage
from oneway.report.values import AttackResult, Refused

PEOPLE = np.repeat(np.arange(40), 2)
INDEX = np.arange(0, 80, 4)


class Judge:
    """Stands for a judge: its name, whether attackers trained with it, and whether it sees."""

    def __init__(
        self,
        name: str = "one",
        *,
        first: bool = True,
        trained_with: bool = False,
        alone: bool = False,
        blind: str | None = None,
    ):
        self.verifier, self.first, self.trained_with, self.blind = (
            SimpleNamespace(name=name),
            first,
            trained_with,
            blind,
        )
        self.test = SimpleNamespace(identities=PEOPLE)

        self.name, self.alone, self.threshold, self.told_apart = name, alone, None, "who is shown"
        self.counted = self.key("picture_similarity") + (" independent" if trained_with and not alone else "")

    def key(self, name: str) -> str:
        return name if self.first else f"{name} by {self.verifier.name}"

    def estimates(self, scores: dict[str, Any], _: Any) -> dict[str, Estimate]:
        return {name: mean(values, PEOPLE, unit="cosine") for name, values in scores.items()}


def scores(level: float, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return level + np.random.default_rng(seed).normal(0, 0.02, len(PEOPLE))


def attacker(level: float, seed: int = 0) -> StepResult:
    return StepResult(
        facts=StepFacts(validation={"picture_similarity": level, "mse": 1 - level}),
        arrays={"picture_similarity": scores(level, seed), "mse": 1 - scores(level, seed)},
    )


def found(**levels: float) -> dict[str, StepResult]:
    """An audit in which each attacker got so much of a face."""
    given = {"linear": 0.2, "identity": 0.3, "feature": 0.32, "white": 0.31, "averaging": 0.33} | levels
    white = scores(given["white"])[INDEX]
    return {
        "inversion linear": attacker(given["linear"]),
        "inversion identity": attacker(given["identity"]),
        "feature": StepResult(arrays={"feature_similarity": scores(given["feature"])}),
        "optimisation": StepResult(arrays={"picture_similarity": white, "mse": 1 - white, "index": INDEX}),
        "averaging": attacker(given["averaging"]),
    }


def test_where_who_has_more_gets_no_less_the_guard_holds() -> None:
    guard = check_monotonicity(found(), [Judge()])  # type: ignore[arg-type]
    assert guard.passed
    assert guard.message.endswith("the panel, the feature attack, the white box, who has several answers")


@pytest.mark.parametrize(
    ("sabotaged", "message"),
    [
        ({"feature": 0.25}, "the feature attack gets less than the verifier on what was drawn, by 0.050"),
        ({"white": 0.1}, "the white box gets less than the black box, by 0.2"),
        ({"averaging": 0.2}, "who has several answers gets less than who has one, by 0.100"),
    ],
)
def test_an_attack_that_fails_is_named(sabotaged: dict[str, float], message: str) -> None:
    guard = check_monotonicity(found(**sabotaged), [Judge()])  # type: ignore[arg-type]
    assert guard.passed is False
    assert message in guard.message
    assert guard.message.count("has failed") == 1


def test_a_panel_whose_choice_on_validation_people_loses_to_the_ridge_on_test_people_is_named() -> None:
    steps = found()
    steps["inversion identity"].arrays["picture_similarity"][:] = scores(0.1)  # type: ignore[index]
    guard = check_monotonicity(steps, [Judge()])  # type: ignore[arg-type]
    assert guard.passed is False
    assert "the panel gets less than a ridge regression, by 0.100" in guard.message


@pytest.mark.parametrize("solved", ["linear", "kernel"])
def test_what_counts_of_any_judge_is_held_to_what_is_solved(solved: str) -> None:
    """By a second judge, who did not train with it drew best of validation people, and less than what is solved did."""
    other = Judge("other", first=False, trained_with=True)
    steps = found()
    drawn = {"linear": (0.2, 0.2), "kernel": (0.2, 0.2), "identity": (0.3, 0.3), "unseen": (0.25, 0.25)}
    drawn |= {solved: (0.2, 0.28)}
    for label, (validation, test) in drawn.items():
        facts = StepFacts(
            validation={"mse": 0.1, "picture_similarity": 0.2, other.key("picture_similarity"): validation}
        )
        arrays = {"picture_similarity": scores(0.2), other.key("picture_similarity"): scores(test)}
        steps[f"inversion {label}"] = StepResult(
            facts=replace(facts, trained_with=["other"] if label == "identity" else []), arrays=arrays
        )
    steps[other.key("feature")] = StepResult(arrays={"feature_similarity": scores(0.29)})
    guard = check_monotonicity(steps, [Judge(), other])  # type: ignore[list-item]
    assert guard.passed is False
    kind = "a ridge" if solved == "linear" else "a kernel ridge"
    first, second = guard.message.split("; ")
    assert first.startswith(
        f"who did not train with the judge gets less than {kind} regression, as other sees it, by 0.030"
    )
    assert second.startswith(
        "the feature attack gets less than the verifier on what was drawn, as other sees it, by 0.010"
    )


def test_who_counts_nowhere_is_not_held_to_anyone() -> None:
    """Of a judge who is alone all attackers count, and of one nobody trained with they are all unseen: said once."""
    steps = found()
    steps["inversion identity"].arrays["picture_similarity"][:] = scores(0.1)  # type: ignore[index]
    alone, untrained, blind = Judge(trained_with=True, alone=True), Judge(), Judge("b", first=False, blind="sees none")
    for judges in ([alone], [untrained], [alone, blind]):
        guard = check_monotonicity(steps, judges)  # type: ignore[arg-type]
        assert guard.message.count("gets less than") == 1, guard.message
        assert "who did not train" not in guard.message


def test_without_a_verifier_errors_are_compared_and_what_was_refused_is_not() -> None:
    judge = Judge()
    judge.verifier = None
    steps = found(white=0.1) | {"feature": refused("no verifier"), "averaging": refused("deterministic")}
    guard = check_monotonicity(steps, [judge])  # type: ignore[arg-type]
    assert guard.passed is False
    assert "the white box" in guard.message
    alone = {"inversion mirror": attacker(0.3)} | {
        name: refused("left out") for name in ("feature", "optimisation", "averaging")
    }
    nothing = check_monotonicity(alone, [judge])  # type: ignore[arg-type]
    assert nothing.passed is None


def held_to(ours: dict[str, float], theirs: dict[str, float], *judges: Judge) -> Any:
    pairs = {"linkage pairs": np.full(len(PEOPLE), 4.0)}
    given, control = ({name: scores(level, 1) for name, level in levels.items()} for levels in (ours, theirs))
    return check_control(given | pairs, control | pairs, judges or (Judge(),))  # type: ignore[arg-type]


def test_an_encoder_of_which_more_was_got_than_of_its_control_is_named_with_what_and_by_how_much() -> None:
    ours = {"inversion ssim": 0.5, "inversion picture_similarity": 0.4, "linkage accepted": 2.0}
    theirs = {"inversion ssim": 0.4, "inversion picture_similarity": 0.5, "linkage accepted": 1.0}
    (guard,) = held_to(ours, theirs)
    assert guard.passed is False
    assert "control: SSIM, by 0.100; linked pairs, by 0.250; so it gives" in guard.message
    (guard,) = held_to(ours | {"inversion ssim": 0.4, "linkage accepted": 1.0}, theirs)
    assert guard.passed
    assert guard.message.endswith("the control: SSIM, the reconstruction, by one, linked pairs")


def test_a_judge_s_seen_and_unseen_attackers_are_held_to_the_control_each_and_a_blind_judge_is_not() -> None:
    judge = Judge(trained_with=True)
    name = f"inversion {judge.counted}"
    low, high = {name: 0.2, "inversion picture_similarity": 0.4}, {name: 0.3, "inversion picture_similarity": 0.4}
    (guard,) = held_to(high, low, judge)
    assert guard.passed is False
    assert "control: that of who did not train with one, by it, by 0.100;" in guard.message
    assert held_to(high, low, Judge(trained_with=True, blind="it accepts everybody")) == []


def test_a_difference_that_people_explain_is_none_and_without_a_control_nothing_is_held() -> None:
    noise = np.random.default_rng(2).normal(0, 0.02, len(PEOPLE))
    same = {"inversion ssim": scores(0.3)}
    (guard,) = check_control(same, {"inversion ssim": same["inversion ssim"] + noise}, (Judge(),))  # type: ignore[arg-type]
    assert guard.passed
    assert guard.message == "no more was got than of the control: SSIM"
    assert check_control(same, None, (Judge(),)) == []  # type: ignore[arg-type]


def seen(**levels: tuple[float, float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores of an encoder and of its control, by judge; the floor is 0.05."""
    ours, theirs = {}, {}
    for name, (victim, control) in levels.items():
        key = "picture_similarity" if name == "one" else f"picture_similarity by {name}"
        ours |= {f"inversion {key}": scores(victim), f"floor mean_picture {key}": scores(0.05, 1)}
        theirs |= {f"inversion {key}": scores(control, 2)}
    return ours, theirs


def test_the_judge_counts_by_which_most_leaks_to_attackers_who_did_not_train_with_it() -> None:
    one, two, three = Judge(trained_with=True), Judge("two", first=False), Judge("three", first=False)
    ours, theirs = seen(one=(0.5, 0.6), two=(0.2, 0.6), three=(0.35, 0.6))
    judges: Any = [one, two, three]
    assert counting(judges, ours, theirs).pictures is three, (
        "what the first sees of who did not train with it is unknown"
    )
    alone: Any = [Judge(trained_with=True, alone=True)]
    assert counting(alone, ours, theirs).pictures is alone[0], "with no other, its upper bound counts"
    assert counting(judges, ours, None).pictures is two, "without a control the first that nobody trained with"
    independent = {"inversion picture_similarity independent": scores(0.45)}
    against = {"inversion picture_similarity independent": scores(0.6, 2)}
    assert counting(judges, ours | independent, theirs | against).pictures is one
    assert (
        counting(judges, ours | {**independent, **{key: scores(0.1) for key in independent}}, theirs | against).pictures
        is three
    )
    three.blind = "it accepts nobody"
    assert counting(judges, ours, theirs).pictures is two
    share = pictures_leakage(three, ours, theirs)  # type: ignore[arg-type]
    assert isinstance(share, Refused)
    assert "cannot tell who is shown" in share.refused


def test_a_judges_leakage_is_that_of_its_own_scores() -> None:
    ours, theirs = seen(one=(0.5, 0.6), two=(0.2, 0.6))
    shares = [pictures_leakage(judge, ours, theirs) for judge in (Judge(), Judge("two", first=False))]  # type: ignore[arg-type]
    assert [round(share.value, 1) for share in shares if isinstance(share, Estimate)] == [0.8, 0.3]


def test_each_judges_scores_stand_under_its_name() -> None:
    step = StepResult(arrays={"picture_similarity": scores(0.5), "picture_similarity by two": scores(0.2)})
    judged = by_judge(step, [Judge(), Judge("two", first=False), Judge("three", first=False)])  # type: ignore[list-item]
    assert list(judged) == ["one", "two"]
    assert [round(found["picture_similarity"].value, 1) for found in judged.values()] == [0.5, 0.2]  # type: ignore[union-attr]


def test_the_attacker_that_is_strongest_by_any_judge_is_trained_again_and_a_solved_one_is_not() -> None:
    panel, other = found(), Judge("other", first=False)
    for name, level in {"linear": 0.1, "mirror": 0.5, "identity": 0.4}.items():
        panel[f"inversion {name}"] = attacker({"linear": 0.2, "mirror": 0.1, "identity": 0.3}[name])
        panel[f"inversion {name}"].facts.validation["picture_similarity by other"] = level
    context: Any = SimpleNamespace(judges=[Judge(), other], config=SimpleNamespace(seeds=3, seed=7))
    again = trained_again(context, panel, {name: attackers()[name] for name in ("linear", "mirror", "identity")})
    assert {label: each.seed for label, each in again.items()} == {
        "identity-2": 8,
        "identity-3": 9,
        "mirror-2": 8,
        "mirror-3": 9,
    }
    solved = found(linear=0.9)
    context.judges = [Judge()]
    assert not trained_again(context, solved, {name: attackers()[name] for name in ("linear", "identity")})


def test_of_several_trainings_the_one_counts_that_did_not_have_the_judge() -> None:
    one, two = Judge(trained_with=True), Judge("two", first=False, trained_with=True)
    panel, levels = found(), {"with one": (0.5, 0.3), "with two": (0.35, 0.6)}
    for group, (first, second) in levels.items():
        label = f"inversion identity {group}"
        panel[label] = attacker(first)
        panel[label].facts.validation["picture_similarity by two"] = second
        panel[label].facts.trained_with.append(group.removeprefix("with "))
    panel.pop("inversion identity")
    panel["inversion linear"].facts.validation["picture_similarity by two"] = 0.1
    steps = panel_of(panel)
    assert [strongest(steps, judge) for judge in (one, two)] == ["identity with one", "identity with two"]  # type: ignore[arg-type]
    assert [strongest(unseen(steps, judge), judge) for judge in (one, two)] == [  # type: ignore[arg-type]
        "identity with two",
        "identity with one",
    ]
    context: Any = SimpleNamespace(judges=[one, two], config=SimpleNamespace(seeds=2, seed=0))
    trained = {f"identity {group}": replace(attackers()["identity"], trains_with=(group[5:],)) for group in levels}
    again = trained_again(context, panel, {"linear": attackers()["linear"], **trained})
    assert {label: each.trains_with for label, each in again.items()} == {
        "identity-2 with one": ("one",),
        "identity-2 with two": ("two",),
    }
    assert {attacker_of(label) for label in again} == {"identity"}
    assert trainings({**trained, **again}, "identity with one") == ["identity-2 with one"]  # type: ignore[arg-type]


def test_the_interval_of_the_strongest_attacker_reaches_over_its_trainings() -> None:
    nothing = {name: StepResult() for name in ("linkage",)}
    floor = StepResult(arrays={"mean_picture picture_similarity": scores(0.05, 3)})
    panel = found() | nothing | {"floors": floor, "inversion identity-2": attacker(0.25, 1)}
    strongest = AttackResult(scores={}, strongest={"picture_similarity": "identity"})
    kept = per_picture(panel, {"inversion": strongest}, [Judge()])  # type: ignore[list-item]
    control = {"inversion picture_similarity": scores(0.6, 2)}
    share = pictures_leakage(Judge(), kept, control, "picture_similarity")  # type: ignore[arg-type]
    first, second = (
        leakage(panel[f"inversion {label}"].arrays["picture_similarity"], scores(0.6, 2), scores(0.05, 3), PEOPLE)
        for label in ("identity", "identity-2")
    )
    assert isinstance(share, Estimate)
    assert (share.value, share.low, share.high) == (first.value, second.low, first.high)
