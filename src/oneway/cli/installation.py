"""The command about the installation itself: what this machine has, and what is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING

from oneway.console import console, marked

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PACKAGES = ("oneway", "torchvision")
"""Whose requirements must be there: torch and torchvision are a matched pair."""
PIP = "python -m pip install"


def doctor() -> None:
    """Say what is installed here, on which device it would compute, and what is missing with the command that gets it.

    Exit code 3 where a package that everything needs is missing or too old, or torch does not load.
    """
    said = console()

    def say(name: str, text: str) -> None:
        said.print(marked(f"{name:<11}", text), soft_wrap=True)

    say("oneway", f"{version('oneway')}, on Python {sys.version.split()[0]} at {sys.executable}")
    wrong = [each for package in PACKAGES for each in lacking(package)]
    broken = None
    try:
        for name, text in _machine():
            say(name, text)
    except (ImportError, OSError) as error:  # what a library that is built for another machine raises
        broken = f"torch does not load: {' '.join(str(error).split())}"
    for extra in extras("oneway"):
        missing = lacking("oneway", extra)
        say("optional", f"[{extra}]: {_install(missing) if missing else 'installed'}")
    if wrong:
        say("MISSING", _install(wrong))
    if broken is not None:
        say("BROKEN", f"{broken}; install it again: {PIP} --force-reinstall torch torchvision")
    if wrong or broken is not None:
        sys.exit(3)
    say("required", "every package is there")


def extras(package: str) -> list[str]:
    """Name the optional groups of an installed package."""
    return sorted(metadata(package).get_all("Provides-Extra") or [])


def lacking(package: str, extra: str = "") -> list[Requirement]:
    """Give what an installed package, or one of its optional groups, requires and is missing or of another version."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires(package) or ()]
    except PackageNotFoundError:  # who requires the package says so
        return []

    def asks(each: Requirement, extra: str) -> bool:
        return each.marker is None or each.marker.evaluate({"extra": extra})

    wanted = [each for each in asked if asks(each, extra) and not (extra and asks(each, ""))]
    return [each for each in wanted if not _there(each)]


def _there(asked: Requirement) -> bool:
    try:
        return asked.specifier.contains(version(asked.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _install(missing: list[Requirement]) -> str:
    """Give the command that gets packages."""
    named = " ".join(f'"{each.name}{each.specifier}"' for each in missing)
    return f"get it by: {PIP} {named}"


def _machine() -> Iterator[tuple[str, str]]:
    """Say what there is to compute with, and what of it is used unless something else is asked for."""
    import torch

    from oneway.devices import chosen, devices, has_bf16
    from oneway.storage.inputs import free_memory

    yield "torch", f"{version('torch')}, torchvision {version('torchvision')}"
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for device in devices():
        bf16 = "bf16" if has_bf16(device) else "no bf16 instructions"
        if device == "cpu":
            yield "device", f"cpu: {usable} processors, {torch.backends.cpu.get_cpu_capability()}, {bf16}"
        elif device == "cuda":
            for place in range(torch.cuda.device_count()):
                about = torch.cuda.get_device_properties(place)
                yield "device", f"cuda {place}: {about.name}, {about.total_memory / 1e9:.0f} GB, {bf16}"
        else:
            yield "device", f"{device}: {bf16}"
    fixed = os.environ.get("OMP_NUM_THREADS")
    yield "threads", f"{torch.get_num_threads()}{'' if fixed is None else f' (OMP_NUM_THREADS is {fixed})'}"
    free = free_memory()
    yield "memory", "the system does not say" if free is None else f"{free / 1e9:.1f} GB free"
    device, precision = chosen()
    yield "default", f"device {device}, precision {precision}: other ones by --set runtime.device=, runtime.precision="
