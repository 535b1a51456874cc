"""The one door to Lightning Fabric: device, precision, processes, seeds, and the layout of memory."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import Literal, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import Tensor, nn

from oneway.config import Count, NotNegative, checked
from oneway.console import console
from oneway.devices import chosen
from oneway.errors import DivergedError, InputError, LostError

Precision = Literal["auto", "32", "bf16"]


@checked
@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """Where and how to compute.

    Attributes:
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`.
        devices: number of processes on this machine, one for each device.
        num_nodes: number of machines, each with so many devices; the same command is started on each, by torchrun, by
            Slurm, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set.
        precision: `bf16` (mixed), `32`, or `auto`: bf16 where the processor or GPU has instructions for it.
        checkpoint_seconds: least time between two checkpoints.

    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    num_nodes: Count = 1
    precision: Precision = "auto"
    checkpoint_seconds: NotNegative = 20.0


def launch(config: RuntimeConfig) -> Fabric:
    """Start the processes and give this one's Fabric; under torchrun, its processes are taken.

    Raises:
        InputError: for a device that this machine lacks, or a number of processes that cannot be.

    """
    device, precision = chosen(config.device, config.precision)
    # torchrun says how many processes it has started here, and in all.
    processes = _count("LOCAL_WORLD_SIZE", config.devices)
    everywhere = _count("WORLD_SIZE", processes * config.num_nodes)
    _check_scheduler(processes, everywhere)
    if device == "cuda":
        if processes > torch.cuda.device_count():
            raise InputError(
                f"runtime.devices is {processes}, and this machine has {torch.cuda.device_count()} GPUs, of which each "
                "process takes one; set runtime.devices to as many, or runtime.device=cpu"
            )
        torch.backends.cudnn.benchmark = True  # shapes hardly change, so the fastest convolutions are worth finding
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=device,
        devices=processes,
        num_nodes=everywhere // processes,
        strategy="ddp" if everywhere > 1 else "auto",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )
    # Denormal numbers slow a CPU down a hundredfold and carry nothing that training needs.
    torch.set_flush_denormal(True)
    _meet(fabric, everywhere)
    return fabric


PATIENCE = 10.0
"""Seconds until a process that waits for the others says so."""


def _meet(fabric: Fabric, everywhere: int) -> None:
    """Wait for the other processes, and say for whom and where if that takes long.

    Raises:
        LostError: if they do not come; torch gives up after half an hour.

    """
    where = f"{os.environ.get('MASTER_ADDR', 'this machine')}, port {os.environ.get('MASTER_PORT', 'any')}"
    told = f"all {everywhere} processes to meet at {where} (MASTER_ADDR, MASTER_PORT)"
    way_out = "start the same command for each of them, or unset WORLD_SIZE if there is to be one"
    waiting = Timer(PATIENCE, lambda: console(stderr=True).print(f"waiting for {told}; {way_out}", soft_wrap=True))
    waiting.daemon = True
    if everywhere > 1:
        waiting.start()
    try:
        fabric.launch()
    except RuntimeError as error:  # torch's own errors of a store or a process group
        if everywhere == 1:
            raise
        raise LostError(f"waited in vain for {told}: {str(error).strip().splitlines()[0]}; {way_out}") from error
    finally:
        waiting.cancel()
    if everywhere > 1:
        atexit.register(_part)


def _part() -> None:
    """End what joins the processes before the interpreter does, which aborts where a thread of gloo still runs."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _count(name: str, otherwise: int) -> int:
    """Read a number of processes from the environment, where a launcher has left it."""
    said = os.environ.get(name)
    if said is None:
        return otherwise
    if not said.isdecimal() or int(said) < 1:
        raise InputError(
            f"the environment variable {name} is {said!r} and must be a number of processes, 1 or more; unset it, or "
            "start the command by torchrun, which sets it"
        )
    return int(said)


def _check_scheduler(processes: int, everywhere: int) -> None:
    """Refuse what a scheduler or launcher has left behind, before Fabric waits for processes that nobody starts."""
    if everywhere % processes:
        raise InputError(f"WORLD_SIZE {everywhere} must be a multiple of the {processes} processes on each machine")
    for name, below in (("RANK", everywhere), ("LOCAL_RANK", processes), ("NODE_RANK", everywhere // processes)):
        said = os.environ.get(name)
        if said is None:
            continue
        if not said.isdecimal() or int(said) >= below:
            raise InputError(
                f"the environment variable {name} is {said!r}, no rank below {below}; unset it, or "
                "start the command by torchrun, which sets it"
            )
        if "WORLD_SIZE" not in os.environ and name != "NODE_RANK":
            raise InputError(
                f"the environment variable {name} is {said!r}, and WORLD_SIZE, which says of how many, is not set; "
                f"unset {name}, or start the command by torchrun, which sets both"
            )
    by_slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    if by_slurm and "SLURM_PROCID" not in os.environ:
        raise InputError(
            f"the environment variable SLURM_NTASKS is {os.environ['SLURM_NTASKS']!r}, and SLURM_PROCID is not set, so "
            "srun did not start this process; unset SLURM_NTASKS, or start the command by srun"
        )


LANES = 8
"""Channels that batch normalisation takes at once on a processor, where they lie last."""
Network = TypeVar("Network", bound=nn.Module)


def lay_out(network: Network, device: torch.device) -> Network:
    """Move a network to a device, its memory laid out channels last, as convolutions are fastest.

    Batch normalisation of a number of channels that is no multiple of 8 is many times slower in that layout on a
    processor, so there such a layer is handed its input channel by channel.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.num_features % LANES and device.type == "cpu":
            module.register_forward_pre_hook(_by_channel)
    placed: Network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def _by_channel(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.contiguous() for each in given)


def is_first() -> bool:
    """Say whether this process is the one that speaks, of those that work together."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


LOST = ("gloo", "nccl", "connection", "peer", "socket", "timed out", "timeout")
"""What the messages of a collective operation say whose other processes do not answer; they have no type in common."""


@contextmanager
def together(fabric: Fabric) -> Iterator[None]:
    """Do what several processes do together; where one of them is gone, the others say so and end.

    Raises:
        LostError: instead of what the collective operation raised.

    """
    try:
        yield
    except DivergedError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if fabric.world_size == 1 or not any(word in str(error).lower() for word in LOST):
            raise
        raise LostError(
            f"one of the {fabric.world_size} processes died or cannot be reached ({reason}); what was done is kept up "
            "to the last checkpoint, start the same command again with --resume"
        ) from error
