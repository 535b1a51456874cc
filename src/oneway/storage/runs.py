"""What a run folder holds: its configuration, weights, checkpoint and results, each file whole."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import Optimizer

from oneway.config import to_dict
from oneway.errors import InputError
from oneway.storage.atomic import unwritable as unwritable
from oneway.storage.atomic import whole as whole
from oneway.storage.inputs import file_hash as file_hash
from oneway.storage.inputs import read_object, regular

FILES = ("generator", "perceptual", "perceptual_network", "weights", "renewed")
"""Fields of configs that name a file or a folder, alone or as BACKBONE:FILE."""
CONFIG, CHECKPOINT, RESULTS = "config.json", "checkpoint.safetensors", "results.json"


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write `content` as indented JSON, atomically."""
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object of a run.

    Raises:
        InputError: if the file is missing or holds something else.

    """
    try:
        return read_object(path, "the run must be made again")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the folder of a finished run") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object] | None = None) -> None:
    """Write tensors, and a JSON object about them, into one safetensors file, atomically."""
    with whole(path) as partial:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        partial.write_bytes(save_tensors(kept, metadata={"about": json.dumps(about or {})}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        InputError: if the file is missing or no safetensors file, or what it says of itself is no JSON object.

    """
    try:
        with safe_open(regular(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the folder of a finished run") from error
    except InputError:
        raise
    except Exception as error:  # safetensors raises its own untyped error
        raise InputError(f"{path} is not a readable safetensors file ({error}); the run must be made again") from error
    if not isinstance(about, dict):
        raise InputError(f"{path} says {type(about).__name__} of itself, not an object; the run must be made again")
    return tensors, about


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, below: str = "") -> None:
    """Give a network its weights out of a file, each held to the network's own.

    Args:
        network: whose they are.
        tensors: by name, and no others.
        path: the file.
        below: begins their names in the file.

    Raises:
        InputError: naming the first tensor that is missing, unknown, of another shape or type, or not finite.

    """
    own = network.state_dict()
    for name in [*own, *(name for name in tensors if name not in own)]:
        wrong = _misfit(tensors.get(name), own.get(name))
        if wrong is not None:
            raise InputError(f"{path} does not fit the network: {below}{name} {wrong}; the run must be made again")
    network.load_state_dict(tensors)


def _misfit(found: Tensor | None, like: Tensor | None) -> str | None:
    """Say in what a tensor differs from what it is to replace."""
    if found is None:
        return "is missing"
    if like is None:
        return "is unknown"
    if (found.shape, found.dtype) != (like.shape, like.dtype):
        return f"is {found.dtype} of shape {tuple(found.shape)}, not {like.dtype} of shape {tuple(like.shape)}"
    return None if bool(found.isfinite().all()) else "is not finite"


def save(path: Path, trained: Mapping[str, tuple[nn.Module, Optimizer | None]], about: Mapping[str, object]) -> None:
    """Write networks, the states of their optimizers, and a JSON object about them as one checkpoint, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, (network, optimizer) in trained.items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        for index, slots in ({} if optimizer is None else optimizer.state_dict()["state"]).items():
            tensors |= {f"{name}.optimizer/{index}/{key}": torch.as_tensor(value) for key, value in slots.items()}
    write_tensors(path, tensors, about)


def restore(path: Path, trained: Mapping[str, tuple[nn.Module, Optimizer | None]]) -> dict[str, Any]:
    """Put back what `save` wrote, to the bit; gives the JSON object.

    Raises:
        InputError: if the file is damaged or of other networks, naming the tensor.

    """
    tensors, about = read_tensors(path)
    known = {each for name in trained for each in (name, f"{name}.optimizer")}
    foreign = sorted(place for place in tensors if place.partition("/")[0] not in known)
    if foreign:
        raise InputError(f"{path} does not fit the networks: {foreign[0]} is unknown; the run must be made again")
    for name, (network, optimizer) in trained.items():
        fill(network, _below(f"{name}/", tensors), path, f"{name}/")
        if optimizer is not None:
            _refill(optimizer, _below(f"{name}.optimizer/", tensors), path, f"{name}.optimizer/")
    return about


def _refill(optimizer: Optimizer, tensors: Mapping[str, Tensor], path: Path, below: str) -> None:
    """Give an optimizer its state out of a file: the same moments for each of its weights that has any."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    indices = {place.partition("/")[0] for place in tensors} & {str(index) for index in range(len(weights))}
    slots = {place.partition("/")[2] for place in tensors}
    expected = {f"{index}/{slot}" for index in indices for slot in slots}
    odd = sorted(expected.symmetric_difference(tensors))
    odd += [place for place, tensor in tensors.items() if place in expected and not _moment(tensor, place, weights)]
    if odd:
        wrong = "is missing, unknown, of another shape or not finite"
        raise InputError(f"{path} does not fit the optimizer: {below}{odd[0]} {wrong}; the run must be made again")
    state: dict[int, dict[str, Tensor]] = {}
    for place, tensor in tensors.items():
        index, slot = place.split("/")
        like = weights[int(index)]
        # A moment must lie in memory as its weight does, or the fused step takes another path.
        kept = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if tensor.shape == like.shape else tensor
        state.setdefault(int(index), {})[slot] = kept
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _moment(tensor: Tensor, place: str, weights: list[Tensor]) -> bool:
    """Say whether a tensor can be an optimizer's: of its weight's shape, or a single number; and finite."""
    shapes = (weights[int(place.partition("/")[0])].shape, torch.Size([]))
    return tensor.shape in shapes and tensor.is_floating_point() and bool(tensor.isfinite().all())


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def flat(content: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Name every value of nested JSON content like `game.pixel`."""
    named: dict[str, object] = {}
    for name, value in content.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            value = {str(place): each for place, each in enumerate(value, 1)}
        if isinstance(value, Mapping):
            named |= flat(value, f"{prefix}{name}.")
        else:
            named[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return named


def named(config: Any) -> dict[str, object]:
    """Give `to_dict` of a config with files by name and hash: what is handed on does not say where they lie."""
    return _named(to_dict(config))


def _named(content: dict[str, object]) -> dict[str, object]:
    for name, value in content.items():
        if isinstance(value, dict):
            _named(value)
        elif name in FILES and isinstance(value, str):
            backbone, colon, path = value.rpartition(":")
            content[name] = f"{backbone}{colon}{Path(path).name}{_tag(Path(path))}"
    return content


def _tag(path: Path) -> str:
    """Give what tells a file from any other of its name; nothing where there is no file."""
    if not path.is_file():
        return ""
    now = path.stat()
    return f"@{_hash(path.absolute(), now.st_ino, now.st_size, now.st_mtime_ns)[:12]}"


@cache
def _hash(path: Path, *_: int) -> str:
    """Hash a file once for each state of it: the names of a sweep's settings ask hundreds of times."""
    return file_hash(path)


def digest(content: Any) -> str:
    """Name JSON content: 8 hexadecimal digits, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def provenance(**more: Any) -> dict[str, Any]:
    """Say what made a result: versions, machine, time, and whatever is added."""
    return {
        "oneway": version("oneway"),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    }
