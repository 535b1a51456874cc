"""The networks of a bundle as ONNX files: the device's up to the noise; the server's and the attacker's after it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.copying import copy_network
from oneway.models.noise import Noisy
from oneway.models.seeded import Seeded
from oneway.shipping.contract import Column, Quantisation
from oneway.tasks.attributes import Attributes
from oneway.tasks.multiclass import Multiclass
from oneway.tasks.regression import Regression
from oneway.tasks.task import Task

OPSET = 18
"""Of the operators that both files are made of; onnxruntime, its build for browsers and mobile ones run them."""


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


class Inverse(nn.Module):
    """Maps levels (n, numbers) to the pictures that an attacker draws of them, bytes (n, size, size, 3)."""

    def __init__(self, decoder: nn.Module, shape: tuple[int, ...], quantisation: Quantisation) -> None:
        super().__init__()
        self.decoder, self.shape, self.step = decoder, shape, quantisation.step

    def forward(self, levels: Tensor) -> Tensor:
        """Give what the levels stand for to the decoder."""
        pictures: Tensor = self.decoder((levels.float() * self.step).view(-1, *self.shape))
        return (pictures * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


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
    _write(device, torch.zeros(2, size, size, 3, dtype=torch.uint8), path, "picture", ["vector"])


def write_server(server: Server, path: Path) -> None:
    """Write server.onnx: `levels`, int8 (n, numbers), to `values` and `decisions`, float32.

    Raises:
        InputError: naming the layer that cannot be exported.

    """
    levels = torch.zeros(2, torch.Size(server.shape).numel(), dtype=torch.int8)
    _write(server, levels, path, "levels", ["values", "decisions"])


def write_attacker(inverse: Inverse, path: Path) -> None:
    """Write attacker.onnx: `levels`, int8 (n, numbers), to `picture`, uint8 (n, size, size, 3).

    Raises:
        InputError: naming the layer that cannot be exported.

    """
    levels = torch.zeros(2, torch.Size(inverse.shape).numel(), dtype=torch.int8)
    _write(inverse, levels, path, "levels", ["picture"])


def _write(network: nn.Module, example: Tensor, path: Path, taken: str, given: list[str]) -> None:
    """Export a copy of a network, with the number of pictures free and its weights in the file itself."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            "onnxscript, which torch exports by, is not installed; install oneway[export] as `oneway doctor` says"
        ) from error
    network = copy_network(network).eval().requires_grad_(False)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch logs whole graphs; what fails is said below
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = ({0: torch.export.Dim("n", min=1)},)
            torch.onnx.export(
                torch.export.export(network, (example,), dynamic_shapes=free, strict=False),
                (example,),
                path,
                input_names=[taken],
                output_names=given,
                dynamic_shapes=free,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever the network does, and its own errors
        raise InputError(
            f"{path.name} cannot be made: {_layer(network, example) or 'the network'} cannot be exported "
            f"({_reason(error)}); put a layer in its place that torch.onnx can, and train again"
        ) from error
    finally:
        logging.disable(before)


def _layer(network: nn.Module, example: Tensor) -> str | None:
    """Name the first innermost layer that cannot be exported by itself, by giving each what it is given."""
    taken: dict[str, tuple[object, ...]] = {}

    def note(name: str) -> object:
        return lambda _module, inputs: taken.setdefault(name, inputs)

    leaves = {name: module for name, module in network.named_modules() if name and not list(module.children())}
    hooks = [module.register_forward_pre_hook(note(name)) for name, module in leaves.items()]
    with torch.no_grad():
        network(example)
    for hook in hooks:
        hook.remove()
    for name, inputs in taken.items():
        try:
            torch.export.export(leaves[name], inputs)
        except Exception:  # as above
            return f"its layer {name} ({type(leaves[name]).__name__})"
    return None


def _reason(error: BaseException) -> str:
    """Give the first line of what went wrong at first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
