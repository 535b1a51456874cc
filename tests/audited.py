"""What an audit's results.json holds, made up: one with every block, and one in which everything was refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from oneway.auditing.conclusions import numbers
from oneway.auditing.verdict import verdict
from oneway.config import from_dict, to_dict
from oneway.data.packed import Pack
from oneway.metrics.estimate import Estimate
from oneway.report.page import Pictures
from oneway.report.reports import AuditReport
from oneway.report.values import SCHEMA, scores_of

UNITS = {
    "picture_similarity": "cosine",
    "recognised": "share",
    "ssim": "SSIM",
    "psnr": "dB",
    "mse": "MSE",
    "ssim_affine": "SSIM",
    "psnr_affine": "dB",
    "tar_at_far_1e-2": "share",
    "tar_at_far_1e-3": "share",
    "rank_1": "share",
    "rank_5": "share",
    "tar_at_far_1e-4": "share",
    "d_sys": "D_sys",
    "maximal_linkability": "bits",
}
TASK = ["Smiling", "Eyeglasses", "Wearing_Hat", "Mouth_Slightly_Open", "Bangs", "Wearing_Lipstick"]
PEOPLE = 812
LATE = ["inversion transformer", "queries 10000"]

Results = dict[str, Any]


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> Results:
    low = max(value - half, 0.0) if unit == "share" else value - half
    return to_dict(Estimate(value=value, low=low, high=value + half, n=PEOPLE, unit=unit))


def scores(*values: float, names: tuple[str, ...] = tuple(UNITS)[:7]) -> Results:
    """Estimates of the scores in order; a share of 0.3 has an interval of some percent."""
    return {
        name: figure(value, UNITS[name], half=0.04 * abs(value) + (0.12 if UNITS[name] == "dB" else 0.004))
        for name, value in zip(names, values, strict=False)
    }


def linked(*values: float) -> Results:
    return scores(*values, names=tuple(UNITS)[7:])


def course(steps: int, *, converged: bool = True) -> Results:
    return {"converged": converged, "steps": steps, "validation_error": 0.021, "queries": 40_960}


def _attacker(
    found: Results, *, steps: int, seconds: float, converged: bool = True, flags: tuple[str, ...] = ()
) -> Results:
    validation = {name: round(found[name]["value"] * 1.01, 4) for name in ("mse", "picture_similarity")}
    return {
        "scores": found,
        "course": course(steps, converged=converged),
        "validation": validation,
        "flags": list(flags),
        "seconds": seconds,
    }


def _inversion(attackers: dict[str, Results]) -> Results:
    kept = attackers["residual"]
    strongest = dict.fromkeys(tuple(UNITS)[:7], "residual") | dict.fromkeys(
        ("picture_similarity", "recognised"), "transformer"
    )
    scored = {name: attackers[way]["scores"][name] for name, way in strongest.items() if name in kept["scores"]}
    return {"strongest": strongest, "ways": attackers, "scores": scored}


def _inference(most: float, half: float) -> Results:
    names: tuple[str, ...] = (
        "Bald",
        "Big_Lips",
        "Big_Nose",
        "Black_Hair",
        "Blond_Hair",
        "Bushy_Eyebrows",
        "Goatee",
        "Gray_Hair",
    )
    names += ("Mustache", "Narrow_Eyes", "Pale_Skin", "Rosy_Cheeks", "Wavy_Hair", "5_o_Clock_Shadow", "Brown_Hair")
    levels = [most * (0.55 + 0.45 * np.cos(1.7 * place)) for place in range(len(names))]
    mean = {"inferred_mcc": figure(float(np.mean(levels)), "MCC", half / 2)}
    return mean | {
        f"inferred_mcc.{name}": figure(float(level), "MCC", half) for name, level in zip(names, levels, strict=True)
    }


def _linkage(ways: dict[str, Results]) -> Results:
    return {
        "scores": ways["trained"],
        "strongest": dict.fromkeys(ways["trained"], "trained"),
        "ways": {name: {"scores": found} for name, found in ways.items()},
    }


def _scatter(between: float, within: float, score: float) -> Results:
    found = {"between": figure(between, "", 0.1), "within": figure(within, "", 0.07)}
    return {"scores": found | {"lda_score": figure(score, "ratio", 0.05)}}


def _information(bits: float, seconds: float) -> Results:
    return {
        "scores": {"bits": figure(bits, "bits", 0.14)},
        "facts": {"ceiling": 8.0},
        "course": course(400),
        "seconds": seconds,
    }


def _judge(name: str, face: float, share: float, *, trained_with: bool = False, counts: bool = False) -> Results:
    """A judge, and what it sees: at a false accept rate of 1e-4 its people are too few."""
    rates = {1e-2: 2.2 * share, 1e-3: share, 1e-4: None}
    return {
        "name": name,
        "false_accept_rate": 1e-3,
        "threshold": 0.3651,
        "true_accept_rate": figure(0.845, "share", 0.014),
        "fingerprint": "0" * 64,
        "similarity": {"same": 0.54, "different": 0.02, "mean_picture": 0.05},
        "blind": None,
        "trained_with": trained_with,
        "counts": counts,
        "pictures": {
            "attacker": "transformer",
            "picture_similarity": figure(face),
            "floor": figure(0.05),
            "control": figure(0.66),
            "leakage": figure((face - 0.05) / 0.61, "leakage", 0.031),
            "recognised": [
                {
                    "false_accept_rate": rate,
                    "threshold": None if found is None else 0.3,
                    "true_accept_rate": None if found is None else figure(0.845, "share", 0.014),
                    "share": None if found is None else figure(found, "share"),
                    "floor": None if found is None else figure(0.002, "share"),
                    "control": None if found is None else figure(0.71, "share"),
                }
                for rate, found in rates.items()
            ],
        },
        "features": {
            "counts": counts,
            "strongest": "linear",
            "similarity": figure(face + 0.1),
            "floor": figure(0.1),
            "control": figure(0.7),
            "leakage": figure(face / 0.6, "leakage", 0.031),
            "gained": figure(0.012, half=0.002) if counts else None,
        },
    }


def _accepted(judge: str, attacker: str, share: float, *, trained_with: bool = False, answers: int = 1) -> Results:
    """How many reconstructions a judge accepts; at 1e-4 its people are too few."""
    shares = {1e-2: 2.2 * share, 1e-3: share, 1e-4: None}
    return {
        "judge": judge,
        "trained_with": trained_with,
        "threat_model": "black box",
        "answers": answers,
        "attacker": attacker,
        "recognised": [
            {
                "false_accept_rate": rate,
                "threshold": None if found is None else 0.3,
                "people_needed": 1134 if found is None else None,
                "true_accept_rate": None if found is None else figure(0.845, "share", 0.014),
                "share": None if found is None else figure(found, "share"),
                "floor": None if found is None else figure(0.0021, "share"),
                "control": None if found is None or answers > 1 else figure(0.713, "share"),
            }
            for rate, found in shares.items()
        ],
    }


def _profile() -> Results:
    """What is gathered for ISO/IEC 24745, with another encoder."""
    across = _linkage({"trained": linked(0.213, 0.081, 0.076, 0.204, 0.031, 0.142, 0.221)})
    drawn = {"this encoder": 0.221, "the other encoder": 0.219, "both": 0.262}
    return {
        "assumed": {"weights": "the white box holds the encoder's weights", "queries": "as many as it likes"},
        "irreversibility": [
            _accepted("own", "linear", 0.113),
            _accepted("own", "transformer", 0.262, trained_with=True),
            _accepted("own", "residual", 0.291, answers=16),
            _accepted("other.onnx", "transformer", 0.166),
        ],
        "unlinkability": [
            {
                "title": title,
                "metric": metric,
                "value": figure(value, UNITS[metric]),
                "floor": 0.024,
                "control": figure(2 * value - 0.1, UNITS[metric]),
                "leakage": None,
                "decides": False,
            }
            for title, metric, value in (
                ("linkable, D_sys", "d_sys", 0.472),
                ("maximal linkability, bits", "maximal_linkability", 0.61),
            )
        ],
        "renewability": {
            "other": "faces64-layer2-seed1",
            "across": across | {"facts": {"d_sys_floor": 0.009, "maximal_linkability_floor": 0.024}},
            "within": linked(0.612, 0.403, 0.318, 0.551, 0.231, 0.472, 0.61),
            "drawn": {
                name: {"scores": scores(face, face / 4, 0.3 + face / 10), "validation": {"mse": 0.03}}
                for name, face in drawn.items()
            },
            "strongest": "both",
        },
    }


def audited() -> Results:
    """An encoder that was protected to some degree, with a control; every block was measured."""
    attackers = {
        "linear": _attacker(scores(0.221, 0.048, 0.322, 14.9, 0.0337, 0.34, 15.4), steps=0, seconds=21.4),
        "mirror": _attacker(scores(0.341, 0.158, 0.432, 16.4, 0.0247, 0.441, 16.9), steps=6000, seconds=412.0),
        "residual": _attacker(scores(0.352, 0.171, 0.428, 16.6, 0.0236, 0.446, 17.1), steps=5400, seconds=958.4),
        "transformer": _attacker(
            scores(0.356, 0.166, 0.402, 16.1, 0.0262, 0.415, 16.5),
            steps=6000,
            seconds=1240.9,
            converged=False,
            flags=("ended by its budget: a longer attack may get more",),
        ),
        "gan": _attacker(
            scores(0.287, 0.102, 0.331, 15.2, 0.0318, 0.349, 15.8),
            steps=9000,
            seconds=2210.0,
            flags=("lost to residual on validation people: its figures say little",),
        ),
    }
    stronger = _inversion(
        {
            name: _attacker(
                scores(0.615 + 0.015 * place, 0.71, 0.69, 21.8, 0.0071, 0.70, 22.4), steps=6000, seconds=400.0
            )
            for place, name in enumerate(attackers)
        }
    )
    mean_picture = scores(0.052, 0.001, 0.281, 13.1, 0.0512, 0.293, 13.9)
    public_face = scores(0.041, 0.001, 0.142, 10.2, 0.0994, 0.171, 12.2)
    decided = scores(0.118, 0.012, 0.168, 10.9, 0.0861, 0.192, 12.6)
    control = {
        "name": "unprotected: the same network and task, --defence none",
        "audit": "control",
        "utility": {
            "value": figure(0.703, "MCC", 0.009),
            "each": {name: figure(0.79 - 0.05 * (place * 5 % 6), "MCC") for place, name in enumerate(TASK)},
        },
        "attacks": {
            "inversion": stronger,
            "feature": {
                "scores": {"feature_similarity": figure(0.702)},
                "course": course(5200),
                "seconds": 88.0,
            },
            "linkage": _linkage({"trained": linked(0.91, 0.78, 0.72, 0.88, 0.63, 0.79, 0.87)}),
            "scatter": _scatter(6.41, 2.02, 3.17),
            "inference": {"scores": _inference(0.58, 0.03)},
            "optimisation": {
                "refused": "the control is attacked as the victim is, and this step was left to the victim"
            },
            "information": _information(7.4, 61.0),
            "averaging": {"refused": "the control adds no noise"},
            "bound": {"refused": "no bound: the encoder is deterministic"},
        },
    }
    curve = [
        (100, 0.071, 0.002, 0.0493, True),
        (300, 0.112, 0.008, 0.0431, True),
        (1000, 0.188, 0.034, 0.0362, True),
        (3000, 0.254, 0.079, 0.0304, True),
        (10_000, 0.311, 0.128, 0.0268, False),
        (40_960, 0.352, 0.171, 0.0236, True),
    ]
    results: Results = {
        "schema": SCHEMA,
        "kind": "audit",
        "victim": {
            "name": "faces64-layer2-pixel3",
            "kind": "run",
            "threat_models": ["black box", "white box"],
            "noisy": True,
            "features": [32, 16, 16],
            "picture_size": 64,
            "task": TASK,
        },
        "utility": {
            "value": figure(0.648, "MCC", 0.011),
            "each": {name: figure(0.74 - 0.05 * (place * 5 % 6), "MCC", 0.024) for place, name in enumerate(TASK)},
        },
        "unconverged": LATE,
        "guards": [
            {
                "name": "people",
                "passed": True,
                "message": "no person is in two of the public, validation and test parts",
            },
            {"name": "test people", "passed": True, "message": "812 test people, at least 50"},
            {"name": "features", "passed": True, "message": "finite, and they vary over 256 public pictures"},
            {"name": "range of pixels", "passed": True, "message": "0..1, as it was trained"},
            {
                "name": "convergence",
                "passed": False,
                "message": f"{', '.join(LATE)}: ended by the budget, so a longer attack may get more",
            },
        ],
        "attacks": {
            "inversion": _inversion(attackers),
            "feature": {"scores": {"feature_similarity": figure(0.431)}, "course": course(4800), "seconds": 96.4},
            "linkage": _linkage(
                {
                    "cosine": linked(0.402, 0.211, 0.164, 0.349),
                    "whitened cosine": linked(0.541, 0.352, 0.262, 0.487),
                    "trained": linked(0.612, 0.403, 0.318, 0.551, 0.231, 0.472, 0.61),
                }
            ),
            "scatter": _scatter(3.122, 2.214, 1.41),
            "inference": {"scores": _inference(0.31, 0.03), "course": course(1400), "seconds": 12.5},
            "optimisation": {
                "scores": scores(0.298, 0.109, 0.377, 15.6, 0.0291, 0.39, 16.0),
                "facts": {"num_pictures": 64},
                "seconds": 311.0,
            },
            "information": _information(5.62, 64.2),
            "averaging": {"scores": scores(0.371, 0.188, 0.451, 16.9, 0.0219, 0.463, 17.4), "facts": {"draws": 16}},
            "bound": {
                "scores": {"dfil": figure(0.82, "dFIL", 0.03), "least_mse": figure(1.2195, "MSE", 0.045)},
                "facts": {"num_pictures": 64, "holds_for": "unbiased attackers"},
                "seconds": 4.3,
            },
            "capacity": {
                "scores": {"most_bits": figure(14.7, "bits", 0.2), "most_bits_averaged": figure(49.1, "bits", 0.5)},
                "facts": {"numbers": 128, "noise": 1.5, "draws": 16, "by_power": 33.95},
                "seconds": 9.1,
            },
        },
        "queries": {
            "attacker": "mirror",
            "breach": {"recognised": 0.1},
            "curve": [
                {
                    "queries": pairs,
                    "converged": converged,
                    "scores": scores(face, known, names=("picture_similarity", "recognised"))
                    | scores(mse, names=("mse",)),
                }
                for pairs, face, known, mse, converged in curve
            ],
            "pairs_to_breach": 5200,
        },
        "floors": {
            "mean_picture": mean_picture,
            "random_public_picture": public_face,
            "constant_prediction": {"utility": 0.0, "inferred_mcc": 0.0},
            "mean_feature": {"feature_similarity": figure(0.112)},
            "chance": {"tar_at_far_1e-2": 0.01, "tar_at_far_1e-3": 0.001, "rank_1": 0.00123, "rank_5": 0.00616}
            | {"tar_at_far_1e-4": 0.0001, "d_sys": 0.009, "maximal_linkability": 0.024, "lda_score": 0.33},
        },
        "control": control,
        "decisions": {
            "scores": decided
            | linked(0.084, 0.017, 0.021, 0.079, 0.004, 0.061, 0.113)
            | {"feature_similarity": figure(0.203)}
            | _inference(0.11, 0.03),
            "leakage": {
                "picture_similarity": figure(0.109, "leakage", 0.013),
                "feature_similarity": figure(0.154, "leakage", 0.017),
                "linkage": figure(0.021, "leakage", 0.011),
            },
        },
        "leakage": {
            "picture_similarity": figure(0.5, "leakage", 0.031),
            "feature_similarity": figure(0.541, "leakage", 0.046),
            "linkage": figure(0.516, "leakage", 0.031),
        },
        "excess": {
            "picture_similarity": figure(0.439, "leakage", 0.035),
            "feature_similarity": figure(0.457, "leakage", 0.051),
            "linkage": figure(0.506, "leakage", 0.032),
        },
        "judges": [_judge("own", 0.412, 0.262, trained_with=True), _judge("other.onnx", 0.356, 0.166, counts=True)],
        "iso24745": _profile(),
        "untested": [
            "other initial weights of the attackers: each was trained once",
            "generative priors (a GAN or diffusion model of faces) that fill in what the features lack",
            "an attacker who changes the encoder, or its training data",
        ],
        "seconds": {"inversion": 4821.3, "feature": 96.4, "linkage": 149.8, "queries": 1310.2, "verdict": 0.4},
        "validation": {},
        "provenance": {
            "victim": {},
            "judges": [{"name": "own", "fingerprint": "0" * 64}, {"name": "other.onnx", "fingerprint": "1" * 64}],
            "images": False,
            "oneway": "0.1.0",
            "torch": "2.12.0",
            "torchvision": "0.27.0",
            "python": "3.11.7",
            "machine": "x86_64, 2 processors",
            "created": "2026-03-01T12:00:00+00:00",
            "audit": {
                "attackers": ["mirror", "residual", "transformer", "gan"],
                "seeds": 1,
                "perceptual": None,
                "queries": [100, 300, 1000, 3000, 10_000],
                "breach": 0.1,
                "linkage": {"margin": 0.3, "max_steps": 6000},
                "runtime": {"device": "cpu", "precision": "32"},
            },
            "data": {
                "name": "faces64",
                "hash": "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c",
            },
        },
    }
    results["verdict"] = {"level": "undecided", "sentence": "", "decides": None, "reasons": []}
    return judged(results)


def judged(results: Results) -> Results:
    """The same results with the verdict and the numbers that follow from them."""
    report = typed(results)
    found = verdict(report.leakage, scores_of(report.attacks["linkage"]).get("tar_at_far_1e-3"))
    report = replace(report, verdict=found)
    return results | {"verdict": to_dict(replace(found, numbers=numbers(report)))}


def typed(results: Results) -> AuditReport:
    """The report that such a results.json holds."""
    return from_dict(AuditReport, results)


def refused() -> Results:
    """An audit that could measure nothing and says why, block by block, without a control or a verifier."""

    def because(what: str) -> Results:
        return {"refused": f"{what} needs what this victim does not give"}

    found = audited()
    attacks = {name: because(name) for name in found["attacks"]}
    return found | {
        "victim": found["victim"]
        | {"name": "dump.npz", "kind": "features", "threat_models": ["feature dump"], "task": None},
        "utility": None,
        "verdict": {
            "level": "undecided",
            "sentence": "Nothing could be measured, so nothing is known.",
            "decides": None,
            "reasons": [],
            "numbers": [],
        },
        "unconverged": [],
        "guards": [],
        "attacks": attacks,
        "queries": because("queries"),
        "floors": {"mean_picture": {}, "random_public_picture": {}, "constant_prediction": {}, "chance": {}},
        "decisions": because("decisions"),
        "control": None,
        "leakage": {name: because(f"leakage of {name}") for name in found["leakage"]},
        "excess": {name: because(f"excess of {name}") for name in found["excess"]},
        "judges": [],
        "iso24745": found["iso24745"]
        | {part: because(part) for part in ("irreversibility", "unlinkability", "renewability")},
        "untested": [],
        "seconds": {},
    }


def faces(pack: Pack, num_people: int = 8) -> Pictures:
    """Faces of a pack's test people, blurred the more, the weaker the attacker."""
    first = np.unique(pack.test.identities, return_index=True)[1]
    originals = pack.test.images(first[np.linspace(0, len(first) - 1, num_people).astype(int)])
    mean = pack.public.images(slice(None)).mean(axis=0)

    def blurred(radius: float, kept: float) -> NDArray[np.uint8]:
        soft = [np.asarray(Image.fromarray(face).filter(ImageFilter.GaussianBlur(radius))) for face in originals]
        mixed: NDArray[np.uint8] = np.round(kept * np.stack(soft) + (1 - kept) * mean).astype(np.uint8)
        return mixed

    scale = pack.size / 64
    return Pictures(
        people={
            "original": originals,
            "linear": blurred(7 * scale, 0.5),
            "mirror": blurred(5 * scale, 0.6),
            "residual": blurred(4 * scale, 0.65),
            "transformer": blurred(4.5 * scale, 0.5),
            "gan": blurred(3 * scale, 0.3),
            "control": blurred(1.2 * scale, 0.95),
        },
        worst={"original": originals[::-1], "reconstruction": blurred(2.5 * scale, 0.8)[::-1]},
        worst_similarity=[round(0.74 - 0.03 * place, 3) for place in range(num_people)],
    )
