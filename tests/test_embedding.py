"""Judges of pictures that show no people: what they see, and what they may not be."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import oneway
from oneway.auditing import guards
from oneway.auditing.opening import open_judges
from oneway.auditing.surrogates import Surrogates
from oneway.auditing.verdict import TITLES, verdict
from oneway.data.batches import load
from oneway.data.description import Duplicates
from oneway.judges.blindness import slightly_changed
from oneway.judges.judge import Judge
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import TorchVerifier, of_pictures
from oneway.metrics.estimate import Estimate
from oneway.metrics.identity import found_first
from oneway.models.perceptual import Distance, open_perceptual
from oneway.runtime import launch


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network of timm with random weights, as a judge is named."""
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_file(timm.create_model("resnet10t", num_classes=0).state_dict(), path)
    return f"timm:resnet10t:{path}"


def verifier_of(people: oneway.Pack, spec: str) -> TorchVerifier:
    opened = oneway.open_verifier(people, spec)
    assert isinstance(opened, TorchVerifier)
    return opened


def test_it_is_the_pooled_last_stage_less_the_mean_of_public_pictures(people: oneway.Pack, spec: str) -> None:
    verifier, network = verifier_of(people, spec), open_perceptual(spec)
    pictures = load(people.test, slice(0, 4))
    with torch.no_grad():
        public = network(load(people.public, slice(None)))[-1].mean(dim=(2, 3)).mean(dim=0)
        wanted = F.normalize(network(pictures)[-1].mean(dim=(2, 3)) - public, dim=1)
    assert len(people.public) <= 1024
    np.testing.assert_allclose(verifier(pictures), wanted.numpy(), atol=1e-4)
    assert of_pictures(verifier)
    assert verifier.name == "resnet10t:net.safetensors"


def test_attackers_train_through_it(people: oneway.Pack, spec: str) -> None:
    surrogate = Surrogate(verifier_of(people, spec), people, torch.device("cpu"))
    pictures = load(people.test, slice(0, 2)).requires_grad_()
    (surrogate(pictures, None) * torch.linspace(-1, 1, 512)).sum().backward()
    assert pictures.grad is not None
    assert float(pictures.grad.abs().max()) > 0


def test_a_file_without_the_last_layers_is_one_network_each_time(
    people: oneway.Pack, spec: str, tmp_path: Path
) -> None:
    weights = load_file(spec.rpartition(":")[2])
    save_file({name: tensor for name, tensor in weights.items() if "layer4" not in name}, tmp_path / "part.safetensors")
    part = f"timm:resnet10t:{tmp_path / 'part.safetensors'}"
    assert verifier_of(people, part).fingerprint == verifier_of(people, part).fingerprint


def test_two_packs_have_judges_of_two_fingerprints(people: oneway.Pack, spec: str) -> None:
    moved = replace(people, hash="0" * 64)
    assert verifier_of(people, spec).fingerprint == verifier_of(people, spec).fingerprint
    assert verifier_of(people, spec).fingerprint != verifier_of(moved, spec).fingerprint


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("timm:nosuch:{file}", "timm knows no backbone 'nosuch'"),
        ("timm:resnet10t:nowhere", "'nowhere' are not a file"),
        ("vgg16:{file}", "so it is no VGG-16"),
    ],
)
def test_what_is_no_judge_is_refused(people: oneway.Pack, spec: str, given: str, told: str) -> None:
    with pytest.raises(oneway.InputError, match=told) as raised:
        oneway.open_verifier(people, given.format(file=spec.rpartition(":")[2]))
    assert str(raised.value).startswith("verifier ")


