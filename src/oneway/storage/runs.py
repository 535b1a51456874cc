"""What a run folder holds: its configuration, weights, checkpoint and results, each file whole."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
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
from oneway.storage.inputs import regular

FILES = ("perceptual", "perceptual_network", "weights")
"""Fields of configs that name a file, alone or as BACKBONE:FILE."""
CONFIG, CHECKPOINT, RESULTS = "config.json", "checkpoint.safetensors", "results.json"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as indented JSON, atomically."""
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: if the file is missing or holds something else.

    """
    try:
        content = json.loads(regular(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the folder of a finished run") from error
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); the run must be made again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, not an object; the run must be made again")
    return content


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any] | None = None) -> None:
    """Write tensors, and a JSON object about them, into one safetensors file, atomically."""
    with whole(path) as partial:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        partial.write_bytes(save_tensors(kept, metadata={"about": json.dumps(about or {})}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        InputError: if the file is missing or no safetensors file.

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
    return tensors, about


def save(path: Path, trained: Mapping[str, tuple[nn.Module, Optimizer | None]], about: Mapping[str, Any]) -> None:
    """Write networks, the states of their optimizers, and a JSON object about them as one checkpoint, atomically."""
    tensors: dict[str, Tensor] = {}
    for name, (network, optimizer) in trained.items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        for index, slots in ({} if optimizer is None else optimizer.state_dict()["state"]).items():
            tensors |= {f"{name}.optimizer/{index}/{key}": torch.as_tensor(value) for key, value in slots.items()}
    write_tensors(path, tensors, about)


def restore(path: Path, trained: Mapping[str, tuple[nn.Module, Optimizer | None]]) -> dict[str, Any]:
    """Put back what `save` wrote, to the bit; gives the JSON object."""
    tensors, about = read_tensors(path)
    for name, (network, optimizer) in trained.items():
        network.load_state_dict(_below(f"{name}/", tensors))
        if optimizer is None:
            continue
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for place, tensor in _below(f"{name}.optimizer/", tensors).items():
            index, key = place.split("/")
            like = weights[int(index)]
            # A moment must lie in memory as its weight does, or the fused step takes another path.
            kept = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if tensor.shape == like.shape else tensor
            state.setdefault(int(index), {})[key] = kept
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return about


def _below(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name every value of nested JSON content like `game.pixel`."""
    named: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            value = {str(place): each for place, each in enumerate(value, 1)}
        if isinstance(value, Mapping):
            named |= flat(value, f"{prefix}{name}.")
        else:
            named[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return named


def named(config: Any) -> dict[str, Any]:
    """Give `to_dict` of a config with files by name and hash: what is handed on does not say where they lie."""
    return _named(to_dict(config))


def _named(content: dict[str, Any]) -> dict[str, Any]:
    for name, value in content.items():
        if isinstance(value, dict):
            _named(value)
        elif name in FILES and isinstance(value, str):
            backbone, colon, path = value.rpartition(":")
            tag = f"@{file_hash(Path(path))[:12]}" if Path(path).is_file() else ""
            content[name] = f"{backbone}{colon}{Path(path).name}{tag}"
    return content


def file_hash(path: Path) -> str:
    """Give the sha256 of a file.

    Raises:
        InputError: if it is missing or cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the folder of a finished run") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error


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
