"""Train a face verifier on the identities of a pack, where no ready one is at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW

from oneway.config import Count, Positive, Several, Whole, checked, from_dict, record, to_dict
from oneway.data.batches import Batches
from oneway.data.packed import Pack, Part
from oneway.errors import DivergedError, InputError
from oneway.judges.embedding import is_embedding, open_embedding
from oneway.judges.named import is_named, open_named
from oneway.judges.preprocessing import Preprocessing
from oneway.judges.vectors import GROUP
from oneway.judges.verifier import Embedding, OnnxVerifier, TorchVerifier, Verifier
from oneway.models.encoder import EncoderConfig, backbone
from oneway.plugins import points
from oneway.progress import track
from oneway.runtime import RuntimeConfig, launch, lay_out
from oneway.storage import runs
from oneway.storage.atomic import check_place, check_writable

SCALE, MARGIN = 24.0, 0.2
OWN = "verifier.safetensors"
"""The file of a pack's own verifier, in the pack's folder."""


@checked
@dataclass(frozen=True, kw_only=True)
class IdentificationConfig:
    """How a verifier is trained.

    Attributes:
        width: factor on the channels of a ResNet-18.
        feature_width: length of its features.
        steps: of AdamW, with a linear rise and a cosine fall of the learning rate.
        batch_size: pictures in a batch.
        learning_rate: the highest.
        seed: of the initial weights and of the order of the pictures.

    """

    width: Positive = 0.25
    feature_width: Several = 128
    steps: Count = 1200
    batch_size: Several = 64
    learning_rate: Positive = 4e-3
    seed: Whole = 0


@record
@dataclass(frozen=True, kw_only=True)
class Identified:
    """What the file of a verifier says: how it was trained, and pixels a side of its pictures."""

    identification: IdentificationConfig
    size: Count


def identify(
    pack: Pack,
    path: Path,
    config: IdentificationConfig | None = None,
    *,
    runtime: RuntimeConfig | None = None,
    progress: bool = True,
) -> TorchVerifier:
    """Train a network to tell the pack's private and public people apart, and keep it in the file `path`.

    The loss is the additive cosine margin of CosFace (Wang et al. 2018). The verifier judges attacks and is given to
    no attacker; validation and test people are new to it.

    Args:
        pack: pictures of people who appear more than once.
        path: a safetensors file to write.
        config: the network and its training.
        runtime: where it runs.
        progress: show a bar.

    Raises:
        InputError: if no person of the pack appears twice.
        DivergedError: if the loss is no longer finite; then nothing is kept.

    """
    config = config or IdentificationConfig()
    part = Part(pack=pack, rows=slice(0, len(pack.private) + len(pack.public)))
    names, people = np.unique(part.identities, return_inverse=True)
    if len(names) == len(part):
        raise InputError(
            f"{pack.path} has one picture of each person, from which no verifier can be trained; "
            "give one with --verifier, an ONNX file"
        )
    check_place(path)
    fabric = launch(runtime or RuntimeConfig())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = lay_out(_network(config, pack.size), fabric.device)
        centres = nn.Parameter(torch.randn(len(names), config.feature_width))
    head = nn.ParameterList([centres])
    optimizer = AdamW(
        [*network.parameters(), *head.parameters()], lr=config.learning_rate, weight_decay=0.05, fused=True
    )
    head = head.to(fabric.device)
    batches = Batches(part, people, batch_size=config.batch_size, seed=config.seed, device=fabric.device)
    with track("train the verifier", config.steps, "steps", enabled=progress) as advance:
        for step in range(config.steps):
            done = (step + 1) / config.steps
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * min(1.0, 10 * done) * (0.5 + 0.5 * math.cos(math.pi * done))
            pictures, person = batches(step)
            with fabric.autocast():
                features = network(pictures)
            loss = margin_loss(features.float(), head[0], person)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % 20 == 0 or step + 1 == config.steps:
                told = float(loss.detach())
                if not math.isfinite(told):
                    raise _diverged(step + 1, config)
                advance(min(20, step % 20 + 1), loss=told)
    if not all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values()):
        raise _diverged(config.steps, config)  # by the last step itself
    runs.write_tensors(path, network.state_dict(), {"identification": to_dict(config), "size": pack.size})
    return TorchVerifier(network, path.name)


def _diverged(step: int, config: IdentificationConfig) -> DivergedError:
    return DivergedError(
        f"the verifier's training diverged by step {step}, and nothing was kept; lower its learning_rate "
        f"({config.learning_rate:g})"
    )


def margin_loss(features: Tensor, centres: Tensor, person: Tensor) -> Tensor:
    """Cross-entropy of scaled cosines, the right person's lowered by a margin (CosFace, eq. 4).

    Args:
        features: (n, d).
        centres: (num_people, d).
        person: (n,) indices of the right centres.

    """
    cosine = F.normalize(features) @ F.normalize(centres).T
    lowered = cosine - MARGIN * F.one_hot(person, len(centres))
    return F.cross_entropy(SCALE * lowered, person)


def load(path: Path) -> TorchVerifier:
    """Load a verifier that `identify` wrote.

    Raises:
        InputError: if the file is missing or something else.

    """
    tensors, about = runs.read_tensors(path)
    remedy = "make a verifier with `oneway verifier`, or give an ONNX file"
    if "identification" not in about:
        raise InputError(f"{path} is not a verifier, which says its identification; {remedy}")
    made = from_dict(Identified, about, f"{path}: ", remedy)
    try:
        network = _network(made.identification, made.size)
    except InputError as error:
        raise InputError(f"{path}: size, width: {error}") from error
    runs.fill(network, tensors, path)
    return TorchVerifier(network, path.name)


class OwnVerifier:
    """The verifier of a pack's own people, which is trained the first time that anything is asked of it.

    So whoever is given it can check all else before; it is kept in the pack's folder, and loaded where it is there.

    Raises:
        InputError: if it is not there and the folder cannot be written.

    """

    name = OWN

    def __init__(self, pack: Pack, *, progress: bool = True) -> None:
        self._pack, self._path, self._progress = pack, pack.path / OWN, progress
        if self._path.is_file():
            return
        try:
            check_writable(pack.path)
        except InputError as error:
            raise InputError(
                f"{pack.path} cannot be written, where its own verifier would be kept; train one elsewhere by `oneway "
                "verifier DATA --out FILE`, and give it with --verifier FILE"
            ) from error

    @cached_property
    def _trained(self) -> TorchVerifier:
        if self._path.is_file():
            return load(self._path)
        return identify(self._pack, self._path, progress=self._progress)

    @property
    def fingerprint(self) -> str:
        """That of its network."""
        return self._trained.fingerprint

    def differentiable(self, device: torch.device) -> Embedding:
        """Give its network, see `surrogate.Differentiable`."""
        return self._trained.differentiable(device)

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        return self._trained(pictures, landmarks)


def open_verifier(
    pack: Pack,
    path: Path | str | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    progress: bool = True,
) -> Verifier | None:
    """Open the verifier that judges attacks on a pack.

    Args:
        pack: whose faces it will be given.
        path: an ONNX file, a file that `oneway verifier` wrote, the name of a judge that another package adds, or for
            pictures that show no people any network and its weights, `vgg16:FILE` or `timm:NAME,option=value:FILE`;
            without one, the pack's own is used, which is trained on its identities the first time that anything is
            asked of it.
        preprocessing: how an ONNX file takes pictures; by default as the JSON file beside it says, or as the network is
            known to (docs/judges.md).
        progress: show a bar while it is trained.

    Returns:
        nothing, if no path is given and no person of the pack appears twice.

    Raises:
        InputError: if the file is missing or something else, if nothing says how it takes pictures, or if it needs
            landmarks that the pack has not.

    """
    if path is not None:
        if is_named(path):
            return open_named(str(path), pack)
        if is_embedding(path):
            return open_embedding(str(path), pack)
        if Path(path).suffix.lower() != ".onnx":
            if not Path(path).exists():
                named = "".join(f", or {name}" for name in points(GROUP))
                raise InputError(
                    f"verifier {str(path)!r} does not exist; give an ONNX file, a file made by `oneway verifier`, or "
                    f"vgg16:FILE or timm:NAME:FILE for pictures of anything{named}"
                )
            return load(Path(path))
        opened = OnnxVerifier(Path(path), preprocessing, others=pack.public)
        opened.check(pack)
        return opened
    if pack.private.num_people == len(pack.private) and not (pack.path / OWN).is_file():
        return None
    return OwnVerifier(pack, progress=progress)


def open_verifiers(pack: Pack, paths: Sequence[Path | str], *, progress: bool = True) -> list[Verifier]:
    """Open the verifiers at paths, each as `open_verifier` does; without a path the pack's own, if it can have one."""
    opened = [open_verifier(pack, path, progress=progress) for path in paths or (None,)]
    return [verifier for verifier in opened if verifier is not None]


def _network(config: IdentificationConfig, size: int) -> nn.Module:
    return backbone(EncoderConfig(cut="fc", width=config.width, feature_width=config.feature_width), size)