def test_found_first_is_the_nearest_of_all() -> None:
    random = np.random.default_rng(0)
    known = random.normal(size=(40, 5)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    seen = known[:20] + random.normal(size=(20, 5), scale=0.5).astype(np.float32)
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    distance = ((seen[:, None] - known) ** 2).sum(axis=2)
    wanted = [int(np.argsort(row)[0]) == place for place, row in enumerate(distance)]
    assert found_first(seen, known, np.arange(20)).tolist() == wanted
    assert 0 < sum(wanted) < 20


def test_slightly_changed_is_shifted_cut_and_brightened() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[..., 8:12, 4:8] = 0.5
    changed = slightly_changed(picture)
    assert changed.shape == picture.shape
    assert float(changed.max()) == pytest.approx(0.575, abs=0.02)  # 0.5, brighter by 15 %
    scale = 32 / 28
    rows = changed[0, 0].sum(dim=1)
    assert float((rows * (torch.arange(32) + 0.5)).sum() / rows.sum()) == pytest.approx(10 * scale, abs=0.2)


class _Judge:
    """Sees of a picture what a function gives."""

    name, fingerprint, of_pictures = "judge", None, True

    def __init__(self, look: Sequence[int] | None) -> None:
        self._look = look

    def __call__(self, pictures: torch.Tensor, _: object = None) -> np.ndarray:
        seen = F.adaptive_avg_pool2d(pictures, 8).flatten(1) - 0.5
        if self._look is not None:  # hardly anything of it
            seen = torch.cat([seen[:, self._look] * 0 + 1, 1e-3 * seen[:, self._look]], dim=1)
        return F.normalize(seen, dim=1).numpy()


def test_a_judge_of_pictures_is_measured_on_slightly_changed_ones(people: oneway.Pack) -> None:
    report = Judge(people.test, people.validation, _Judge(None)).report
    assert report is not None
    assert report.of_pictures
    assert report.found_first is not None
    assert report.similarity.same is not None


def test_one_to_which_all_pictures_look_alike_is_blind(people: oneway.Pack) -> None:
    report = Judge(people.test, people.validation, _Judge([0])).report
    assert report is not None
    assert report.blind is not None
    assert "slightly changed pictures" in report.blind
    (guard,) = guards.check_judges([report])[:1]
    assert guard.passed is False


def test_people_and_pictures_are_not_judged_together(people: oneway.Pack, spec: str) -> None:
    faces = TorchVerifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4)), "faces")
    with pytest.raises(oneway.InputError, match="tells pictures apart and 'faces' people"):
        guards.check_distinct([verifier_of(people, spec), faces], people)


def test_what_is_found_first_is_a_score_of_judges_of_pictures_alone(people: oneway.Pack) -> None:
    (judge,) = open_judges(people, [_Judge(None)], Surrogates(), progress=False)
    pictures = load(people.test, slice(None))
    scores = judge.measure([(pictures, pictures)], people.test)
    assert scores["found_first"].mean() == 1
    floor = judge.measure([(pictures, pictures)], people.test, vectors=judge.of_mean_picture(people.test))
    assert floor["found_first"].sum() == 1  # by chance one of all


def test_the_perceptual_distance_is_the_mean_over_stages(people: oneway.Pack, spec: str) -> None:
    network = open_perceptual(spec)
    judge = Judge(people.test, people.validation, None, distance=Distance(network, launch(oneway.RuntimeConfig())))
    pictures = load(people.test, slice(0, 3))
    dark = 0.5 * pictures
    scores = judge.measure([(dark, pictures)], people.test)["perceptual_distance"]
    with torch.no_grad():
        stages = [
            ((one - other) ** 2).flatten(1).mean(dim=1)
            for one, other in zip(network(dark), network(pictures), strict=True)
        ]
    np.testing.assert_allclose(scores, torch.stack(stages).mean(dim=0).numpy(), rtol=0.05)  # bf16 where there is
    assert judge.measure([(pictures, pictures)], people.test)["perceptual_distance"].max() == 0


def test_nobody_twice_is_unknown_and_never_low(people: oneway.Pack) -> None:
    alone = replace(people)
    alone.__dict__["people"] = np.arange(len(people.pixels))
    (guard,) = guards.check_disjoint(alone)
    assert guard.passed is None
    assert "no two of" in guard.message
    assert guards.check_disjoint(people)[0].passed
    none = Duplicates(dict.fromkeys(people.counts, 0), ())
    (doubt,) = guards.doubts(alone, none)
    shares = dict.fromkeys(TITLES, Estimate(value=0.0, low=0.0, high=0.0, n=100, unit="leakage"))
    assert verdict(shares, None).level == "low"
    assert verdict(shares, None, doubts=[doubt]).level == "partial"
