"""Numbers that are none: in features, a verifier's answer, a stored dump, a flag; refused before any training."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

import oneway
from dumps import write_dump
from oneway.attacks.access import BlackBox
from oneway.auditing.stealing import steal
from oneway.auditing.victim import from_module
from oneway.cli import main
from oneway.config import override, to_dict
from oneway.data.batches import load
from oneway.data.dump import read_dump
from oneway.data.finite import check_finite
from oneway.judges.cache import known_features
from oneway.judges.judge import Judge
from oneway.laws import hints_of
from oneway.protection.defences.defence import Defence
from oneway.report.sweeps import BenchmarkReport
from oneway.storage import runs

pytestmark = pytest.mark.whole

CPU = Fabric(accelerator="cpu", devices=1)


class Spoilt(nn.Module):
    """Means over cells of the picture; for one picture they are something else."""

    def __init__(self, picture: Tensor, value: float, *, half: bool = False) -> None:
        super().__init__()
        self.register_buffer("picture", picture)
        self.value, self.half_precision = value, half

    def forward(self, pictures: Tensor) -> Tensor:
        features = nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)
        hit = (pictures == self.picture).flatten(1).all(dim=1)
        features = torch.where(hit[:, None], features * 0 + self.value, features)
        return features.half() if self.half_precision else features


def spoilt(part: Any, number: int, value: float, *, half: bool = False) -> Spoilt:
    return Spoilt(load(part, slice(number, number + 1))[0], value, half=half)


@pytest.mark.parametrize("split", ["public", "validation", "test"])
@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (float("inf"), False), (70_000.0, True)])
def test_one_picture_with_features_that_are_not_finite_is_named_before_anything_trains(
    pack: oneway.Pack, tmp_path: Path, split: str, value: float, half: bool
) -> None:
    part = getattr(pack, split)
    number = len(part) - 2
    victim = from_module(spoilt(part, number, value, half=half), "output", pack, CPU)
    told = rf"not finite for 1 of {len(part)} {split} pictures, first for '{part.names[number]}' \(number {number} of"
    with pytest.raises(oneway.InputError, match=told):
        steal(victim, CPU, tmp_path / "features", draws=2, seed=0, progress=False)


def test_who_has_answered_is_not_asked_again_and_not_said_to_be(
    pack: oneway.Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    victim = from_module(Spoilt(torch.ones(3, pack.size, pack.size), 0.0), "output", pack, CPU)
    to_ask = len(pack.validation) + len(pack.test) + 2 * len(pack.public)
    for left in (to_ask, len(pack.test), 0):
        steal(victim, CPU, tmp_path / "features", draws=2, seed=0, progress=True)
        told = capsys.readouterr().err.splitlines()
        assert [line.split(",")[0] for line in told] == ([f"ask the encoder: {left}/{left}"] if left else [])
        (tmp_path / "features" / "single" / "test.npy").unlink() if left == to_ask else None


def test_an_audit_of_such_an_encoder_leaves_nothing_and_the_mended_one_takes_its_folder(
    people: oneway.Pack, tmp_path: Path
) -> None:
    config = oneway.AuditConfig(runtime=oneway.RuntimeConfig(device="cpu", precision="32"))
    module = spoilt(people.test, 7, float("nan"))
    for _ in range(2):
        with pytest.raises(oneway.InputError, match="not finite for 1 of"):
            oneway.audit(module, data=people, out=tmp_path / "a" / "audit", config=config, progress=False)
        assert list(tmp_path.iterdir()) == []


def test_a_picture_met_while_an_encoder_is_asked_live_is_named(pack: oneway.Pack) -> None:
    asked = BlackBox(spoilt(pack.public, 5, float("inf")), CPU, pack.size)
    asked.features(pack.public, np.arange(5))
    with pytest.raises(oneway.InputError, match=rf"1 of 3 public pictures, first for '{pack.public.names[5]}'"):
        asked.features(pack.public, np.array([9, 5, 2]))


class Judging:
    """A verifier whose answer for bright pictures is none."""

    name, fingerprint = "spoilt.onnx", None

    def __call__(self, pictures: Tensor, *_: object) -> np.ndarray:  # type: ignore[type-arg]
        colours = pictures.mean(dim=(2, 3)) + 0.1
        vectors = (colours / colours.norm(dim=1, keepdim=True)).numpy()
        vectors[pictures.mean(dim=(1, 2, 3)).numpy() > 0.9] = np.nan
        return vectors


def test_a_verifiers_answer_that_is_not_finite_is_named(pack: oneway.Pack) -> None:
    judge = Judge(pack.test, pack.validation, Judging())
    white = torch.ones(2, 3, pack.size, pack.size)
    told = rf"verifier 'spoilt\.onnx' of reconstructions are not finite for 2 of 2 test pictures.*{pack.test.names[3]}"
    with pytest.raises(oneway.InputError, match=told):
        judge.measure([(white, white)], pack.test, index=np.array([3, 4]))
    brightest = float(load(pack.test, slice(None)).mean(dim=(1, 2, 3)).max())

    class Strict(Judging):
        def __call__(self, pictures: Tensor, *_: object) -> np.ndarray:  # type: ignore[type-arg]
            return np.where(pictures.mean(dim=(1, 2, 3)).numpy()[:, None] >= brightest - 1e-6, np.inf, np.eye(3)[:1])

    with pytest.raises(oneway.InputError, match=r"features of the verifier 'spoilt\.onnx' are not finite for \d+ of"):
        known_features(Strict(), pack.test)


def test_stored_numbers_that_single_precision_lacks_are_refused(pack: oneway.Pack, tmp_path: Path) -> None:
    names = [*pack.public.names, *pack.validation.names, *pack.test.names]
    features = np.ones((len(names), 3))
    features[2, 1] = 1e300
    write_dump(tmp_path / "dump.npz", names, features)
    with pytest.raises(oneway.InputError, match=rf"'{names[2]}' \(public\) are not finite in single precision"):
        read_dump(tmp_path / "dump.npz", pack)


def test_large_arrays_are_looked_at_to_their_end(pack: oneway.Pack) -> None:
    given = np.zeros((len(pack.private), 2, 3), dtype=np.float16)
    check_finite(given, pack.private, "they")
    given[[40, 90], 1, 2] = np.inf, np.nan
    with pytest.raises(oneway.InputError, match=rf"they are not finite for 2 of {len(given)} private.*\(number 40 of"):
        check_finite(given, pack.private, "they")


def configs() -> list[Any]:
    """Every config of the package, with its defaults."""
    found: dict[str, Any] = {}
    for module in pkgutil.walk_packages(oneway.__path__, "oneway."):
        if module.name != "oneway.__main__":
            for each in vars(importlib.import_module(module.name)).values():
                named = isinstance(each, type) and (each.__name__.endswith("Config") or each.__name__ == "Executor")
                if (named and dataclasses.is_dataclass(each)) or (isinstance(each, type) and issubclass(each, Defence)):
                    found[each.__qualname__] = each
    return [made for name, made in sorted(found.items()) if name != "Defence"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_of_any_config_may_be_nan_or_infinite(value: float) -> None:
    tried = 0
    for config in configs():
        for name, hint in hints_of(config).items():
            several = typing.get_origin(hint) is tuple and float in typing.get_args(hint)
            if hint is float or float in typing.get_args(hint):
                given = (value,) if several else value
                with pytest.raises(oneway.InputError, match=rf"{name} must be a finite number, not {value}"):
                    config(**{name: given})
                with pytest.raises(oneway.InputError, match=rf"{name} must be a finite number, not '{value}'"):
                    override(config(), {name: str(value)})
                tried += 1
    assert tried > 30


@pytest.mark.parametrize(
    "arguments",
    [
        ("protect", "{pack}", "--set", "game.pixel=nan"),
        ("protect", "{pack}", "--set", "learning_rate=inf"),
        ("protect", "{pack}", "--set", "steps=inf"),
        ("protect", "{pack}", "--defence", "noise=inf"),
        ("protect", "{pack}", "--defence", "recipe=nan"),
        ("benchmark", "defences", "{pack}", "--defence", "noise=nan"),
        ("experiment", "tradeoff", "{pack}", "--set", "perceptual=0,nan"),
        ("audit", "--data", "{pack}", "--features", "dump.npz", "--set", "breach=nan"),
        ("audit", "--data", "{pack}", "--features", "dump.npz", "--fail-above", "ssim=nan"),
        ("verifier", "{pack}", "--set", "learning_rate=nan"),
        ("prepare", "synthetic", "--people", "20", "--public", "nan"),
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_flag_that_is_no_number_is_one_line(
    arguments: tuple[str, ...], pack: oneway.Pack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main([*(each.format(pack=pack.path) for each in arguments), "--out", str(tmp_path / "out")])
    errors = capsys.readouterr().err
    assert exit.value.code == 2
    assert errors.startswith("error: "), errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bound", ["--utility", "--leakage"])
def test_a_bound_of_a_recommendation_is_a_number(
    bound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.write_json(tmp_path / "results.json", to_dict(BenchmarkReport(rows=[], decisions={}, provenance={})))
    with pytest.raises(SystemExit) as exit:
        main(["recommend", str(tmp_path), "--cut", "layer2", bound, "nan"])
    assert exit.value.code == 2
    assert "must be a finite number, not nan" in capsys.readouterr().err
