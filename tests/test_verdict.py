"""The verdict follows from the leakages by the documented rule."""

from __future__ import annotations

import numpy as np
import pytest

from oneway.auditing.verdict import TITLES, verdict
from oneway.metrics.estimate import Estimate
from oneway.report.values import Refused


def share(low: float, value: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=300, unit="leakage")


NONE = Refused(refused="there is no control")
LITTLE = share(0.0, 0.1, 0.2)


def leaks(face: Estimate | Refused, link: Estimate | Refused) -> dict[str, Estimate | Refused]:
    return {"picture_similarity": face, "feature_similarity": NONE if face is NONE else LITTLE, "linkage": link}


@pytest.mark.parametrize(
    ("face", "link", "level", "decides"),
    [
        (share(0.0, 0.1, 0.2), share(0.1, 0.2, 0.25), "low", "linkage"),
        (share(0.0, 0.1, 0.2), share(0.1, 0.2, 0.26), "partial", "linkage"),
        (share(-0.1, 0.0, 0.1), share(0.5, 0.6, 0.7), "open", "linkage"),
        (share(0.49, 0.6, 0.7), share(0.0, 0.1, 0.2), "partial", "picture_similarity"),
        # The largest value need not be what decides: here it is the end of the wider interval.
        (share(0.1, 0.15, 0.2), share(0.0, 0.14, 0.3), "partial", "linkage"),
        (share(0.3, 0.7, 0.9), share(0.55, 0.6, 0.65), "open", "linkage"),
        (share(0.0, 0.1, 0.2), NONE, "partial", "picture_similarity"),
        (share(0.9, 1.0, 1.1), NONE, "open", "picture_similarity"),
        (NONE, NONE, "undecided", None),
    ],
)
def test_the_worst_end_of_an_interval_decides(
    face: Estimate | Refused, link: Estimate | Refused, level: str, decides: str | None
) -> None:
    found = verdict(leaks(face, link), None)
    assert (found.level, found.decides) == (level, decides)
    assert len(found.reasons) >= 4, "the rule that fired, and each leakage, or its refusal, is told"


@pytest.mark.parametrize(
    ("face", "link", "said", "rule"),
    [
        (
            LITTLE,
            share(0.1, 0.15, 0.219),
            ["At most 21.9 %"],
            "low, because the upper end of every interval is at most 25 %",
        ),
        (LITTLE, share(0.512, 0.62, 0.7), ["At least 51.2 %"], "51.2 %, is at least 50 %"),
        (LITTLE, share(0.081, 0.14, 0.319), ["8.1 %", "31.9 %"], "31.9 %, is above 25 %"),
    ],
)
def test_the_sentence_gives_the_end_that_decides_and_why_gives_the_rule(
    face: Estimate | Refused, link: Estimate | Refused, said: list[str], rule: str
) -> None:
    found = verdict(leaks(face, link), None)
    assert all(text in found.sentence for text in said), found.sentence
    assert "p to" not in found.sentence.lower().split("8.1 %")[0]
    assert "linking stolen features" in found.sentence
    assert rule in found.reasons[0]
    assert found.reasons[0].startswith(f"{found.level}, because")
    assert "linking stolen features" in found.reasons[0]


@pytest.mark.parametrize("seed", range(20))
def test_no_sentence_promises_less_than_the_interval_that_decides(seed: int) -> None:
    random = np.random.default_rng(seed)
    ends = np.sort(random.uniform(-0.1, 1.1, (3, 3)) * random.choice([0.2, 0.5, 1.0]), axis=1)
    leakage = {name: share(*map(float, row)) for name, row in zip(TITLES, ends, strict=True)}
    found = verdict(leakage, None)
    assert found.decides is not None
    decisive = leakage[found.decides]
    if found.level == "open":
        assert decisive.low == max(one.low for one in leakage.values())
        assert f"At least {100 * decisive.low:.1f} %" in found.sentence
    else:
        assert decisive.high == max(one.high for one in leakage.values())
        assert f"{100 * max(decisive.high, 0):.1f} %" in found.sentence
    assert TITLES[found.decides] in found.sentence


@pytest.mark.parametrize(("low", "level"), [(0.11, "open"), (0.1, "undecided"), (0.0, "undecided")])
def test_without_a_control_features_that_link_people_are_open(low: float, level: str) -> None:
    found = verdict({"linkage": NONE}, share(low, 0.3, 0.4))
    assert found.level == level
    assert found.decides == ("linkage" if level == "open" else None)
    assert ("above 10 %" if level == "open" else "no leakage is known") in found.reasons[0]


def test_without_leakage_the_sentence_does_not_say_that_there_is_no_control() -> None:
    silent = Refused(refused="the control is not above its floor")
    found = verdict(dict.fromkeys(TITLES, silent), None)
    assert found.level == "undecided"
    assert "no control" not in found.sentence
    assert "not above its floor" in " ".join(found.reasons)


def test_a_doubt_is_told_and_forbids_a_low_verdict() -> None:
    doubt = "feature: ended by its budget"
    found = [verdict(leaks(LITTLE, LITTLE), None, doubts=doubts) for doubts in ((), (doubt,))]
    assert [one.level for one in found] == ["low", "partial"]
    assert doubt in found[1].reasons[0]
    assert doubt not in " ".join(found[0].reasons)
    opened = verdict(leaks(LITTLE, share(0.5, 0.62, 0.7)), None, doubts=(doubt,))
    assert opened.level == "open"
    assert doubt in " ".join(opened.reasons)


def test_a_low_verdict_says_that_it_speaks_of_what_was_tried() -> None:
    assert "attacks tried here" in verdict(leaks(LITTLE, LITTLE), None).sentence


def test_an_encoder_is_open_by_any_judge_whose_whole_interval_is() -> None:
    worst = share(0.49, 0.51, 0.53)
    assert verdict(leaks(worst, LITTLE), None).level == "partial"
    other = {"picture_similarity": share(0.505, 0.51, 0.52)}
    found = verdict(leaks(worst, LITTLE), None, judged=[{"picture_similarity": worst}, other])
    assert (found.level, found.decides) == ("open", "picture_similarity")
    assert "At least 50.5 %" in found.sentence
