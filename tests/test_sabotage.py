"""Attacks that are held to who has less, each sabotaged in a whole audit: it is named, and the verdict is not `low`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from markupsafe import escape

import oneway
from conftest import Once
from oneway.auditing import audit as auditing
from oneway.auditing.assemble import assemble
from oneway.auditing.steps import StepFacts, StepResult
from oneway.judges.verifier import Verifier
from oneway.report.values import Course
from test_auditing import BRIEF, Changed

pytestmark = pytest.mark.whole

Found = dict[str, StepResult]
SHARE = 0.02
"""Of what the control gives away beyond its floor: a low leakage."""


@pytest.fixture(scope="module")
def given(once: Once, people: oneway.Pack, judge: Verifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the report of an audit beside its control is put together from: of an encoder that says next to nothing."""
    audit = partial(oneway.audit, data=people, config=BRIEF, verifier=judge, progress=False)
    control = once("audited-briefly", lambda path: audit(Changed(), out=path))
    names = ("found", "context", "passed", "doubts", "control", "asked")
    kept: dict[str, Any] = {}

    def keep(*arguments: Any) -> oneway.AuditReport:
        kept.update(zip(names, arguments, strict=True))
        return assemble(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "assemble", keep)
        audit(Changed(scale=0.0, noise=1.0), out=tmp_path_factory.mktemp("sabotage") / "audit", control=control)
    return kept | {"found": little(kept["found"], kept["control"].scores)}


def little(found: Found, control: dict[str, Any]) -> Found:
    """The same audit, in which every attacker converged and got two hundredths of what the control gives away."""

    def share(floor: Any, name: str) -> Any:
        return floor + SHARE * (control[name] - floor)

    floors, pairs = found["floors"].arrays, found["linkage"].arrays["pairs"]
    face = share(floors["mean_picture picture_similarity"], "inversion picture_similarity")
    feature = share(floors["mean_feature feature_similarity"], "feature_similarity")
    linked = share(1e-3 * pairs, "linkage accepted")
    changed = {
        name: changed_to(step, picture_similarity=face) for name, step in found.items() if name.startswith("inversion ")
    }
    changed["feature"] = changed_to(found["feature"], feature_similarity=np.maximum(feature, face))
    changed["linkage"] = changed_to(found["linkage"], accepted=linked)
    return {
        name: replace(step, facts=replace(step.facts, course=ended(step.facts.course)))
        for name, step in (found | changed).items()
    }


def changed_to(step: StepResult, **arrays: Any) -> StepResult:
    return replace(step, arrays={**step.arrays, **arrays})


def ended(course: Course | None) -> Course | None:
    return None if course is None else replace(course, converged=True)


def step(**arrays: Any) -> StepResult:
    return StepResult(facts=StepFacts(facts={"draws": 16, "attacker": "mirror"}), arrays=arrays)


def strongest(found: Found) -> str:
    """The inversion attacker that validation people chose."""
    panel = {name: one for name, one in found.items() if name.startswith("inversion ")}
    return max(panel, key=lambda name: panel[name].facts.validation["picture_similarity"])


def white_box(found: Found) -> Found:
    index = np.arange(0, 300, 3)
    face = found[strongest(found)].arrays["picture_similarity"][index]
    return {"optimisation": step(picture_similarity=face - 0.1, index=index)}


def panel(found: Found) -> Found:
    """Validation people choose another than the ridge regression, which is worse on test people."""
    mirror = found["inversion mirror"]
    chosen = replace(mirror.facts, validation=mirror.facts.validation | {"picture_similarity": 1.0})
    worse = changed_to(mirror, picture_similarity=found["inversion linear"].arrays["picture_similarity"] - 0.1)
    return {"inversion mirror": replace(worse, facts=chosen)}


def features(found: Found) -> Found:
    face = found[strongest(found)].arrays["picture_similarity"]
    return {"feature": changed_to(found["feature"], feature_similarity=face - 0.1)}


def averaging(found: Found) -> Found:
    return {"averaging": step(picture_similarity=found[strongest(found)].arrays["picture_similarity"] - 0.1)}


def both_encoders(found: Found) -> Found:
    linear = found["inversion linear"]
    worse = changed_to(linear, picture_similarity=linear.arrays["picture_similarity"] - 0.1)
    chosen = replace(worse, facts=replace(worse.facts, validation=worse.facts.validation | {"picture_similarity": 1.0}))
    return {"renewal, both": chosen, "renewal, the other alone": linear}


def decisions(found: Found) -> Found:
    """The decisions alone give away what the control does, as far as the floors."""
    pairs = found["linkage"].arrays["pairs"]
    return {"decisions": step(accepted=np.where(pairs > 0, 0.5 * pairs, 0), pairs=pairs)}


def control(found: Found, theirs: dict[str, Any]) -> Found:
    """The attack on the control failed at what the eye sees, and at nothing that leakage is of."""
    better = theirs["inversion ssim"] + 0.1
    return {name: changed_to(step, ssim=better) for name, step in found.items() if name.startswith("inversion ")}


SABOTAGED: dict[str, tuple[str, Callable[[Found], Found], str]] = {
    "white box": ("monotonicity", white_box, "the white box gets less than the black box"),
    "panel": ("monotonicity", panel, "the panel gets less than a ridge regression"),
    "features": ("monotonicity", features, "the feature attack gets less than the verifier on what was drawn"),
    "averaging": ("monotonicity", averaging, "who has several answers gets less than who has one"),
    "both": ("monotonicity", both_encoders, "who has the features of both encoders gets less than who has one's"),
    "decisions": ("decisions", decisions, "the panel got less than the task's decisions alone give away"),
}


def test_an_attack_that_failed_on_the_control_alone_is_told_and_the_verdict_is_not_low(given: dict[str, Any]) -> None:
    report = verdict(given, control(given["found"], given["control"].scores))
    failed = [guard for guard in report.guards if guard.passed is False]
    assert [guard.name for guard in failed] == ["control"]
    assert "more was got of this encoder than of its control: SSIM, by 0.100;" in failed[0].message
    assert max(share.high for share in report.leakage.values()) < 0.25, "by the figures alone it would be low"
    assert report.verdict.level == "partial"


def verdict(given: dict[str, Any], changes: Found) -> oneway.AuditReport:
    return assemble(**(given | {"found": given["found"] | changes}))


def test_an_audit_in_which_no_attack_failed_is_low(given: dict[str, Any]) -> None:
    report = verdict(given, {})
    assert {name: round(share.value, 6) for name, share in report.leakage.items()} == dict.fromkeys(
        report.leakage, pytest.approx(SHARE, abs=0.15)
    )
    assert report.verdict.level == "low", report.verdict.reasons
    assert [guard.name for guard in report.guards if guard.passed is False] == []


@pytest.mark.parametrize("attack", list(SABOTAGED))
def test_an_attack_that_was_sabotaged_is_named_and_the_verdict_is_not_low(given: dict[str, Any], attack: str) -> None:
    name, sabotage, message = SABOTAGED[attack]
    report = verdict(given, sabotage(given["found"]))
    failed = [guard for guard in report.guards if guard.passed is False]
    assert [guard.name for guard in failed] == [name]
    assert message in failed[0].message
    assert max(share.high for share in report.leakage.values()) < 0.25, "by the figures alone it would be low"
    assert report.verdict.level == "partial"
    assert any(message in reason for reason in report.verdict.reasons)
    assert escape(message) in report.to_html()
