from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.auditing.conclusions import excess_of, leakage_of
from oneway.auditing.guards import check_judges
from oneway.auditing.judged import reports
from oneway.auditing.shares import Counting, counting
from oneway.auditing.steps import StepFacts, StepResult
from oneway.data.batches import to_pictures
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.errors import InputError
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import of_reconstructions
from oneway.report.table import verifier_line
from oneway.report.values import Guard, Refused
from portraits import portrait_source


class Colours:
    """Takes the sixteen colours of a portrait for its identity, and counts what it is shown."""

    name = "colours"
    fingerprint = None

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, pictures: Tensor, _: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        self.shown += len(pictures)
        colours = torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1) - 0.5
        return torch.nn.functional.normalize(colours, dim=1).numpy()


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    path = tmp_path_factory.mktemp("judge") / "pack"
    return prepare(portrait_source(400, 4, noise=0.25), path, size=16, jobs=1, progress=False)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    path = tmp_path_factory.mktemp("few") / "pack"
    return prepare(portrait_source(60, 4, noise=0.25), path, size=16, jobs=1, progress=False)


def originals(pack: Pack) -> Tensor:
    return to_pictures(pack.test.images(slice(None)))


def batched(reconstructed: Tensor, pictures: Tensor, size: int = 64) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(reconstructed.split(size), pictures.split(size), strict=True)


def scored(judge: Judge, reconstructions: Iterator[tuple[Tensor, Tensor]]) -> dict[str, Estimate]:
    return judge.estimates(judge.measure(reconstructions, judge.test))


def score(pack: Pack, reconstructed: Tensor, *, size: int = 64, verifier: Colours | None = None) -> dict[str, Estimate]:
    judge = Judge(pack.test, pack.validation, verifier)
    return scored(judge, batched(reconstructed, originals(pack), size))


def test_the_originals_themselves_have_every_best_score(pack: Pack) -> None:
    found = score(pack, originals(pack), verifier=Colours())
    best = {"mse": 0.0, "psnr": 100.0, "ssim": 1.0, "picture_similarity": 1.0, "recognised": 1.0}
    best |= {"psnr_affine": 100.0, "ssim_affine": 1.0}
    assert {name: estimated.value for name, estimated in found.items()} == pytest.approx(best, abs=1e-6)
    assert {name: estimated.unit for name, estimated in found.items()} == {
        name: metric.unit for name, metric in of_reconstructions().items() if name in best
    }
    assert {estimated.n for estimated in found.values()} == {pack.test.num_people}


def test_scores_are_means_over_the_pictures_by_loops(pack: Pack) -> None:
    torch.manual_seed(0)
    pictures = originals(pack)
    blocks = torch.nn.functional.interpolate(torch.randn(len(pictures), 3, 4, 4), (16, 16))
    reconstructed = (pictures + 0.4 * blocks).clamp(0, 1)
    verifier = Colours()
    judge = Judge(pack.test, pack.validation, verifier)
    found = scored(judge, batched(reconstructed, pictures))
    error = ((reconstructed - pictures) ** 2).mean(dim=(1, 2, 3)).double().numpy()
    cosine = (verifier(reconstructed) * verifier(pictures)).sum(axis=1)
    assert judge.threshold is not None
    assert found["mse"].value == pytest.approx(error.mean(), rel=1e-4)
    assert found["psnr"].value == pytest.approx((-10 * np.log10(error)).mean(), rel=1e-4)
    assert found["picture_similarity"].value == pytest.approx(cosine.mean(), rel=1e-4)
    assert found["recognised"].value == pytest.approx((cosine > judge.threshold).mean())
    assert 0 < found["recognised"].value < 1


def test_scores_do_not_depend_on_the_batches(pack: Pack) -> None:
    reconstructed = 0.5 * originals(pack) + 0.2
    found = [score(pack, reconstructed, size=size, verifier=Colours()) for size in (1, 37, 1000)]
    for other in found[1:]:
        for name, estimated in found[0].items():
            assert other[name].value == pytest.approx(estimated.value, rel=1e-5), name
            assert other[name].low == pytest.approx(estimated.low, rel=1e-5), name


