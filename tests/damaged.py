"""A small house of everything that is read from files, untrained; tests damage copies of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

import oneway
from audited import figure
from conftest import TINY
from dumps import write_dump
from oneway.auditing.control import PICTURES, SCORES
from oneway.auditing.order import anonymous, hidden_order
from oneway.auditing.steps import StepFacts, StepResult, Steps
from oneway.auditing.victim import Victim
from oneway.config import from_dict, override, to_dict
from oneway.data.packed import Pack
from oneway.data.readers import folder as folders
from oneway.data.source import synthetic_source
from oneway.judges.identification import IdentificationConfig, _network
from oneway.metrics.estimate import Estimate
from oneway.protection.config import ProtectConfig, small
from oneway.protection.run import WEIGHTS, build, describe
from oneway.protection.train import Training
from oneway.report.asked import Asked, Data
from oneway.report.reports import RunReport, Validated
from oneway.report.sweeps import BenchmarkReport, BenchmarkRow, Choice, Shares
from oneway.report.values import SCHEMA, Utility
from oneway.runtime import launch
from oneway.storage import runs
from oneway.tasks.registry import task_of
from trees import folder_tree

SIZE = 16
CONFIG: ProtectConfig = override(small(), TINY | {"steps": 2, "game.warmup": 0.0})


def victim(pack: Pack) -> Victim:
    """What is audited beside a control."""
    return Victim(name="mine", kind="features", identity={"features": "f.npz", "hash": "0" * 64}, pack=pack)


def question(pack: Pack) -> Asked:
    """What the audit beside a control is asked."""
    return Asked(audit={"seed": 0}, victim=victim(pack).identity, data=Data(**pack.about), images=False, judges=[])


def build_house(root: Path) -> None:
    """Write one of each kind of file that is read; training takes no part in it."""
    source = synthetic_source(20, 2, 1)
    pack = oneway.prepare(source, root / "pack", size=SIZE, jobs=1, progress=False)
    with patch("oneway.data.prepare.describe", side_effect=KeyboardInterrupt), suppress(KeyboardInterrupt):
        oneway.prepare(source, root / "begun", size=SIZE, jobs=1, progress=False)
    tree = folder_tree(root / "tree")
    oneway.prepare(folders.read(tree), root / "linked", size=SIZE, linked=True, progress=False)
    _run(root / "run", pack)
    _checkpoint(root / "unfinished", pack)
    _audit(root / "audit", pack)
    _benchmark(root / "benchmark", pack)
    (root / "store" / "runs").mkdir(parents=True)
    (root / "store" / "audits").mkdir()
    shutil.copytree(root / "run", root / "store" / "runs" / "r")
    shutil.copytree(root / "audit", root / "store" / "audits" / "a")
    write_network(root / "judge.onnx")
    (root / "judge.json").write_text('{"pixels": "0..1", "crop": [0, 0, 1], "side": 16}', encoding="utf-8")
    config = IdentificationConfig(width=0.125, feature_width=8)
    torch.manual_seed(0)
    network = _network(config, SIZE)
    runs.write_tensors(
        root / "own.safetensors", network.state_dict(), {"identification": to_dict(config), "size": SIZE}
    )
    save_file({"fc.weight": torch.zeros(1)}, root / "weights.safetensors")
    names = pack.table.column("name").to_pylist()
    features = np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float32)
    for suffix in ("npz", "parquet", "safetensors"):
        write_dump(root / f"dump.{suffix}", names, features)
    steps = Steps(root / "steps", None, checkpoint_seconds=0, progress=False)  # type: ignore[arg-type]
    steps.take(
        "floors", lambda _: StepResult(facts=StepFacts(validation={"mean": 1.0}), arrays={"scores": np.zeros(4)})
    )


def _run(folder: Path, pack: Pack) -> None:
    protector = build(CONFIG, size=SIZE, num_logits=len(pack.attributes))
    described = {"protect": runs.named(CONFIG), "network": None, **describe(pack, task_of(pack), folder)}
    described["data"]["path"] = "../pack"
    runs.write_json(folder / runs.CONFIG, described)
    runs.write_tensors(folder / WEIGHTS, protector.state_dict())
    report = RunReport(
        schema=SCHEMA,
        utility=from_dict(Utility, {"value": figure(0.5), "each": {"Smiling": figure(0.5)}}),
        validation=Validated(utility=0.5),
        provenance=runs.provenance(**described),
    )
    runs.write_json(folder / runs.RESULTS, to_dict(report))


def _checkpoint(folder: Path, pack: Pack) -> None:
    described = {"protect": runs.named(CONFIG), "network": None, **describe(pack, task_of(pack), folder)}
    runs.write_json(folder / runs.CONFIG, described)
    protector = build(CONFIG, size=SIZE, num_logits=len(pack.attributes))
    training = Training(launch(CONFIG.runtime), pack, task_of(pack), CONFIG, protector, folder)
    training.play()  # or its optimizers have no state
    training.step = 1
    training.save()


def _audit(folder: Path, pack: Pack) -> None:
    estimate, refused = figure(0.5), {"refused": "it is made up"}
    versions = ("oneway", "torch", "torchvision", "python", "machine", "created")
    report = {
        "schema": SCHEMA,
        "kind": "audit",
        "victim": {"name": "mine", "kind": "run", "threat_models": ["black box"], "noisy": False, "features": [4]}
        | {"picture_size": SIZE, "task": ["Smiling"]},
        "utility": None,
        "verdict": {"level": "open", "sentence": "Made up.", "decides": None, "reasons": [], "numbers": []},
        "leakage": {"picture_similarity": estimate, "linkage": refused},
        "excess": {"picture_similarity": estimate, "linkage": refused},
        "attacks": {"inversion": {"scores": {"mse": estimate}}, "linkage": refused},
        "queries": refused,
        "floors": {"mean_picture": {"mse": estimate}},
        "decisions": refused,
        "validation": {"picture_similarity": {"score": 0.5, "floor": 0.1, "decisions": None}},
        "control": None,
        "judges": [],
        "unconverged": [],
        "guards": [{"name": "people", "passed": None, "message": "it is made up"}],
        "untested": [],
        "seconds": {"inversion": 1.0},
        "provenance": to_dict(question(pack)) | dict.fromkeys(versions, "1"),
    }
    runs.write_json(folder / runs.RESULTS, report)
    runs.write_json(folder / runs.CONFIG, to_dict(question(pack)))
    people = anonymous(pack.test.identities[hidden_order(pack.test)])
    np.savez_compressed(folder / SCORES, people=people, **{"inversion mse": np.linspace(0, 1, len(people))})
    np.save(folder / PICTURES, np.zeros((4, SIZE, SIZE, 3), dtype=np.uint8))


def _benchmark(folder: Path, pack: Pack) -> None:
    estimate = from_dict(Estimate, figure(0.5))
    leakage: Shares = dict.fromkeys(("picture_similarity", "feature_similarity", "linkage"), estimate)
    row = BenchmarkRow(
        cut="layer2",
        defence="noise",
        strength=0.5,
        utility=estimate,
        control_utility=estimate,
        leakage=leakage,
        excess=leakage,
        strongest="mirror",
        picture_similarity=estimate,
        linked=estimate,
        verdict="low",
        unconverged=[],
        validation=Choice(utility=0.99, leakage=dict.fromkeys(leakage, 0.1), excess=dict.fromkeys(leakage, 0.1)),
        run="runs/r",
        audit="audits/a",
    )
    control = replace(row, defence="none", strength=0.0, verdict="open")
    report = BenchmarkReport(rows=[control, row], decisions={"layer2": leakage}, provenance={})
    runs.write_json(folder / runs.RESULTS, to_dict(report))
    _run(folder / "runs" / "r", pack)


def write_network(
    path: Path,
    *,
    inputs: Sequence[str] = ("pictures",),
    side: int = SIZE,
    shape: Sequence[str | int] | None = None,
    kind: int = TensorProto.FLOAT,
    weight: float | None = None,
    elsewhere: bool = False,
) -> None:
    """Write an ONNX file of four linear features of the mean colours of pictures.

    Args:
        path: the file.
        inputs: names of its inputs, of which the first counts.
        side: pixels a side.
        shape: of its inputs, instead of pictures of that side.
        kind: of their numbers.
        weight: all of its weights.
        elsewhere: whether its weights are said to lie in a file that is not there.

    """
    shape = ["n", 3, side, side] if shape is None else shape
    axes = np.random.default_rng(1).normal(size=(64 if len(shape) == 2 else int(shape[1]), 4)).astype(np.float32)
    weights = numpy_helper.from_array(axes if weight is None else np.full_like(axes, weight), "axes")
    nodes = [
        helper.make_node("Cast", [inputs[0]], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool" if len(shape) == 4 else "Identity", ["numbers"], ["coarse"]),
        helper.make_node("Flatten", ["coarse"], ["flat"]),
        helper.make_node("MatMul", ["flat", "axes"], ["features"]),
    ]
    taken = [helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 4])
    model = helper.make_model(
        helper.make_graph(nodes, "net", taken, [given], [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path, save_as_external_data=elsewhere, location="absent.bin", size_threshold=0)
    path.with_name("absent.bin").unlink(missing_ok=True)
