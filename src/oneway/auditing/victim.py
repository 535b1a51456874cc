"""Victims of an audit: an encoder trained here, any torch module, an ONNX file, or stored features alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from oneway.data.batches import to_pictures
from oneway.data.dump import read_dump
from oneway.data.packed import Pack, Part
from oneway.models.behaviour import fingerprint
from oneway.models.copying import copy_network
from oneway.models.decoder import Stage, stages_of
from oneway.models.features import in_own_numbers, read_as_numbers
from oneway.models.onnx import OnnxEncoder
from oneway.models.seeded import seeded
from oneway.models.split import features_shape, first_part
from oneway.protection.run import Run, predict_logits
from oneway.report.values import Utility
from oneway.runtime import lay_out
from oneway.shipping.contract import bundle_hash
from oneway.shipping.sent import Sent
from oneway.storage import runs
from oneway.tasks.task import labels_of, told_by, utility_of

PARTS = ("public", "validation", "test")
Kind = Literal["run", "module", "onnx", "bundle", "features"]


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What an audit attacks. Another process is sent all of it but the encoder, which it opens anew.

    Attributes:
        name: how it is called in results.
        kind: what was given.
        identity: what tells it from any other: names and hashes, and not where it lies.
        pack: the people it is audited on.
        path: the folder of a run.
        encoder: the frozen encoder; none for stored features.
        reopen: opens the encoder again, where it is not the one that was sent.
        stored: features, if these are all there is, by split.
        white: whether its weights and gradients can be had.
        stages: its resolutions, for a decoder that mirrors it; none if they are unknown.
        task: the attributes it was trained for; none if they are unknown.
        utility: of its task on the test people, as in its own results.
        decisions: what its task decides, as numbers (n, d), by split: a bit for what is or is not, or a number.

    """

    name: str
    kind: Kind
    identity: dict[str, object]
    pack: Pack
    path: Path | None = None
    encoder: nn.Module | None = None
    reopen: Callable[[], nn.Module] | None = None
    stored: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    white: bool = False
    stages: list[Stage] | None = None
    task: tuple[str, ...] | None = None
    utility: Utility | None = None
    decisions: dict[str, NDArray[np.float32]] | None = None

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Let what the encoder draws at random be a function of a seed, in a block; see `models.seeded`."""
        return nullcontext() if self.encoder is None else seeded(self.encoder, *seed)

    def __getstate__(self) -> dict[str, object]:
        # A graph that was cut out of a network is traced anew when it is read, and loses what keeps its parts apart.
        return {**vars(self), "encoder": None}

    def __setstate__(self, told: dict[str, object]) -> None:
        vars(self).update(told)
        if self.reopen is not None:
            vars(self)["encoder"] = self.reopen()


def from_run(run: Run, fabric: Fabric, network: nn.Module | None = None, *, seed: int) -> Victim:
    """Take the encoder of a finished protect run; `seed` decides the noise behind its task's answers."""
    protector = lay_out(run.load(network), fabric.device)
    parts = (run.pack.public, run.pack.validation, run.pack.test)
    with seeded(protector.encoder, seed, "outputs"):
        decisions = {part.split: told_by(run.task, predict_logits(fabric, protector, part)) for part in parts}
    return Victim(
        name=run.path.absolute().name,
        kind="run",
        identity={
            "run": run.about["name"],
            "protect": runs.named(run.config),
            "hash": run.about["hash"],
        },
        pack=run.pack,
        path=run.path,
        encoder=protector.encoder,
        reopen=partial(_encoder_of_run, run, network, fabric.device),
        white=True,
        stages=stages_of(protector.encoder, run.pack.size),
        task=run.attributes,
        utility=run.report.utility,
        decisions=decisions,
    )


def _encoder_of_run(run: Run, network: nn.Module | None, device: torch.device) -> nn.Module:
    return lay_out(run.load(network), device).encoder


def from_module(module: nn.Module, cut: str, pack: Pack, fabric: Fabric, output: str | None = None) -> Victim:
    """Take the part of any torch module up to the layer `cut`; it is given pictures in 0..1, in its type of number.

    `output` chooses, where the layer gives several; see `models.features.chosen`.
    """
    frozen = copy_network(module).eval()
    encoder = _part(frozen, cut, output, fabric.device)
    features_shape(encoder, pack.size)
    identity: dict[str, object] = {"module": type(module).__qualname__, "cut": cut, "hash": fingerprint(encoder)}
    return Victim(
        name=f"{type(module).__name__}, cut at {cut}",
        kind="module",
        identity=identity | ({} if output is None else {"output": output}),
        pack=pack,
        encoder=encoder,
        reopen=partial(_part, frozen, cut, output, fabric.device),
        white=True,
        stages=stages_of(encoder, pack.size),
    )


def _part(module: nn.Module, cut: str, output: str | None, device: torch.device) -> nn.Module:
    return read_as_numbers(in_own_numbers(first_part(module, cut, output))).to(device)


def from_onnx(path: Path, pack: Pack, pixels: str | None, output: str | None) -> Victim:
    """Take an ONNX file as a black box; `pixels` and `output` are explained at `OnnxEncoder`."""
    reopen = partial(OnnxEncoder, path, pack.size, pixels=pixels, output=output)
    encoder = reopen()
    return Victim(
        name=path.name,
        kind="onnx",
        identity={"onnx": path.name, "pixels": pixels, "output": output, "hash": encoder.graph.fingerprint},
        pack=pack,
        encoder=encoder,
        reopen=reopen,
    )


def from_bundle(path: Path, pack: Pack, *, seed: int) -> Victim:
    """Take the bytes that a bundle sends as a black box; `seed` decides the noise behind its server's answers."""
    encoder = Sent(path, pack.size)
    task = encoder.task
    test = pack.test
    with seeded(encoder, seed, "outputs"):
        logits = {part.split: _decided(encoder, part) for part in (pack.public, pack.validation, test)}
    labelled = set(task.columns) <= set(pack.attributes)
    return Victim(
        name=path.absolute().name,
        kind="bundle",
        identity={"bundle": path.absolute().name, "hash": bundle_hash(path)},
        pack=pack,
        encoder=encoder,
        reopen=partial(Sent, path, pack.size),
        task=task.columns if labelled else None,
        utility=utility_of(task, logits["test"], labels_of(task, test), test.identities) if labelled else None,
        decisions={split: told_by(task, found) for split, found in logits.items()},
    )


@torch.no_grad()
def _decided(encoder: Sent, part: Part) -> NDArray[np.float32]:
    """Give what a bundle's server decides of every picture of a part, as logits (n, d)."""
    starts = range(0, len(part), 256)
    return np.concatenate(
        [encoder.logits(encoder(to_pictures(part.images(slice(start, start + 256))))) for start in starts]
    )


def from_dump(path: Path, pack: Pack) -> Victim:
    """Take stored features alone."""
    stored = read_dump(path, pack)
    digest = hashlib.sha256()
    for name in PARTS:
        digest.update(np.ascontiguousarray(stored[name]).tobytes())
    return Victim(
        name=path.absolute().name,
        kind="features",
        identity={"features": path.absolute().name, "hash": digest.hexdigest()},
        pack=pack,
        stored=stored,
    )
