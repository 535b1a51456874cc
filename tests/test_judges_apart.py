"""Two judges are two networks: what one sees of who trained with the other is no independent figure else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

import oneway
from oneway.auditing.guards import check_distinct
from oneway.judges.identification import open_verifiers
from oneway.judges.verifier import Verifier


class Own:
    """A verifier of one's own that states no fingerprint."""

    fingerprint = None

    def __init__(self, verifier: Verifier, name: str, sign: float) -> None:
        self.verifier, self.name, self.sign = verifier, name, sign

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        return np.float32(self.sign) * self.verifier(pictures, landmarks)


def copied(judge: Path, path: Path, *, scale: float | None = None) -> Path:
    """Copy a judge's file, perhaps exported anew with features of another length."""
    if scale is None:
        shutil.copy(judge, path)
    else:
        model = onnx.load(judge)
        for weights in model.graph.initializer:
            weights.CopyFrom(numpy_helper.from_array(scale * numpy_helper.to_array(weights), weights.name))
        onnx.save(model, path)
    path.with_suffix(".json").write_bytes(judge.with_suffix(".json").read_bytes())
    return path


@pytest.mark.parametrize("scale", [None, 2.0], ids=["the same file", "exported anew"])
def test_one_network_under_two_names_is_no_second_judge(
    people: oneway.Pack, people_judge: Path, tmp_path: Path, scale: float | None
) -> None:
    verifiers = open_verifiers(people, [people_judge, copied(people_judge, tmp_path / "unseen.onnx", scale=scale)])
    assert (verifiers[0].fingerprint == verifiers[1].fingerprint) == (scale is None)
    with pytest.raises(oneway.InputError, match=r"'judge\.onnx' and 'unseen\.onnx' are one network"):
        check_distinct(verifiers, people)


def test_the_audit_refuses_it_before_anything_is_trained(
    people: oneway.Pack, people_judge: Path, tmp_path: Path
) -> None:
    verifiers = open_verifiers(people, [people_judge, copied(people_judge, tmp_path / "unseen.onnx")])
    given: dict[str, Any] = {"data": people, "out": tmp_path / "out", "verifier": verifiers, "progress": False}
    with pytest.raises(oneway.InputError, match="give each network once"):
        oneway.audit(nn.Sequential(nn.AvgPool2d(8), nn.Flatten()), **given)
    assert not (tmp_path / "out").exists()


def test_networks_that_are_two_are_taken(people: oneway.Pack, judge: Verifier) -> None:
    check_distinct([judge], people)
    check_distinct([judge, Own(judge, "own", -1.0)], people)
    with pytest.raises(oneway.InputError, match="are one network"):
        check_distinct([judge, Own(judge, "own", -1.0), Own(judge, "another", 1.0)], people)
