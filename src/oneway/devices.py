"""What this machine can compute on, and which of it is used by default."""

from __future__ import annotations

import torch

from oneway.errors import InputError


def has_bf16(device: str) -> bool:
    """Say whether `device` multiplies bf16 matrices with instructions of its own."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))
    return False


def devices() -> list[str]:
    """Name the kinds of devices that this machine has."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [name for name, found in there.items() if found]


def chosen(device: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """Give the device and the precision, `32` or `bf16`, that a configuration comes to on this machine.

    Raises:
        InputError: for a device that it lacks.

    """
    here = devices()
    if device == "auto":
        device = "cuda" if "cuda" in here else "cpu"
    if device not in here:
        raise InputError(f"device {device!r} is not available on this machine; it has {', '.join(here)}")
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "32"
    return device, precision