def test_a_worse_reconstruction_has_worse_scores(pack: Pack) -> None:
    torch.manual_seed(0)
    pictures = originals(pack)
    blocks = torch.nn.functional.interpolate(torch.randn(len(pictures), 3, 4, 4), (16, 16))
    near, far = (score(pack, (pictures + amount * blocks).clamp(0, 1), verifier=Colours()) for amount in (0.05, 0.4))
    assert near["mse"].high < far["mse"].low
    for name in ("psnr", "ssim", "picture_similarity"):
        assert near[name].low > far[name].high, name
    assert near["recognised"].value > far["recognised"].high


def test_the_threshold_comes_from_the_people_of_validation(pack: Pack) -> None:
    judge = Judge(pack.test, pack.validation, Colours())
    features, people = Colours()(to_pictures(pack.validation.images(slice(None)))), pack.validation.identities
    apart = [float(features[i] @ features[j]) for i in range(len(people)) for j in range(i) if people[i] != people[j]]
    assert judge.threshold is not None
    assert np.mean(np.array(apart) > judge.threshold) == pytest.approx(FALSE_ACCEPT_RATE, abs=2 / len(apart))


def test_the_verifier_is_measured_on_real_pairs_of_the_test_people(pack: Pack) -> None:
    judge = Judge(pack.test, pack.validation, Colours())
    about = judge.report
    features, people = Colours()(originals(pack)), pack.test.identities
    same = [float(features[i] @ features[j]) for i in range(len(people)) for j in range(i) if people[i] == people[j]]
    assert about is not None
    assert (about.name, about.false_accept_rate, about.threshold) == ("colours", 1e-3, judge.threshold)
    rate = about.true_accept_rate
    assert rate is not None
    assert rate.value == pytest.approx(np.mean(np.array(same) > judge.threshold))
    assert 0 < rate.low < rate.value < rate.high < 1
    assert (rate.n, rate.unit) == (pack.test.num_people, "share")


def test_another_persons_face_is_recognised_no_more_than_at_random(pack: Pack) -> None:
    pictures, people = originals(pack), pack.test.identities
    order = np.argsort(people, kind="stable")
    shifted = np.empty_like(order)
    shifted[order] = np.roll(order, 4)  # the picture of another person
    assert (people[shifted] != people).all()
    found = score(pack, pictures[torch.from_numpy(shifted)], verifier=Colours())
    assert found["recognised"].value < 0.02
    assert abs(found["picture_similarity"].value) < 0.1


def test_without_a_verifier_there_are_no_identity_scores(pack: Pack) -> None:
    found = score(pack, originals(pack))
    assert set(found) == {"mse", "psnr", "ssim", "psnr_affine", "ssim_affine"}
    assert Judge(pack.test, pack.validation, None).report is None


def test_with_too_few_people_for_a_threshold_nothing_is_counted_as_recognised(few: Pack) -> None:
    judge = Judge(few.test, few.validation, Colours())
    found = scored(judge, batched(originals(few), originals(few)))
    assert judge.threshold is None
    assert "recognised" not in found
    assert found["picture_similarity"].value == pytest.approx(1)
    about = judge.report
    assert about is not None
    assert about.true_accept_rate is None


def test_the_real_pictures_are_shown_to_the_verifier_once(pack: Pack) -> None:
    verifier = Colours()
    judge = Judge(pack.test, pack.validation, verifier)
    assert verifier.shown == len(pack.validation)
    scored(judge, batched(originals(pack), originals(pack)))
    assert judge.report is not None
    assert verifier.shown == 2 * len(pack.test) + len(pack.validation) + 1  # and the mean face


def test_what_the_verifier_has_seen_need_not_be_shown_again(pack: Pack) -> None:
    pictures = originals(pack)
    shuffled = pictures.roll(7, dims=0)
    verifier = Colours()
    judge = Judge(pack.test, pack.validation, verifier)
    looked = judge.measure(batched(shuffled, pictures), pack.test)
    before = verifier.shown
    known = judge.measure(batched(shuffled, pictures), pack.test, vectors=np.roll(judge.known(pack.test), 7, axis=0))
    assert verifier.shown == before
    assert looked.keys() == known.keys()
    for name, values in looked.items():
        np.testing.assert_allclose(known[name], values, atol=1e-6)


