"""A protect run on disk: its configuration, its pack, and the encoder and classifier it trained."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from oneway.config import to_dict
from oneway.data.batches import to_pictures
from oneway.data.packed import Pack, Part
from oneway.errors import InputError
from oneway.models.bottleneck import Narrow, reader
from oneway.models.classifier import Classifier
from oneway.models.encoder import halves
from oneway.models.noise import Noisy
from oneway.models.perceptual import VGG, open_perceptual
from oneway.models.split import features_shape
from oneway.protection.config import ProtectConfig
from oneway.protection.defences.defence import worn, wrapped
from oneway.protection.game import Protector
from oneway.protection.log import EVENTS, FILE
from oneway.protection.made import Data, finished, task_of_run
from oneway.report.reports import RunReport, read_report
from oneway.storage import runs
from oneway.tasks.registry import task_of
from oneway.tasks.task import Task

WEIGHTS = "protector.safetensors"
SHARED = (runs.CONFIG, runs.RESULTS, FILE, EVENTS)
"""What of a finished run may be handed to anyone: settings and figures, and no picture, weight or path."""


def build(config: ProtectConfig, *, size: int, num_logits: int, network: nn.Module | None = None) -> Protector:
    """Build the encoder and classifier of `config` for pictures of `size` pixels a side.

    Args:
        config: decides the network and its cut.
        size: pixels a side.
        num_logits: of the task.
        network: any module to cut in place of the configured backbone; it is copied, and computes in single precision.

    Raises:
        InputError: if the network cannot be cut or cannot take such pictures, or a defence is too strong for them.

    """
    if config.active is not None:
        config.active.check(size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        encoder, rest = halves(config.network, size, network)
        shape = features_shape(encoder, size)
        if config.network.bottleneck:
            encoder = Narrow(encoder, shape, config.network.bottleneck)
            rest = reader(config.network.bottleneck)
        if config.network.noise:
            encoder = Noisy(encoder, config.network.noise)
        if config.active is not None:
            encoder = wrapped(config.active, encoder, features_shape(encoder, size))
        with worn(config.active):
            rest_shape = features_shape(nn.Sequential(encoder, rest), size)
        return Protector(encoder, Classifier(rest, rest_shape=rest_shape, num_logits=num_logits))


def check(pack: Pack, config: ProtectConfig) -> None:
    """Refuse what `protect` would refuse, without training, a folder or a download.

    Raises:
        InputError: if the pack lacks the task, the network cannot be cut so, or there is no such perceptual network.

    """
    build(config, size=pack.size, num_logits=task_of(pack, config.task).num_logits)
    if config.game.perceptual and config.game.perceptual_network not in (None, VGG):
        open_perceptual(str(config.game.perceptual_network))


@torch.no_grad()
def predict_logits(fabric: Fabric, protector: Protector, part: Part) -> NDArray[np.float32]:
    """Give the logits of every picture of a part: (n, num_logits)."""
    protector.eval()
    answers = []
    with fabric.autocast():
        for start in range(0, len(part), 256):
            pictures = to_pictures(part.images(slice(start, start + 256)), fabric.device)
            answers.append(protector(pictures)[1].float().cpu().numpy())
    return np.concatenate(answers)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished protect run.

    Attributes:
        path: its folder.
        config: what it was made with.
        pack: the data it was made on.

    """

    path: Path
    config: ProtectConfig
    pack: Pack

    @classmethod
    def open(cls, path: Path | str, pack: Pack | None = None) -> Run:
        """Open the run at `path`; `pack` says where its data is now, if it has moved.

        Raises:
            InputError: if there is no finished run, or the pack is another than it was trained on.

        """
        path = Path(path)
        made = finished(path)
        pack = pack or _find(path, made.data)
        # A pack that extends the run's by public people has the same private, validation and test people.
        if made.data.hash not in (pack.hash, *pack.joined[:1]):
            raise InputError(
                f"the pack {pack.path} (hash {pack.hash[:12]}) is not the one that {path} was trained on "
                f"(hash {made.data.hash[:12]}); its splits may mix private and public people"
            )
        if made.size not in (None, pack.size):
            held = f"{pack.path} has pictures of {pack.size} pixels a side"
            raise InputError(f"{path / runs.CONFIG}: size is {made.size}, and {held}; make the run again")
        return cls(path=path, config=made.protect, pack=pack)

    @property
    def about(self) -> dict[str, str]:
        """Say which run it is to whoever is handed a result: its folder's name and the hash of its weights."""
        return {"name": self.path.absolute().name, "hash": runs.file_hash(self.path / WEIGHTS)}

    @cached_property
    def report(self) -> RunReport:
        """What its encoder is good for, on test people."""
        return read_report(self.path, RunReport, "oneway protect PACK --out NEW")

    @cached_property
    def task(self) -> Task:
        """What its encoder is for."""
        made = finished(self.path)
        return task_of_run(made, self.config.task or self.pack.attributes)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that it decides, in the order of the logits."""
        return self.task.columns

    def load(self, network: nn.Module | None = None) -> Protector:
        """Load the trained encoder and classifier, in evaluation mode.

        Args:
            network: a module of the class the run was made with, if it was not a configured backbone.

        Raises:
            InputError: if the weights are missing or do not fit the network.

        """
        num_logits = self.task.num_logits
        return load(self.path, self.config, size=self.pack.size, num_logits=num_logits, network=network)


def load(path: Path, config: ProtectConfig, *, size: int, num_logits: int, network: nn.Module | None) -> Protector:
    """Load the encoder and classifier of the run at `path`; arguments as `build` takes them, errors as `Run.load`."""
    own = finished(path).network
    if own is not None and network is None:
        raise InputError(f"{path} protects a network of your own ({own}); from Python, give such a module: network=...")
    config = replace(config, network=replace(config.network, weights=None))  # those it was trained from are in its own
    try:
        protector = build(config, size=size, num_logits=num_logits, network=network)
    except InputError as error:
        raise InputError(f"{path / runs.CONFIG}: {error}") from error
    runs.fill(protector, runs.read_tensors(path / WEIGHTS)[0], path / WEIGHTS)
    return protector.eval()


def sharing(config: ProtectConfig) -> list[str]:
    """Say what of a finished run may be shared, and what not, by the names of its files."""
    lines = [
        f"may be shared: {', '.join(SHARED)}",
        f"for devices and servers only: {WEIGHTS}; whoever has the encoder attacks it as a white box",
    ]
    if config.keep:
        lines.append(f"not to be shared: {runs.CHECKPOINT}; its decoder turns features into pictures")
    return lines


def describe(pack: Pack, task: Task, out: Path) -> dict[str, object]:
    """Say of the data what a run keeps: the pack, where it is seen from the run, and what answers are for.

    Whoever has the run alone must be able to use it, and whoever is handed it learns no more of the disk than the
    pack's name, so the pack's place is kept only where it is near.
    """
    data = pack.about | {"path": _near(pack.path, out)}
    heads = [to_dict(head) for head in task.parts]
    return {"data": data, "size": pack.size, "attributes": list(task.columns), "task": heads}


def _near(pack: Path, out: Path) -> str | None:
    """Give the way from a run to its pack, if that names folders of the user's own work alone.

    So it is where the last folder that holds both lies in the working directory or at home, or holds the pack itself.
    """
    pack, out = (Path(os.path.normpath(path.absolute())) for path in (pack, out))
    try:
        common = Path(os.path.commonpath([pack, out]))
    except ValueError:  # on two drives
        return None
    own = any(common.is_relative_to(folder) for folder in (Path.cwd(), Path.home()))
    return Path(os.path.relpath(pack, out)).as_posix() if own or common == pack.parent else None


def _find(path: Path, data: Data) -> Pack:
    """Open the pack of the run at `path`, where it was when it was made."""
    if data.path is None:
        raise InputError(f"{path} does not say where {data.name} lies, which is not near it; name the pack with --data")
    place = Path(os.path.normpath(path.absolute() / data.path))
    if not place.exists():
        raise InputError(f"{data.name} is not where {path} says, at {place}; name the pack with --data")
    try:
        return Pack.open(place)
    except InputError as error:
        raise InputError(f"{path / runs.CONFIG}: data.path: {error}") from error
