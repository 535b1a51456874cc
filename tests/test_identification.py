from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from oneway.data.batches import to_pictures
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.errors import DivergedError, InputError
from oneway.judges import identification
from oneway.judges.identification import (
    MARGIN,
    OWN,
    SCALE,
    IdentificationConfig,
    identify,
    load,
    margin_loss,
    open_verifier,
)
from oneway.judges.verifier import OnnxVerifier, TorchVerifier, Verifier
from oneway.models.encoder import EncoderConfig, backbone
from oneway.runtime import RuntimeConfig
from oneway.storage import runs
from portraits import portrait_source
from test_verifier import averaging_network

pytestmark = pytest.mark.whole

RUNTIME = RuntimeConfig(device="cpu", precision="32")
BRIEF = IdentificationConfig(width=0.125, feature_width=16, steps=3, batch_size=8)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    path = tmp_path_factory.mktemp("identification") / "pack"
    return prepare(portrait_source(60, 4, noise=0.15), path, size=16, jobs=1, progress=False)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """One picture of each person."""
    path = tmp_path_factory.mktemp("strangers") / "pack"
    return prepare(portrait_source(30, 1), path, size=16, jobs=1, progress=False)


def test_the_loss_is_that_of_a_lowered_cosine() -> None:
    generator = np.random.default_rng(0)
    features, centres = generator.normal(size=(7, 5)), generator.normal(size=(4, 5))
    person = generator.integers(0, 4, 7)
    losses = []
    for feature, right in zip(features, person, strict=True):
        cosines = [c @ feature / np.linalg.norm(c) / np.linalg.norm(feature) for c in centres]
        cosines[right] -= MARGIN
        powers = np.exp(SCALE * np.array(cosines))
        losses.append(-np.log(powers[right] / powers.sum()))
    found = margin_loss(torch.from_numpy(features), torch.from_numpy(centres), torch.from_numpy(person))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-6)


def test_the_loss_knows_directions_only_and_falls_towards_the_right_centre() -> None:
    torch.manual_seed(0)
    features, centres, person = torch.randn(6, 5), torch.randn(4, 5), torch.randint(0, 4, (6,))
    found = margin_loss(features, centres, person)
    torch.testing.assert_close(margin_loss(3 * features, 0.2 * centres, person), found)
    towards = [float(margin_loss(features + step * centres[person], centres, person)) for step in (0, 1, 3, 30)]
    assert towards == sorted(towards, reverse=True)
    assert towards[-1] < 0.5 * towards[0]


def test_the_margin_makes_the_task_harder() -> None:
    torch.manual_seed(0)
    features, centres, person = torch.randn(6, 5), torch.randn(4, 5), torch.randint(0, 4, (6,))
    cosine = torch.nn.functional.normalize(features) @ torch.nn.functional.normalize(centres).T
    plain = torch.nn.functional.cross_entropy(SCALE * cosine, person)
    assert 0 < float(margin_loss(features, centres, person) - plain) <= SCALE * MARGIN


def separation(verifier: Verifier, pictures: torch.Tensor, people: NDArray[np.int64]) -> float:
    """How often two pictures of one person are nearer than two of different people."""
    features = verifier(pictures)
    cosine = features @ features.T
    same = (people[:, None] == people) & ~np.eye(len(people), dtype=bool)
    apart = cosine[people[:, None] != people]
    return float(np.mean([(value > apart).mean() for value in cosine[same]]))


def test_it_learns_to_tell_apart_people_whom_it_has_not_seen(tmp_path: Path) -> None:
    source = portrait_source(100, 6, noise=0.05, crowded=True)
    crowd = prepare(source, tmp_path / "pack", size=16, jobs=1, progress=False)
    config = IdentificationConfig(width=0.125, feature_width=32, steps=150, batch_size=48)
    trained = identify(crowd, tmp_path / "own.safetensors", config, runtime=RUNTIME, progress=False)
    torch.manual_seed(config.seed)
    untrained = TorchVerifier(backbone(EncoderConfig(width=0.125, feature_width=32), 16), "untrained")
    pictures, people = to_pictures(crowd.test.images(slice(None))), crowd.test.identities
    before, after = (separation(verifier, pictures, people) for verifier in (untrained, trained))
    assert after > 0.75
    assert after > before + 0.15


