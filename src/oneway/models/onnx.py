"""Networks in ONNX files: encoders that others trained, in whatever framework, attacked as they are used."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.errors import InputError, unknown
from oneway.models.features import numbers
from oneway.onnx_session import session_options

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's colours (red, green, blue) in 0..1."""
Range = Literal["0..1", "-1..1", "0..255", "imagenet"]
RANGES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ((0.0,), (1.0,)),
    "-1..1": ((0.5,), (0.5,)),
    "0..255": ((0.0,), (1 / 255,)),
    "imagenet": IMAGENET,
}
"""What to subtract from a picture in 0..1, and then to divide by, for each range a network may expect."""
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
BYTES = "tensor(uint8)"
_MOST = 32
"""Pictures at a time where the graph leaves it free: a wide network's activations of many take gigabytes."""
_LOCATION = re.compile(rb"\n\x08location\x12([\x80-\xff]*[\x00-\x7f])")  # an entry's key, and its value's length


class Graph:
    """An ONNX file with one input, opened on the GPU where onnxruntime can use one.

    Args:
        path: the file; weights may lie in files beside it that it names.
        kind: what the network is for, as errors call it.
        takes: what its input is, likewise.

    Attributes:
        input: name, type and shape of the input.
        outputs: the same for each output.

    Raises:
        InputError: if the file is missing, no ONNX file, or has several inputs.

    """

    def __init__(self, path: Path, kind: str, takes: str = "the pictures") -> None:
        if not path.is_file():
            raise InputError(f"{kind} {str(path)!r} is not a file; give an ONNX file")
        providers: list[Any] = ["CPUExecutionProvider"]
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))  # rounding would hide what is there
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), session_options(), providers=providers)
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise InputError(f"{kind} {str(path)!r} is not a readable ONNX file ({error})") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise InputError(
                f"{kind} {str(path)!r} has {len(inputs)} inputs ({', '.join(i.name for i in inputs) or 'none'}); "
                f"it must have one, {takes}: export it with the others held constant"
            )
        self.path, self._kind, self._name = path, kind, f"{kind} {str(path)!r}"
        self.input: Any = inputs[0]
        self.outputs: list[Any] = self._session.get_outputs()

    def __reduce__(self) -> tuple[type[Graph], tuple[Path, str]]:
        """Open the file again where it is sent to another process."""
        return Graph, (self.path.absolute(), self._kind)

    def run(self, rows: NDArray[Any], output: str) -> NDArray[Any]:
        """Map rows (n, ...) to the output of that name, (n, ...), in the batches that the graph fixes, if it does.

        Raises:
            InputError: if the output has not the batch first.

        """
        count, fixed = len(rows), self.input.shape[0]
        workers = 1 if self._session.get_providers()[0] != "CPUExecutionProvider" else torch.get_num_threads()
        batch = fixed if isinstance(fixed, int) else min(-(-count // workers), _MOST)
        rows = np.concatenate([rows, rows[:1].repeat(-count % batch, axis=0)])  # fill the last batch of the graph

        def ask(start: int) -> Any:
            return self._session.run([output], {self.input.name: rows[start : start + batch]})[0]

        with ThreadPoolExecutor(workers) as pool:
            found = list(pool.map(ask, range(0, len(rows), batch)))
        for given in found:
            if np.ndim(given) < 2 or len(given) != batch:
                raise InputError(
                    f"{self._name}: output {output!r} has the shape {np.shape(given)} for {batch} pictures; "
                    f"it must be {batch} x the features of one: export it with the batch first"
                )
        return np.concatenate(found)[:count]

    @property
    def about(self) -> dict[str, str]:
        """What the file says of itself, by name."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the file and of the files of weights that it names."""
        content = self.path.read_bytes()
        digest = hashlib.sha256(content)
        locations = set()
        for entry in _LOCATION.finditer(content):
            length = sum((byte & 127) << 7 * place for place, byte in enumerate(entry[1]))
            locations.add(os.fsdecode(content[entry.end() : entry.end() + length]))
        for path in (self.path.parent / location for location in sorted(locations)):
            if path.is_file():
                with open(path, "rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


class OnnxEncoder(nn.Module):
    """An encoder in an ONNX file, which takes our pictures and gives its features without gradients.

    Args:
        path: the file: one input, pictures (n, 3, size, size) or (n, size, size, 3), red first, of floats or bytes;
            n and size may be fixed or free.
        size: pixels a side of the pictures it will be given.
        pixels: the range that the network itself expects: `0..1`, `-1..1`, `0..255`, or `imagenet` (0..1 less
            ImageNet's mean, by its deviation). No file says it, so it must be given.
        output: name of the output that holds the features, where there are several.

    Attributes:
        graph: the opened file.

    Raises:
        InputError: if the file is no such network, or does not say all that is needed.

    """

    def __init__(self, path: Path | str, size: int, *, pixels: str | None = None, output: str | None = None) -> None:
        super().__init__()
        name = f"encoder {str(path)!r}"
        self.graph = Graph(Path(path), "encoder")
        if pixels is None:
            raise InputError(
                f"{name} needs pixels, the range of numbers that it expects: {', '.join(RANGES)} (imagenet: "
                "mean and deviation); the file does not say it, and a wrong one spoils the audit without an error"
            )
        if pixels not in RANGES:
            raise unknown("pixels =", pixels, RANGES)
        self._last = _checked(name, self.graph.input, size, pixels)
        self._mean, self._deviation = (torch.tensor(values)[:, None, None] for values in RANGES[pixels])
        self._output = chosen_output(name, self.graph.outputs, output)
        self._try(name, size)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to features (n, ...) in float32, on the pictures' device."""
        rows = ((pictures.detach().float().cpu() - self._mean) / self._deviation).numpy()
        if self._last:
            rows = rows.transpose(0, 2, 3, 1)
        whole = self.graph.input.type == BYTES
        given = np.rint(rows).astype(np.uint8) if whole else rows.astype(DTYPES[self.graph.input.type])
        features = self.graph.run(np.ascontiguousarray(given), self._output)
        return numbers(torch.from_numpy(features), len(pictures)).to(pictures.device)

    def _try(self, name: str, size: int) -> None:
        """Send as many grey pictures as the graph takes, two where it is free, to see that features come back."""
        fixed = self.graph.input.shape[0]
        count = fixed if isinstance(fixed, int) else 2
        try:
            self(torch.full((count, 3, size, size), 0.5))
        except InputError:
            raise
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise InputError(
                f"{name} fails on {count} pictures of {size} x {size} pixels ({error}); export it for that size, "
                "with a free or a true fixed batch dimension"
            ) from error


def _checked(name: str, taken: Any, size: int, pixels: str) -> bool:
    """Hold the input to pictures of `size`; says whether their colours come last."""
    shape = taken.shape
    last = len(shape) == 4 and shape[1] != 3 and shape[3] == 3
    sides = (shape[1:3] if last else shape[2:]) if len(shape) == 4 else []
    colours = shape[3 if last else 1] if len(shape) == 4 else 0
    if len(sides) != 2 or (isinstance(colours, int) and colours != 3):
        raise InputError(f"{name} takes {shape}; it must take n x 3 x size x size, or n x size x size x 3")
    if any(isinstance(side, int) and side != size for side in sides):
        raise InputError(
            f"{name} takes pictures of {sides[0]} x {sides[1]} pixels, and the pack's have {size} x {size}; "
            "prepare the pack at the encoder's size"
        )
    if taken.type != BYTES and taken.type not in DTYPES:
        raise InputError(f"{name} takes {taken.type}; it must take {', '.join([*DTYPES, BYTES])}")
    if taken.type == BYTES and pixels != "0..255":
        raise InputError(f"{name} takes bytes, so pixels must be '0..255', not {pixels!r}")
    return last


def chosen_output(name: str, outputs: list[Any], output: str | None) -> str:
    """Find the output that holds the features, and hold it to numbers."""
    found = {given.name: given.type for given in outputs}
    if output is None and len(found) > 1:
        raise InputError(f"{name} has {len(found)} outputs; choose one with output = {' or '.join(map(repr, found))}")
    chosen = next(iter(found)) if output is None else output
    if chosen not in found:
        raise unknown(f"{name}: output", chosen, found)
    if not re.fullmatch(r"tensor\((float|float16|double|u?int\d+)\)", found[chosen]):
        raise InputError(f"{name}: output {chosen!r} is {found[chosen]}; it must be one tensor of numbers")
    return chosen
