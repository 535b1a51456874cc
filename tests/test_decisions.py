"""What the task's decisions alone give away, against an audit of the decisions as stored features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import oneway
from conftest import RUNTIME, Once
from oneway.auditing.config import AuditConfig
from oneway.auditing.victim import from_run
from oneway.data.dump import write_dump
from oneway.models.identification import load
from oneway.models.verifier import Verifier
from oneway.runtime import launch

CONFIG = AuditConfig(attackers=("mirror",), steps=100, brief=True, runtime=RUNTIME)


@pytest.fixture(scope="module")
def judge(people_judge: Path) -> Verifier:
    return load(people_judge)


@pytest.fixture(scope="module")
def run(once: Once, people: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig]) -> oneway.Run:
    """An encoder that decides something."""
    config = tiny({"game.pixel": 0.0, "steps": 200, "learning_rate": 1e-2, "network.cut": "layer1"})
    path = once("decided", lambda path: oneway.protect(people, path, config, progress=False))
    return oneway.Run.open(path, people)


def test_they_are_attacked_as_stored_decisions_are(
    run: oneway.Run, people: oneway.Pack, judge: Verifier, tmp_path: Path
) -> None:
    outputs = from_run(run, launch(RUNTIME)).outputs
    assert outputs is not None
    parts = (people.public, people.validation, people.test)
    signs = np.concatenate([np.sign(outputs[part.split]) for part in parts]).astype(np.float32)
    write_dump(tmp_path / "signs.npz", [name for part in parts for name in part.names], signs)
    given: dict[str, Any] = {"data": people, "config": CONFIG, "verifier": judge, "images": False, "progress": False}
    ours = oneway.audit(run, out=tmp_path / "run", **given)
    theirs = oneway.audit(features=tmp_path / "signs.npz", out=tmp_path / "dump", control=tmp_path / "run", **given)
    decisions = ours["decisions"]
    drawn = theirs["attacks"]["inversion"]["attackers"]["linear"]
    for score in ("face_similarity", "mse", "ssim"):
        assert decisions[score] == drawn[score]
    assert decisions["feature_similarity"] == theirs["attacks"]["feature"]["feature_similarity"]
    assert any(way["rank_1"] == decisions["rank_1"] for way in theirs["attacks"]["linkage"]["ways"].values())
    # Without a control, they are a share of what the encoder itself gives away.
    assert decisions["leakage"]["feature_similarity"] == theirs["leakage"]["feature_similarity"]
    assert 0 < decisions["leakage"]["feature_similarity"]["value"] < 1
    assert any(reason.startswith("of what this encoder gives away") for reason in ours["verdict"]["reasons"])


def test_where_there_is_no_task_there_are_none(people: oneway.Pack, judge: Verifier, tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 4, 4, stride=4)
    results = oneway.audit(
        module, data=people, out=tmp_path / "audit", config=CONFIG, verifier=judge, images=False, progress=False
    )
    assert results["decisions"]["refused"] == "what the encoder's task decides is not known"
    assert "decisions alone" not in (tmp_path / "audit" / "report.html").read_text()