def test_a_seed_gives_the_same_verifier_and_leaves_other_chance_alone(pack: Pack, tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors")]
    for path, seed in zip(files, (0, 0, 1), strict=True):
        config = IdentificationConfig(width=0.125, feature_width=16, steps=3, batch_size=8, seed=seed)
        identify(pack, path, config, runtime=RUNTIME, progress=False)
    assert torch.equal(torch.rand(3), expected)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[2].read_bytes()


def test_what_was_written_is_loaded(pack: Pack, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "own.safetensors"
    made = identify(pack, path, BRIEF, runtime=RUNTIME, progress=False)
    pictures = torch.rand(5, 3, 16, 16)
    loaded = load(path)
    np.testing.assert_allclose(loaded(pictures), made(pictures), atol=1e-6)
    assert loaded(pictures).shape == (5, 16)
    assert loaded.name == made.name == "own.safetensors"


def test_what_is_no_verifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "absent.safetensors")
    runs.write_tensors(tmp_path / "other.safetensors", {"weight": torch.zeros(3)})
    with pytest.raises(InputError, match=r"is not a verifier, .*; make a verifier with `oneway verifier`"):
        load(tmp_path / "other.safetensors")


def test_the_people_of_validation_and_test_stay_unknown_to_it(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()

    class Watched(identification.Batches):
        def _index(self, step: int) -> NDArray[np.int64]:
            index = super()._index(step)
            seen.update(self.part.identities[index].tolist())
            return index

    monkeypatch.setattr(identification, "Batches", Watched)
    many = IdentificationConfig(width=0.125, feature_width=16, steps=20, batch_size=32)
    identify(pack, tmp_path / "own.safetensors", many, runtime=RUNTIME, progress=False)
    judges = set(pack.validation.identities.tolist()) | set(pack.test.identities.tolist())
    assert seen == set(pack.private.identities.tolist()) | set(pack.public.identities.tolist())
    assert not seen & judges


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"steps": -1}, {"width": 0.0}, {"feature_width": 0}, {"batch_size": 0}, {"seed": -1}]
    + [{"learning_rate": rate} for rate in (0.0, -1.0, float("nan"), float("inf"))],
)
def test_a_training_that_cannot_be_is_refused(changes: dict[str, float]) -> None:
    (name,) = changes
    with pytest.raises(InputError, match=f"{name} must be"):
        IdentificationConfig(**changes)  # type: ignore[arg-type]


def test_a_verifier_that_diverged_is_not_kept_nor_trained_on(pack: Pack, tmp_path: Path) -> None:
    config = replace(BRIEF, steps=100, learning_rate=1e38)
    with pytest.raises(DivergedError, match=r"diverged by step 20, and nothing was kept; lower its learning_rate"):
        identify(pack, tmp_path / "own.safetensors", config, runtime=RUNTIME, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_verifier_that_its_last_step_spoiled_is_not_kept(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steep(features: torch.Tensor, centres: torch.Tensor, person: torch.Tensor) -> torch.Tensor:
        return margin_loss(features, centres, person) + (0 * features).sqrt().sum()  # finite, and its gradient is not

    monkeypatch.setattr(identification, "margin_loss", steep)
    with pytest.raises(DivergedError, match="diverged by step 1, and nothing was kept"):
        identify(pack, tmp_path / "own.safetensors", replace(BRIEF, steps=1), runtime=RUNTIME, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_people_who_appear_once_train_no_verifier(strangers: Pack, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one picture of each person.*give one with --verifier, an ONNX file"):
        identify(strangers, tmp_path / "own.safetensors", BRIEF, runtime=RUNTIME, progress=False)
    assert list(tmp_path.iterdir()) == []
    assert open_verifier(strangers, progress=False) is None


def test_a_packs_own_verifier_is_trained_once(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identification, "identify", partial(identify, config=BRIEF, runtime=RUNTIME))
    pictures = torch.rand(2, 3, 16, 16)
    first = open_verifier(pack, progress=False)
    assert first is not None
    assert not (pack.path / OWN).exists()  # until anything is asked of it
    answer = first(pictures)
    stamp = (pack.path / OWN).stat().st_mtime_ns
    monkeypatch.setattr(identification, "identify", None)
    second = open_verifier(pack, progress=False)
    assert second is not None
    np.testing.assert_allclose(answer, second(pictures), atol=1e-6)
    assert (pack.path / OWN).stat().st_mtime_ns == stamp
    assert Pack.open(pack.path).hash == pack.hash  # it lies beside the pack and is no part of it


def test_a_given_file_is_opened_by_what_it_is(pack: Pack, tmp_path: Path) -> None:
    faces = prepare(portrait_source(30, 1), tmp_path / "pack", size=16, jobs=1, progress=False)
    onnx = averaging_network(tmp_path / "mean.onnx", batch=1)
    with pytest.raises(InputError, match="is none of the known networks"):
        open_verifier(faces, onnx)
    (tmp_path / "mean.json").write_text('{"pixels": "0..1"}')
    with pytest.raises(InputError, match="no landmarks"):
        open_verifier(faces, onnx)
    faces = replace(faces, landmarks=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)))
    assert isinstance(open_verifier(faces, onnx), OnnxVerifier)
    identify(pack, tmp_path / "own.safetensors", BRIEF, runtime=RUNTIME, progress=False)
    opened = open_verifier(faces, str(tmp_path / "own.safetensors"))
    assert isinstance(opened, TorchVerifier)
    assert opened.name == "own.safetensors"
