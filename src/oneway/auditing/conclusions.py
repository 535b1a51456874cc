"""What follows from an audit's figures: leakage, the numbers that stand first, what was not tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.config import AuditConfig
from oneway.auditing.control import Control
from oneway.auditing.verdict import TITLES, said, shared
from oneway.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.leakage import NoLeakError, leakage

Plain = dict[str, Any]


def leakage_of(
    scores: Mapping[str, NDArray[np.float64]],
    control: Mapping[str, NDArray[np.float64]] | None,
    judge: Judge,
) -> Plain:
    """Give the three leakages of docs/audit.md, or why there is none.

    Args:
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        judge: who measured them; by one who is blind nothing is said of faces and features. Linkage needs him not: the
            encoder's own features are compared with each other.

    """
    names = {
        "face_similarity": ("inversion face_similarity", "floor mean_face face_similarity"),
        "feature_similarity": ("feature_similarity", "floor mean_feature feature_similarity"),
        "linkage": ("linkage accepted", "linkage pairs"),
    }
    shares: Plain = {}
    for name, (score, floor) in names.items():
        if control is None:
            shares[name] = {"refused": "there is no control to take a share of; give one with --control"}
        elif name != "linkage" and judge.blind is not None:
            shares[name] = {"refused": f"the verifier cannot tell who is shown: {judge.blind}"}
        elif score not in scores or score not in control:
            missing = "this audit" if score not in scores else "the control's audit"
            few = ", for which its validation people may be too few" if name == "linkage" else ""
            shares[name] = {"refused": f"{missing} did not measure it{few}"}
        else:
            least = scores[floor] * (FALSE_ACCEPT_RATE if name == "linkage" else 1)
            try:
                share = leakage(scores[score], control[score], least, judge.test.identities)
                shares[name] = share.to_dict()
            except NoLeakError as error:
                shares[name] = {"refused": str(error)}
    return shares


def numbers(results: Plain) -> list[Plain]:
    """Pick the numbers that stand first: the three that leakage is of, as far as they were measured, and the task's.

    Each says whether its leakage `decides` the verdict, which is in `results` already.
    """
    attacks, floors, control = results["attacks"], results["floors"], results["control"]
    beside = None if control is None else control["attacks"]
    decides = results["verdict"]["decides"]
    numbers: list[Plain] = []

    def add(title: str, attack: str, name: str, floor: Any, share: str | None) -> None:
        value = attacks[attack].get(name)
        if value is not None:
            numbers.append(
                {
                    "title": title,
                    "value": value,
                    "floor": floor,
                    "control": None if beside is None else beside[attack].get(name),
                    "leakage": None if share is None else results["leakage"][share],
                    "decides": share is not None and share == decides,
                }
            )

    if "face_similarity" in floors["mean_face"]:
        floor = floors["mean_face"]["face_similarity"]
        add("Face similarity of the best reconstruction", "inversion", "face_similarity", floor, "face_similarity")
    else:
        add("Structural similarity of the best reconstruction", "inversion", "ssim", floors["mean_face"]["ssim"], None)
    if "feature_similarity" in attacks["feature"]:
        floor = floors["mean_feature"]["feature_similarity"]
        add("Similarity to the verifier's features", "feature", "feature_similarity", floor, "feature_similarity")
    if attacks["linkage"].get("tar_at_far_1e-3") is not None:
        rate = FALSE_ACCEPT_RATE
        add("Stolen features linked to a photograph of the person", "linkage", "tar_at_far_1e-3", rate, "linkage")
    else:
        add("Person found first by stolen features", "linkage", "rank_1", floors["chance"]["rank_1"], None)
    if results["utility"] is not None:
        against = None if control is None or control["utility"] is None else control["utility"]["mean_mcc"]
        numbers.append(
            {
                "title": "Utility: mean MCC of the task",
                "value": results["utility"]["mean_mcc"],
                "floor": 0.0,
                "control": against,
                "leakage": None,
                "decides": False,
            }
        )
    elif len(numbers) < len(results["leakage"]):
        add("Information about the picture, at least", "information", "bits", 0.0, None)
    return numbers


def further(attacks: Plain) -> list[str]:
    """Say where an attacker who has more than one black-box answer gets more than the panel, on which leakage rests."""
    panel = attacks["inversion"].get("face_similarity")
    told = {
        "optimisation": "who has the encoder's weights",
        "averaging": f"who gets {attacks['averaging'].get('draws')} answers for one picture",
    }
    reasons = []
    for name, who in told.items():
        more = attacks[name].get("face_similarity")
        if panel is not None and more is not None and more["low"] > panel["high"]:
            reasons.append(
                f"{who} gets more: face similarity {said(more)} instead of {panel['value']:.2f}; "
                "the leakage above does not count that"
            )
    return reasons


def told_by_decisions(results: Plain) -> list[str]:
    """Say what the task's decisions alone give away, which is the least for any encoder that they can be read from."""
    shares = {TITLES[name]: share for name, share in results["decisions"].get("leakage", {}).items()}
    known = [f"{title} {shared(share)}" for title, share in shares.items() if share.get("low", 0) > 0]
    if not known:
        return []
    whose = "this encoder" if results["control"] is None else "the unprotected encoder"
    return [
        f"of what {whose} gives away, the task's decisions alone give away at least: {', '.join(known)}; "
        "no encoder that they can be read from gives away less"
    ]


def untested(attacks: Plain, config: AuditConfig, control: Control | None, judge: Judge) -> list[str]:
    """Say what this audit does not show."""
    missing = [f"{name}: {facts['refused']}" for name, facts in attacks.items() if "refused" in facts]
    kinds = ("residual", "transformer", "gan", "perceptual")
    missing += [f"the inversion attacker {name!r}" for name in kinds if name not in config.attackers]
    if "refused" not in attacks["optimisation"]:
        missing.append(
            f"a longer white-box search than {config.optimisation.steps} steps: it has no test of convergence"
        )
    if config.seeds == 1:
        missing.append("other initial weights of the attackers: each was trained once")
    if judge.verifier is None:
        missing.append("identity in reconstructions: there is no verifier")
    if control is None:
        missing.append("a control: the same attacks on an unprotected encoder")
    return [
        *missing,
        "generative priors (a GAN or diffusion model of faces) that fill in what the features lack",
        "attackers with more, or other, public pictures than the pack's",
        "an attacker who changes the encoder, or its training data",
    ]
