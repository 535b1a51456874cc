"""Victims of an audit: an encoder trained here, any torch module, an ONNX file, or stored features alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access, BlackBox, FeatureDump, Renoised, WhiteBox
from oneway.attacks.pairs import Pairs
from oneway.data.batches import load, to_pictures
from oneway.data.dump import read_dump
from oneway.data.finite import check_finite
from oneway.data.packed import Pack, Part, Public
from oneway.models.copying import copy_network
from oneway.models.decoder import Stage, stages_of
from oneway.models.features import in_own_numbers, read_as_numbers
from oneway.models.onnx import OnnxEncoder
from oneway.models.seeded import seeded
from oneway.models.split import features_shape, first_part
from oneway.progress import track
from oneway.protection.run import Run, predict_logits
from oneway.report.values import Utility
from oneway.runtime import lay_out
from oneway.shipping.contract import bundle_hash
from oneway.shipping.sent import Sent
from oneway.storage import runs
from oneway.storage.atomic import new_array, whole
from oneway.tasks.task import labels_of, told_by, utility_of

RECORD_BYTES = 8 * 2**30
"""Features of the public pictures that take more than this on disk are asked for again instead of kept."""
PARTS = ("public", "validation", "test")
CLEAN = "clean"
"""Where features before the noise are kept."""
Kind = Literal["run", "module", "onnx", "bundle", "features"]


@dataclass(frozen=True, kw_only=True)
class Victim:
    """What an audit attacks.

    Attributes:
        name: how it is called in results.
        kind: what was given.
        identity: what tells it from any other: names and hashes, and not where it lies.
        pack: the people it is audited on.
        path: the folder of a run.
        encoder: the frozen encoder; none for stored features.
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
    stored: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    white: bool = False
    stages: list[Stage] | None = None
    task: tuple[str, ...] | None = None
    utility: Utility | None = None
    decisions: dict[str, NDArray[np.float32]] | None = None

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Let what the encoder draws at random be a function of a seed, in a block; see `models.seeded`."""
        return nullcontext() if self.encoder is None else seeded(self.encoder, *seed)


def from_run(run: Run, fabric: Fabric, network: nn.Module | None = None, *, seed: int) -> Victim:
    """Take the encoder of a finished protect run; `seed` decides the noise behind its task's answers."""
    protector = run.load(network)
    stages = stages_of(protector.encoder, run.pack.size)
    protector = lay_out(protector, fabric.device)
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
        white=True,
        stages=stages,
        task=run.attributes,
        utility=run.report.utility,
        decisions=decisions,
    )


def from_module(module: nn.Module, cut: str, pack: Pack, fabric: Fabric, output: str | None = None) -> Victim:
    """Take the part of any torch module up to the layer `cut`; it is given pictures in 0..1, in its type of number.

    `output` chooses, where the layer gives several; see `models.features.chosen`.
    """
    encoder = read_as_numbers(in_own_numbers(first_part(copy_network(module).eval(), cut, output)))
    features_shape(encoder, pack.size)
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    identity: dict[str, object] = {"module": type(module).__qualname__, "cut": cut, "hash": digest.hexdigest()}
    return Victim(
        name=f"{type(module).__name__}, cut at {cut}",
        kind="module",
        identity=identity | ({} if output is None else {"output": output}),
        pack=pack,
        encoder=encoder.to(fabric.device),
        white=True,
        stages=stages_of(encoder, pack.size),
    )