class Seen:
    """A verifier whose features are made of the colours of a portrait."""

    fingerprint = None

    def __init__(self, name: str, make: Callable[[Tensor], Tensor]) -> None:
        self.name, self.make = name, make

    def __call__(self, pictures: Tensor, _: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        return torch.nn.functional.normalize(self.make(pictures), dim=1).numpy()


def chance(pictures: Tensor) -> Tensor:
    """Features that depend on the picture, and not on who is in it."""
    return torch.sin(1e4 * pictures.flatten(1)[:, ::7].double()).float()


def alike(pictures: Tensor) -> Tensor:
    """The right features, in which all faces are nearly alike: the mean face is like everyone."""
    colours = torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)
    return torch.cat([colours - 0.5, torch.full((len(colours), 1), 6.0)], dim=1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(chance, "it accepts 0.00"), (alike, "it finds the mean face 0.944 similar to a person")],
    ids=["by chance", "all alike"],
)
def test_a_blind_judge_fails_its_guard_and_is_said_to_be(
    pack: Pack, make: Callable[[Tensor], Tensor], reason: str
) -> None:
    judge = Judge(pack.test, pack.validation, Seen("blind", make))
    about = judge.report
    assert about is not None
    assert judge.blind is not None
    assert judge.blind.startswith(reason)
    (guard,) = check_judges([about])
    assert (guard.name, guard.passed) == ("judge", False)
    assert "leakage of faces and of features is refused" in guard.message
    assert "cannot tell who is shown" in verifier_line(about)


def test_a_judge_that_sees_passes_its_guard(pack: Pack) -> None:
    judge = Judge(pack.test, pack.validation, Colours())
    about = judge.report
    assert about is not None
    assert (judge.blind, check_judges([about])[0].passed) == (None, True)
    assert about.true_accept_rate is not None
    assert about.true_accept_rate.low > 0.1
    similarity = about.similarity
    assert similarity.same is not None
    assert similarity.different is not None
    assert similarity.different < similarity.same
    features, people = Colours()(originals(pack)), pack.test.identities
    apart = [float(features[i] @ features[j]) for i in range(len(people)) for j in range(i) if people[i] != people[j]]
    assert similarity.different == pytest.approx(np.mean(apart), abs=1e-5)


def test_of_a_judge_whom_too_few_people_measure_it_is_said_that_it_is_unknown(few: Pack) -> None:
    judge = Judge(few.test, few.validation, Colours())
    (guard,) = check_judges([judge.report])
    assert guard.passed is None
    assert "is unknown: there are too few to say" in guard.message


def test_a_judge_with_the_weights_of_another_network_fails_its_guard_even_of_few_people(tmp_path: Path) -> None:
    some = prepare(portrait_source(200, 4, noise=0.25), tmp_path / "some", size=16, jobs=1, progress=False)

    def guard(verifier: Colours | Seen) -> Guard:
        judge = Judge(some.test, some.validation, verifier)
        assert judge.threshold is None, "too few to say how many it accepts at a false accept rate of 1e-3"
        assert judge.report is not None
        nothing = np.zeros(len(some.test))
        scores = {"inversion picture_similarity": nothing, "floor mean_picture picture_similarity": nothing}
        found = {
            "inversion linear": StepResult(facts=StepFacts(validation={"mse": 0.1})),
            "feature": StepResult(facts=StepFacts(refused="left out")),
        }
        counts = Counting(pictures=judge, features=judge)
        (checked,) = check_judges(reports([judge], found, scores, None, {}, counts))
        return checked

    assert guard(Colours()).passed is None
    shuffled = guard(Seen("shuffled", chance))
    assert shuffled.passed is False
    assert "at a false accept rate of 0.01, and people are too few for 0.001: it hardly tells who" in shuffled.message


