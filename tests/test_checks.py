"""What can be checked is checked before anything trains or a folder is taken; then the correction is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import oneway
from oneway.judges.identification import open_verifier
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.experiment import experiment
from oneway.sweep.benchmark import DefencesConfig, compare_defences
from oneway.sweep.store import Setting, Store

pytestmark = pytest.mark.whole


class Trained(Exception):
    """All checks passed, and the first setting is to be made."""


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop where training would begin."""

    def make(self: Store, settings: Sequence[Setting], **_: Any) -> None:
        raise Trained

    monkeypatch.setattr(Store, "make", make)


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("names", "wrong", "message"),
    [
        (["layers"], {"cuts": ("layer2", "layer9")}, "cut 'layer9' does not exist"),
        (["tsne"], {"shown": ("Eyeglases", "Smiling")}, "attribute 'Eyeglases' does not exist"),
        (["strength"], {"single": "Smilling"}, "attribute 'Smilling' does not exist"),
        (["tradeoff"], {"perceptual_network": "resnet10t:absent"}, "'absent' are not a file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistyped_experiment_leaves_nothing_and_its_correction_is_taken(
    people: oneway.Pack,
    tiny: Any,
    tmp_path: Path,
    people_judge: Path,
    resnet_file: Path,
    names: list[str],
    wrong: dict[str, Any],
    message: str,
) -> None:
    out = tmp_path / "new" / "out"
    given = {"protect": tiny(), "cuts": ("layer2",), "perceptual_network": f"resnet10t:{resnet_file}"}
    with pytest.raises(oneway.InputError, match=message):
        experiment(names, people, out, ExperimentConfig(**(given | wrong)), verifier=people_judge, progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Trained):
        experiment(names, people, out, ExperimentConfig(**given), verifier=people_judge, progress=False)


@pytest.mark.usefixtures("untrained")
def test_a_benchmark_with_a_wrong_cut_or_verifier_leaves_nothing(
    people: oneway.Pack, people_judge: Path, tiny: Any, tmp_path: Path
) -> None:
    right = DefencesConfig(protect=tiny(), defences=("noise=1",))
    wrong = DefencesConfig(protect=tiny(), defences=("noise=1",), cuts=("layer2", "layer9"))
    with pytest.raises(oneway.InputError, match="cut 'layer9' does not exist"):
        compare_defences(people, tmp_path / "out", wrong, progress=False)
    with pytest.raises(oneway.InputError, match=r"absent\.onnx' is not a file"):
        compare_defences(people, tmp_path / "out", right, verifier=tmp_path / "absent.onnx", progress=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Trained):
        compare_defences(people, tmp_path / "out", right, verifier=people_judge, progress=False)


def test_a_pack_that_cannot_be_written_trains_no_verifier(
    other_pack: oneway.Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unable(dir: Path) -> None:
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", unable)
    with pytest.raises(oneway.InputError, match=r"where its own verifier would be kept; train one elsewhere by"):
        open_verifier(other_pack)
