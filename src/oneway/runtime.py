"""The one door to Lightning Fabric: device, precision, processes, seeds."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal

import torch
from lightning_fabric import Fabric

from oneway.errors import InputError

Precision = Literal["auto", "32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """Where and how to compute.

    Attributes:
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`.
        devices: number of processes on this machine, one for each device.
        precision: `bf16` (mixed), `32`, or `auto`: bf16 where the processor or GPU has instructions for it.
        checkpoint_seconds: least time between two checkpoints.

    """

    device: str = "auto"
    devices: int = 1
    precision: Precision = "auto"
    checkpoint_seconds: float = 20.0


def has_bf16(device: str) -> bool:
    """Say whether `device` multiplies bf16 matrices with instructions of its own."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))
    return False


def launch(config: RuntimeConfig) -> Fabric:
    """Start the processes and give this one's Fabric; under torchrun, its processes are taken.

    Raises:
        InputError: for a device that this machine lacks.

    """
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device, False):
        here = [name for name, there in available.items() if there]
        raise InputError(f"device {device!r} is not available on this machine; it has {', '.join(here)}")
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "32"
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", config.devices))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        num_nodes=int(os.environ.get("WORLD_SIZE", processes)) // processes,
        strategy="ddp" if int(os.environ.get("WORLD_SIZE", processes)) > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    # Denormal numbers slow a CPU down a hundredfold and carry nothing that training needs.
    torch.set_flush_denormal(True)
    fabric.launch()
    return fabric
