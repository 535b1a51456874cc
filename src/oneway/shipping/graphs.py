"""The networks of a bundle as ONNX files: the device's up to the noise; the server's and the attacker's after it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.exporting import write_onnx
from oneway.models.noise import Noisy
from oneway.models.seeded import Seeded
from oneway.shipping.contract import Column, Quantisation
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.regression import Regression
from oneway.tasks.task import Task


class Device(nn.Module):
    """Maps bytes (n, size, size, 3) to the numbers that are sent, (n, numbers), before any noise."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, picture: Tensor) -> Tensor:
        """Scale bytes to 0..1, and encode."""
        return self.encode(picture.permute(0, 3, 1, 2).float() / 255)

    def encode(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to numbers (n, numbers)."""
        encode = self.encoder.clean if isinstance(self.encoder, Noisy) else self.encoder
        features: Tensor = encode(pictures).float()
        return features.flatten(1)


class Server(nn.Module):
    """Maps levels (n, numbers) to values and decisions, as `contract.Column` says what they are."""

    def __init__(self, classifier: nn.Module, task: Task, shape: tuple[int, ...], quantisation: Quantisation) -> None:
        super().__init__()
        self.classifier, self.shape, self.step = classifier, shape, quantisation.step
        self.parts = [(part, part.num_logits) for part in task.parts]

    def forward(self, levels: Tensor) -> tuple[Tensor, Tensor]:
        """Give what the levels stand for to the classifier, and say what its logits mean."""
        return self.answer(levels.float() * self.step)

    def answer(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Map numbers (n, numbers), rounded or not, to values and decisions."""
        logits = self.classifier(numbers.view(-1, *self.shape))
        values, decisions = [], []
        for (part, _), own in zip(self.parts, logits.split([count for _, count in self.parts], dim=1), strict=True):
            value, decision = _answer(part, own)
            values.append(value)
            decisions.append(decision)
        return torch.cat(values, dim=1), torch.cat(decisions, dim=1)


def _answer(part: Task, logits: Tensor) -> tuple[Tensor, Tensor]:
    if isinstance(part, Attributes):
        return logits.sigmoid(), (logits > 0).float()
    if isinstance(part, Multiclass):
        return logits.softmax(dim=1), logits.argmax(dim=1, keepdim=True).float()
    assert isinstance(part, Regression)
    numbers = logits * part.deviation + part.mean
    return numbers, numbers


def columns_of(task: Task) -> tuple[Column, ...]:
    """Say what server.onnx answers for a task.

    Raises:
        InputError: for a task of another package, whose decisions no graph can make.

    """
    columns: list[Column] = []
    first = 0
    for part in task.parts:
        match part:
            case Attributes():
                columns += [
                    Column(name=name, kind="binary", first=first + place, threshold=0.5)
                    for place, name in enumerate(part.columns)
                ]
            case Multiclass():
                columns.append(Column(name=part.columns[0], kind="classes", first=first, classes=part.classes))
            case Regression():
                columns.append(Column(name=part.columns[0], kind="number", first=first))
            case _:
                raise InputError(
                    f"the task {part.name} is of another package, and its decisions are no part of a graph; export a "
                    "run of attributes, multiclass or regression"
                )
        first += part.num_logits
    return tuple(columns)


def noise_of(encoder: nn.Module) -> float | None:
    """Give the deviation of the noise that an encoder adds last, and none if it draws nothing.

    Raises:
        InputError: naming the layer, if it draws anything else, which a graph cannot.

    """
    last = encoder.noise if isinstance(encoder, Noisy) else None
    for name, module in encoder.named_modules():
        if isinstance(module, Seeded) and not (module is encoder and last is not None):
            raise InputError(
                f"the encoder's layer {name or 'at its end'} ({type(module).__name__}) draws anew for every picture, "
                "which a graph cannot, and only Gaussian noise at the end is drawn beside it; export a run with "
                "network.noise, or without that defence"
            )
    return last


def write_device(device: Device, size: int, path: Path) -> None:
    """Write device.onnx: `picture`, uint8 (n, size, size, 3), to `vector`, float32 (n, numbers).

    Raises:
        InputError: naming the layer that cannot be exported.

    """
    write_onnx(device, torch.zeros(2, size, size, 3, dtype=torch.uint8), path, "picture", ["vector"])


def write_server(server: Server, path: Path) -> None:
    """Write server.onnx: `levels`, int8 (n, numbers), to `values` and `decisions`, float32.

    Raises:
        InputError: naming the layer that cannot be exported.

    """
    levels = torch.zeros(2, torch.Size(server.shape).numel(), dtype=torch.int8)
    write_onnx(server, levels, path, "levels", ["values", "decisions"])


def write_attacker(kept: Path, shape: tuple[int, ...], quantisation: Quantisation, path: Path) -> None:
    """Write attacker.onnx: `levels`, int8 (n, numbers), to `picture`, uint8 (n, size, size, 3).

    Args:
        kept: the attacker that an audit has left: `features`, float32 (n, *shape), to `picture`, float32
            (n, 3, size, size) in 0..1.
        shape: of one picture's features.
        quantisation: what the levels stand for.
        path: the file.

    """
    import onnx
    from onnx import TensorProto, compose, helper, numpy_helper

    drawing = compose.add_prefix(onnx.load(kept), "drawing_")
    numbers = torch.Size(shape).numel()
    (size,) = {each.dim_value for each in drawing.graph.output[0].type.tensor_type.shape.dim[2:]}

    def joined(name: str, nodes: list[Any], taken: Any, given: Any, constants: Mapping[str, ArrayLike]) -> Any:
        held = [numpy_helper.from_array(np.asarray(value), each) for each, value in constants.items()]
        graph = helper.make_graph(nodes, name, [taken], [given], held)
        return helper.make_model(graph, opset_imports=drawing.opset_import, ir_version=drawing.ir_version)

    before = joined(
        "levels_to_features",
        [
            helper.make_node("Cast", ["levels"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "step"], ["values"]),
            helper.make_node("Reshape", ["values", "shape"], ["features"]),
        ],
        helper.make_tensor_value_info("levels", TensorProto.INT8, ["n", numbers]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", *shape]),
        {"step": np.float32(quantisation.step), "shape": [-1, *shape]},
    )
    after = joined(
        "shares_to_bytes",
        [
            helper.make_node("Mul", ["shares", "most"], ["scaled"]),
            helper.make_node("Round", ["scaled"], ["rounded"]),
            helper.make_node("Clip", ["rounded", "least", "most"], ["clipped"]),
            helper.make_node("Cast", ["clipped"], ["bytes"], to=TensorProto.UINT8),
            helper.make_node("Transpose", ["bytes"], ["picture"], perm=[0, 2, 3, 1]),
        ],
        helper.make_tensor_value_info("shares", TensorProto.FLOAT, ["n", 3, size, size]),
        helper.make_tensor_value_info("picture", TensorProto.UINT8, ["n", size, size, 3]),
        {"least": np.float32(0), "most": np.float32(255)},
    )
    whole = compose.merge_models(before, drawing, io_map=[("features", "drawing_features")])
    onnx.save(compose.merge_models(whole, after, io_map=[("drawing_picture", "shares")]), path)