def test_by_a_blind_judge_leakage_of_faces_and_features_is_refused_and_linkage_is_not(pack: Pack) -> None:
    n = len(pack.test)
    scores = {
        "inversion picture_similarity": np.full(n, 0.3),
        "floor mean_picture picture_similarity": np.full(n, 0.1),
        "feature_similarity": np.full(n, 0.3),
        "floor mean_feature feature_similarity": np.full(n, 0.1),
        "linkage accepted": np.full(n, 1.0),
        "linkage pairs": np.full(n, 3.0),
    }
    control = scores | {"inversion picture_similarity": np.full(n, 0.9), "feature_similarity": np.full(n, 0.9)}
    colours = Judge(pack.test, pack.validation, Colours())
    unseeing = Judge(pack.test, pack.validation, Seen("blind", chance))
    seeing = leakage_of(scores, control, Counting(pictures=colours, features=colours))
    blind = leakage_of(scores, control, Counting(pictures=unseeing, features=unseeing))
    face = seeing["picture_similarity"]
    assert isinstance(face, Estimate)
    assert face.value == pytest.approx(0.25)
    for name in ("picture_similarity", "feature_similarity"):
        share = blind[name]
        assert isinstance(share, Refused)
        assert share.refused.startswith("the verifier cannot tell who is shown: it accepts 0.00")
    assert blind["linkage"] == seeing["linkage"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda pictures: torch.zeros(len(pictures), 8), "are all zero"),
        (lambda pictures: torch.ones(len(pictures), 8), "gives the same features for all of them"),
    ],
    ids=["zero", "constant"],
)
def test_a_judge_that_says_nothing_is_refused(pack: Pack, make: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(InputError, match=f"verifier 'useless' on the validation pictures of .*{message}"):
        Judge(pack.test, pack.validation, Seen("useless", make))


def test_what_needs_a_judge_is_unknown_without_one() -> None:
    (guard,) = check_judges([])
    assert (guard.name, guard.passed) == ("judge", None)
    assert "whether anything is recognised is unknown" in guard.message
    assert "unknown" in verifier_line(None)


def test_excess_is_by_the_judge_by_which_it_is_most_whoever_sees_most_leakage(pack: Pack) -> None:
    n = len(pack.test)
    first, other = (Judge(pack.test, pack.validation, Colours(), first=first) for first in (True, False))
    # By the first most leaks, and nearly all of it is what the decisions tell; by the other less of both.
    told = {first: (0.6, 0.55), other: (0.4, 0.1)}
    scores = {f"floor mean_picture {judge.key('picture_similarity')}": np.zeros(n) for judge in told}
    scores |= {f"inversion {judge.counted}": np.full(n, ours) for judge, (ours, _) in told.items()}
    decided = {f"inversion {judge.counted}": np.full(n, least) for judge, (_, least) in told.items()}
    control = {f"inversion {judge.counted}": np.ones(n) for judge in told}
    judges = [first, other]
    assert counting(judges, scores, control).pictures is first
    found = excess_of(scores, control, decided, judges)["picture_similarity"]
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(0.3 / 0.9), "by the first it is 0.05 / 0.45"


class Placed(Colours):
    """Sees of a picture whose points are known nothing but where the first of them lies."""

    def __call__(self, pictures: Tensor, places: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        if places is None:
            return super().__call__(pictures)
        assert len(places) == len(pictures)
        return first_point(places).astype(np.float32)


def first_point(places: NDArray[np.float64]) -> NDArray[np.float64]:
    directions: NDArray[np.float64] = places[:, 0] / np.linalg.norm(places[:, 0], axis=1, keepdims=True)
    return directions


def test_the_mean_face_is_seen_at_the_points_of_each_picture_as_reconstructions_are(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(pack.test, pack.validation, Placed())
    places = np.random.default_rng(0).random((len(pack.test), 5, 2)) + 0.1
    monkeypatch.setattr(type(pack.test), "landmarks", lambda _, index: places[index])
    np.testing.assert_allclose(judge.of_mean_picture(pack.test), first_point(places), atol=1e-6)
    places[:] = places[0]
    np.testing.assert_allclose(judge.of_mean_picture(pack.test), first_point(places), atol=1e-6)
