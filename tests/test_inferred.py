"""Attributes that the task does not decide are inferred of every kind, and what cannot be is said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray

import oneway
from oneway.attacks.access import FeatureDump
from oneway.attacks.fit import Place
from oneway.attacks.inference import InferenceConfig
from oneway.auditing.attributes import DECIDED, LEFT_OUT, inferred
from oneway.auditing.config import AuditConfig
from oneway.auditing.decisions import JITTER, attack_decisions
from oneway.auditing.steps import StepResult
from oneway.data.columns import classes
from oneway.data.prepare import prepare
from oneway.report.values import Refused
from oneway.runtime import launch
from test_columns import HAIR, mixed

COUNT = 300
QUICK = InferenceConfig(width=8, batch_size=32, check_every=50, max_steps=200)
Told = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> oneway.Pack:
    """Hair says nothing of age, and smiling nothing of either; half know nothing of hats; all are of one kind."""
    generator = np.random.default_rng(0)
    columns = {
        "hair": classes(generator.choice(HAIR, COUNT).tolist()),
        "age": generator.normal(30, 8, COUNT),
        "smiling": generator.random(COUNT) < 0.5,
        "hat": [None if place % 2 else True for place in range(COUNT)],
        "kind": classes(["only"] * COUNT),
    }
    made = {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in columns.items()}
    path = tmp_path_factory.mktemp("inferred") / "pack"
    return prepare(mixed(COUNT, **made), path, size=16, jobs=1, progress=False)


def told(pack: oneway.Pack, *names: str) -> Told:
    """What would tell some attributes: a bit for each class, or the number in deviations."""
    found: Told = {}
    for part in (pack.public, pack.validation, pack.test):
        columns = []
        for name in names:
            values = part.values(name)
            if pack.kind(name) == "classes":
                columns.append(values[:, None] == np.arange(len(pack.classes[name])))
            else:
                columns.append(((values - 30) / 8 if name == "age" else values)[:, None])
        found[part.split] = np.concatenate(columns, axis=1).astype(np.float32)
    return found


def step(
    pack: oneway.Pack, tmp_path: Path, features: Told, decisions: Told | None, task: tuple[str, ...]
) -> StepResult:
    context: Any = SimpleNamespace(
        pack=pack,
        victim=SimpleNamespace(task=task, decisions=decisions),
        stolen=SimpleNamespace(access=FeatureDump(dict(features), torch.device("cpu"))),
        config=AuditConfig(inference=QUICK),
    )
    fabric = launch(oneway.RuntimeConfig(device="cpu", precision="32"))
    return inferred(
        context,
        Place(fabric=fabric, checkpoint=tmp_path / "step.pt", checkpoint_seconds=math.inf, progress=False),
    )


def test_classes_and_numbers_are_inferred_where_features_show_them(pack: oneway.Pack, tmp_path: Path) -> None:
    found = step(pack, tmp_path, told(pack, "hair", "age"), told(pack, "age"), ("smiling",))
    scores, alone = found.facts.scores, found.facts.ways[DECIDED].scores
    assert set(scores) == set(alone) == {"inferred.hair", "inferred.age"}
    hair, age = scores["inferred.hair"], scores["inferred.age"]
    assert hair is not None
    assert age is not None
    assert (hair.unit, age.unit) == ("share", "R2")
    assert hair.value > 0.9
    assert age.value > 0.8
    assert alone["inferred.age"].value > 0.99  # type: ignore[union-attr]
    assert abs(alone["inferred.hair"].value) < 0.3  # type: ignore[union-attr]


def test_what_cannot_be_inferred_is_left_out_with_the_reason(pack: oneway.Pack, tmp_path: Path) -> None:
    found = step(pack, tmp_path, told(pack, "age"), None, ("hair", "age"))
    assert found.facts.attributes == ["smiling"]
    assert not found.facts.scores
    assert not found.facts.ways
    said = str(found.facts.facts[LEFT_OUT])
    silent = sum(part.missing("hat") for part in (pack.public, pack.validation, pack.test))
    assert f"hat: {silent} pictures have no label of it" in said
    assert "all public images are of one class of kind, 'only'" in said
    refused = step(pack, tmp_path, told(pack, "age"), None, ("hair", "age", "smiling")).refusal
    assert isinstance(refused, Refused)
    assert refused.refused.startswith("no attribute can be inferred: hat: ")


@dataclass(frozen=True)
class Context:
    """What the attack on decisions looks at first."""

    victim: Any
    config: AuditConfig
    stolen: Any = None


def test_numbers_that_are_decided_are_attacked_as_they_are_and_bits_with_a_jitter(
    pack: oneway.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, FeatureDump] = {}

    def look(inner: Any, *_: Any) -> StepResult:
        given["access"] = inner.stolen.access
        raise StopIteration

    monkeypatch.setattr("oneway.auditing.reconstruction.inversion", look)
    decisions = told(pack, "hair", "age")
    context: Any = Context(victim=SimpleNamespace(decisions=decisions), config=AuditConfig())
    place: Any = SimpleNamespace(fabric=SimpleNamespace(device=torch.device("cpu")))
    with pytest.raises(StopIteration):
        attack_decisions(context, place, {})
    attacked = given["access"].features(pack.test, slice(None)).numpy()
    np.testing.assert_array_equal(attacked[:, 3], decisions["test"][:, 3])
    apart = attacked[:, :3] - (2 * decisions["test"][:, :3] - 1)
    assert 0.5 * JITTER < apart.std() < 2 * JITTER
