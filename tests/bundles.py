"""A tiny bundle, written by hand: what `oneway export` leaves, without a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oneway.config import to_dict
from oneway.metrics.estimate import Estimate
from oneway.report.values import Utility
from oneway.shipping import client
from oneway.shipping.attacker import Attacker
from oneway.shipping.contract import (
    ATTACKER,
    BROWSER,
    CLIENT,
    CONTRACT,
    DEVICE,
    PARITY,
    SERVER,
    Column,
    Contract,
    Noise,
    Picture,
    Quantisation,
    Training,
)
from oneway.shipping.parity import Parity
from oneway.shipping.verify import NEEDED
from oneway.storage.inputs import file_hash

SIZE, NUMBERS = 8, 16
COLUMNS = (
    Column(name="smiling", kind="binary", first=0, threshold=0.5),
    Column(name="hair", kind="classes", first=1, classes=("black", "blond")),
    Column(name="age", kind="number", first=3),
)


POINTS = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
THIEF = Attacker(name="mirror", pictures=40, converged=True, ssim=0.4, floor=0.3, seen=None, results="0" * 64)


def weights(numbers: int = NUMBERS) -> np.ndarray:
    """What numbers are multiplied by for logits (numbers, 4)."""
    return np.random.default_rng(5).normal(size=(numbers, 4)).astype(np.float32)


def write_bundle(
    folder: Path,
    bits: int = 8,
    *,
    attacker: bool = False,
    utility: float = 0.5,
    numbers: int = NUMBERS,
    size: int = SIZE,
    points: bool = False,
) -> Contract:
    """Write a bundle whose device averages a picture and whose server is linear, as its attacker is."""
    middle = Picture(size=size, crop="the largest square in the middle", fit="crop")
    folder.mkdir()
    quantisation = Quantisation(bits=bits, clip=2.0)
    arrays = {"pixels": np.random.default_rng(4).normal(size=(size * size * 3, numbers)).astype(np.float32) / 1000}
    nodes = [
        helper.make_node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "pixels"], ["vector"]),
    ]
    taken = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["n", size, size, 3])
    _save(folder / DEVICE, nodes, taken, {"vector": numbers}, arrays)
    arrays = {
        "weights": weights(numbers) * np.float32(quantisation.step),
        "half": np.float32([0.5]),
        "parts": np.int64([1, 2, 1]),
    }
    nodes = [
        helper.make_node("Cast", ["levels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "weights"], ["logits"]),
        helper.make_node("Split", ["logits", "parts"], ["a", "b", "age"], axis=1),
        helper.make_node("Sigmoid", ["a"], ["smiling"]),
        helper.make_node("Softmax", ["b"], ["hair"], axis=1),
        helper.make_node("Concat", ["smiling", "hair", "age"], ["values"], axis=1),
        helper.make_node("Greater", ["smiling", "half"], ["more"]),
        helper.make_node("Cast", ["more"], ["smiles"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["hair"], ["place"], axis=1),
        helper.make_node("Cast", ["place"], ["class"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["smiles", "class", "age"], ["decisions"], axis=1),
    ]
    taken = helper.make_tensor_value_info("levels", TensorProto.INT8, ["n", numbers])
    _save(folder / SERVER, nodes, taken, {"values": 4, "decisions": 3}, arrays)
    if attacker:
        _write_attacker(folder / ATTACKER, numbers, quantisation.step, size)
    for name in (CLIENT, BROWSER):
        (folder / name).write_bytes(Path(client.__file__).with_name(name).read_bytes())
    for name in set(NEEDED) - {DEVICE, SERVER, CLIENT, BROWSER}:
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / PARITY).write_text(json.dumps(to_dict(_parity(utility))), encoding="utf-8")
    contract = Contract(
        oneway="0.1.0",
        training=Training(pack="faces", hash="0" * 8, pictures=4, people=2),
        picture=Picture(size=size, crop="a face", points=POINTS) if points else middle,
        numbers=numbers,
        noise=Noise(deviation=0.2),
        quantisation=quantisation,
        columns=COLUMNS,
        attacker=THIEF if attacker else None,
        files={each.name: file_hash(each) for each in sorted(folder.iterdir())},
    )
    (folder / CONTRACT).write_text(json.dumps(to_dict(contract)), encoding="utf-8")
    return contract


def _write_attacker(path: Path, numbers: int, step: float, size: int) -> None:
    arrays = {
        "weights": np.random.default_rng(6).normal(size=(numbers, size * size * 3)).astype(np.float32) * step,
        "most": np.float32([255]),
        "shape": np.int64([-1, size, size, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["levels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["float", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["shares"]),
        helper.make_node("Mul", ["shares", "most"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["pixels"]),
        helper.make_node("Cast", ["pixels"], ["picture"], to=TensorProto.UINT8),
    ]
    taken = helper.make_tensor_value_info("levels", TensorProto.INT8, ["n", numbers])
    given = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["n", size, size, 3])
    _save(path, nodes, taken, {}, arrays, given)


def _parity(utility: float) -> Parity:
    value = Estimate(value=utility, low=utility - 0.1, high=utility + 0.1, n=9, unit="MCC")
    told = Utility(value=value, title="mean MCC", of="smiling", each={})
    return Parity(pictures=9, features=0.0, unrounded=1.0, sent=1.0, rounding=1.0, torch=told, bundle=told)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    taken: onnx.ValueInfoProto,
    given: dict[str, int],
    arrays: dict[str, np.ndarray],
    *more: onnx.ValueInfoProto,
) -> None:
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count]) for name, count in given.items()]
    outputs += more
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, path.stem, [taken], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
