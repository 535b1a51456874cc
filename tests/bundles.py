"""A tiny bundle, written by hand: what `oneway export` leaves, without a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from oneway.config import to_dict
from oneway.shipping import client
from oneway.shipping.contract import (
    BROWSER,
    CLIENT,
    CONTRACT,
    DEVICE,
    SERVER,
    Column,
    Contract,
    Noise,
    Picture,
    Quantisation,
    Training,
)
from oneway.shipping.verify import NEEDED
from oneway.storage.inputs import file_hash

SIZE, NUMBERS = 8, 16
COLUMNS = (
    Column(name="smiling", kind="binary", first=0, threshold=0.5),
    Column(name="hair", kind="classes", first=1, classes=("black", "blond")),
    Column(name="age", kind="number", first=3),
)


def weights() -> np.ndarray:
    """What numbers are multiplied by for logits (NUMBERS, 4)."""
    return np.random.default_rng(5).normal(size=(NUMBERS, 4)).astype(np.float32)


def write_bundle(folder: Path, bits: int = 8) -> Contract:
    """Write a bundle whose device averages a picture and whose server is linear."""
    folder.mkdir()
    quantisation = Quantisation(bits=bits, clip=2.0)
    arrays = {"pixels": np.random.default_rng(4).normal(size=(SIZE * SIZE * 3, NUMBERS)).astype(np.float32) / 1000}
    nodes = [
        helper.make_node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "pixels"], ["vector"]),
    ]
    taken = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["n", SIZE, SIZE, 3])
    _save(folder / DEVICE, nodes, taken, {"vector": NUMBERS}, arrays)
    arrays = {
        "weights": weights() * np.float32(quantisation.step),
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
    taken = helper.make_tensor_value_info("levels", TensorProto.INT8, ["n", NUMBERS])
    _save(folder / SERVER, nodes, taken, {"values": 4, "decisions": 3}, arrays)
    for name in (CLIENT, BROWSER):
        (folder / name).write_bytes(Path(client.__file__).with_name(name).read_bytes())
    for name in set(NEEDED) - {DEVICE, SERVER, CLIENT, BROWSER}:
        (folder / name).write_text("{}", encoding="utf-8")
    contract = Contract(
        oneway="0.1.0",
        training=Training(pack="faces", hash="0" * 8, pictures=4, people=2),
        picture=Picture(size=SIZE, crop="the largest square in the middle", fit="crop"),
        numbers=NUMBERS,
        noise=Noise(deviation=0.2),
        quantisation=quantisation,
        columns=COLUMNS,
        files={each.name: file_hash(each) for each in sorted(folder.iterdir())},
    )
    (folder / CONTRACT).write_text(json.dumps(to_dict(contract)), encoding="utf-8")
    return contract


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    taken: onnx.ValueInfoProto,
    given: dict[str, int],
    arrays: dict[str, np.ndarray],
) -> None:
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", count]) for name, count in given.items()]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, path.stem, [taken], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