def from_onnx(path: Path, pack: Pack, pixels: str | None, output: str | None) -> Victim:
    """Take an ONNX file as a black box; `pixels` and `output` are explained at `OnnxEncoder`."""
    encoder = OnnxEncoder(path, pack.size, pixels=pixels, output=output)
    return Victim(
        name=path.name,
        kind="onnx",
        identity={"onnx": path.name, "pixels": pixels, "output": output, "hash": encoder.graph.fingerprint},
        pack=pack,
        encoder=encoder,
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


@dataclass(frozen=True, kw_only=True)
class Stolen:
    """What the attackers of one audit have.

    Attributes:
        access: the features of the public pictures to train on, and one answer for every other picture: what was
            stolen.
        fitted_on: the features of the public pictures that a solved attacker learns from: the average of several
            answers for each where the encoder adds noise, else what `access` gives.
        noisy: whether the encoder answers differently each time.
        white: the encoder itself, if it can be had.
        averaged: the same with every picture sent several times and the answers averaged; only where `noisy`.

    """

    access: Access
    fitted_on: Access
    noisy: bool
    white: WhiteBox | None
    averaged: Callable[[], Access] | None

    def pairs(self, public: Public, seed: int) -> Pairs:
        """Give what a solved attacker learns from."""
        return Pairs(access=self.access, fitted_on=self.fitted_on, public=public, noisy=self.noisy, seed=seed)

    def gallery(self) -> Access:
        """Give the best that a thief can have of a photograph: averages of several answers, where they differ."""
        return self.access if self.averaged is None else self.averaged()


def steal(victim: Victim, fabric: Fabric, folder: Path, *, draws: int, seed: int, progress: bool) -> Stolen:
    """Ask the victim for its features, and keep them in `folder`.

    A deterministic encoder is asked once for each picture, and its mirror image where it is public; every attack
    reads what it said. Of one that adds noise, validation and test people have one answer, as a thief would, and
    attackers see new answers each time, or the average of several: as many pictures as a thief
    has may be sent as often as one likes. What it draws for a file of answers depends on the seed and the file alone.
    """
    if victim.encoder is None:
        dump = FeatureDump(victim.stored, fabric.device)
        return Stolen(access=dump, fitted_on=dump, noisy=False, white=None, averaged=None)
    pack = victim.pack
    asked = BlackBox(victim.encoder, fabric, pack.size)
    sample = np.arange(min(8, len(pack.public)))
    with asked.seeded(seed, "twice"):
        first, second = asked.features(pack.public, sample), asked.features(pack.public, sample)
    noisy = bool((first - second).abs().max() > 1e-3 * first.std())
    white = WhiteBox(victim.encoder, fabric.device) if victim.white else None
    size = 4 * int(np.prod(asked.shape)) * 2 * len(pack.public)
    live: Access | None = asked if noisy or size > RECORD_BYTES else None
    if noisy and asked.noise_last is not None and size <= RECORD_BYTES:
        parts: tuple[str, ...] = ("public", "public mirrored")
        ask, clean = asked.clean, folder / CLEAN
        before = _record(asked, pack, clean, live=None, seed=seed, progress=progress, parts=parts, ask=ask)
        live = Renoised(asked.noise_last, before)
    access = _record(asked, pack, folder / "single", live=live, seed=seed, progress=progress)
    if not noisy:
        return Stolen(access=access, fitted_on=access, noisy=False, white=white, averaged=None)
    several = BlackBox(victim.encoder, fabric, pack.size, draws=draws)

    def averaged() -> Access:
        live = several if size > RECORD_BYTES else None
        return _record(several, pack, folder / "averaged", live=live, seed=seed, progress=progress)

    fitted_on: Access = several
    if size <= RECORD_BYTES:
        parts = ("public",)
        fitted_on = _record(several, pack, folder / "averaged", live=None, seed=seed, progress=progress, parts=parts)
    return Stolen(access=access, fitted_on=fitted_on, noisy=True, white=white, averaged=averaged)


def _record(
    asked: BlackBox,
    pack: Pack,
    folder: Path,
    *,
    live: Access | None,
    seed: int,
    progress: bool,
    parts: tuple[str, ...] = ("validation", "test", "public", "public mirrored"),
    ask: Callable[[Tensor], Tensor] | None = None,
) -> FeatureDump:
    """Keep what the encoder says of some parts, by `ask` if given, except of the public ones if it is asked `live`."""
    ask = ask or asked
    all_parts: list[tuple[str, Part, bool]] = [
        ("validation", pack.validation, False),
        ("test", pack.test, False),
        ("public", pack.public, False),
        ("public mirrored", pack.public, True),
    ]
    wanted = [each for each in all_parts if each[0] in parts and (live is None or not each[0].startswith("public"))]
    stored: dict[str, NDArray[np.generic]] = {}
    paths = {name: folder / f"{name.replace(' ', '-')}.npy" for name, _, _ in wanted}
    to_ask = sum(len(part) for name, part, _ in wanted if not paths[name].exists())
    with track("ask the encoder", to_ask, enabled=progress and to_ask > 0) as advance:
        for name, part, mirrored in wanted:
            path = paths[name]
            if not path.exists():
                with whole(path) as partial, asked.seeded(seed, folder.name, name):
                    kept = new_array(partial, np.float32, (len(part), *asked.shape))
                    for start in range(0, len(part), 256):
                        index = np.arange(start, min(start + 256, len(part)))
                        pictures = load(part, index, np.full(len(index), mirrored), asked.device)
                        kept[index] = ask(pictures).cpu().numpy()
                        advance(len(index))
                    check_finite(kept, part, "the encoder's features")
                    kept.flush()
            stored[name] = np.load(path, mmap_mode="r")
    flipped = {"public": stored.pop("public mirrored")} if "public mirrored" in stored else None
    return FeatureDump(stored, asked.device, flipped, live=live)
