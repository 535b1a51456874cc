"""Time our training steps against those of another library, InferenceBenchmark, interleaved in one run.

They are the game of DeepObfuscator (our recipe `deepobfuscator`) and the supervised decoder attack (our `inversion`).
Both sides have copies of its networks: ResNet-18 of some width (1 is its own) cut after layer2, the rest of it as the
classifier, and its decoder, which learns once a step. Size, batches and fp32 are the same, and both attacks read stored
features and minimise the squared error. These differences are left, since each side's own step has them:

- Our players learn from different people, so a step passes two batches through encoder and decoder. Its players share
  one batch and one pass forward; its encoder is passed backward twice.
- Structural similarity is its decoder's loss as well, which ours has in squared error. Its classifier learns one label
  of as many classes as we have attributes.
- Our step reads its pictures from the pack and whitens features in front of the decoder; its are ready in memory.
- Ours lays memory out channels last, except for batch normalisation of few channels, as in its decoder.

Needed are a clone of aidecentralized/InferenceBenchmark (tried at f432656) and pytorch-msssim. Its log is left out, and
so is its perceptual network, which neither step asks for. Prints one JSON object: medians in milliseconds, and how many
times as long as ours its step takes: below 1 it is faster.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import torch
from torch import Tensor, nn

from oneway.attacks.access import BlackBox, FeatureDump, all_features
from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, invert
from oneway.data.batches import Batches
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.models.decoder import Decoder, mirror
from oneway.models.encoder import EncoderConfig, backbone
from oneway.protection.config import ProtectConfig, small
from oneway.protection.game import Protector, player
from oneway.protection.recipes import prescribe
from oneway.protection.train import Training
from oneway.runtime import RuntimeConfig, launch
from oneway.storage import runs
from oneway.tasks.registry import task_of

WARM = 2
"""Steps of each before those that count."""


@dataclass(frozen=True)
class Peer:
    """Its defence, the classifier that its defence leaves to a server, and its attack, each with its optimizer."""

    defence: Any
    server: Any
    attack: Any

    def defend(self, pictures: Tensor, labels: Tensor) -> None:
        """Take a step of the defence, in the order of its scheduler."""
        self.server.forward(self.defence.forward({"x": pictures}))
        self.defence.backward({"server_grads": self.server.backward(labels)})

    def invert(self, features: Tensor, pictures: Tensor) -> None:
        """Take a step of the attack."""
        self.attack.forward({"z": features, "x": pictures})
        self.attack.backward({})


def open_peer(checkout: Path, width: float, size: int, num_logits: int) -> Peer:
    """Make the peer's objects with its networks at any width."""
    sys.path.insert(0, str(checkout / "src"))
    sys.modules["lpips"] = MagicMock()
    names = ("algos.deepobfuscator", "models.model_zoo", "algos.supervised_decoder")
    try:
        obfuscator, zoo, decoder = (importlib.import_module(name) for name in names)
    except ImportError as error:
        sys.exit(
            f"--checkout {checkout} cannot be imported ({error}); give a clone of aidecentralized/InferenceBenchmark "
            "and install pytorch-msssim"
        )
    registry: dict[str, nn.Module] = {}
    utils = SimpleNamespace(
        model_registry=registry,
        register_model=registry.__setitem__,
        model_on_gpus=lambda model: model,
        logger=SimpleNamespace(register_tag=lambda *_: None, add_entry=lambda *_: None),
    )
    config = {"model_name": "resnet18", "split_layer": 6, "pretrained": False, "optimizer": "adam", "lr": 3e-4}
    config |= {"alpha": 0.5, "proxy_adversary": {"img_size": size}}
    network = EncoderConfig(width=width, stem="full")
    with patch("torchvision.models.resnet18", lambda **_: backbone(network, size)):
        defence = obfuscator.DeepObfuscator(config, utils)  # adds the shape of the features to config
        server = zoo.Model(config | {"logits": num_logits}, utils)
        attack = decoder.SupervisedDecoder(config | {"attribute": "data", "loss_fn": "l1"}, utils)
    attack.loss_fn = attack.metric.l2
    for each in (defence, server, attack):
        each.train()
    return Peer(defence, server, attack)


class Turns:
    """Called after each of our steps, lets the peer take its own, and times both in milliseconds."""

    def __init__(self, theirs: Callable[[], None]) -> None:
        self._theirs, self._begun = theirs, time.perf_counter()
        self._times: dict[str, list[float]] = {"ours": [], "peer": []}

    def __call__(self) -> None:
        """Take the peer's turn."""
        ended = time.perf_counter()
        torch.set_flush_denormal(False)
        self._theirs()
        for name, seconds in (("ours", ended - self._begun), ("peer", time.perf_counter() - ended)):
            self._times[name].append(1000 * seconds)
        torch.set_flush_denormal(True)
        self._begun = time.perf_counter()

    def summary(self) -> dict[str, float]:
        """Give the medians, and the median ratio."""
        ours, peer = self._times["ours"][WARM:], self._times["peer"][WARM:]
        ratio = statistics.median(p / o for p, o in zip(peer, ours, strict=True))
        medians = {"ours_ms": statistics.median(ours), "peer_ms": statistics.median(peer)}
        return {name: round(value, 1) for name, value in medians.items()} | {"ratio": round(ratio, 2)}


def around(network: nn.Module, encoder: nn.Module, size: int) -> Decoder:
    """Put a copy of the peer's decoder into ours, of which the whitening is left."""
    decoder = mirror(encoder, size)
    decoder.read, decoder.layers = copy.deepcopy(network), nn.Sequential()
    return decoder


def defences(pack: Pack, config: ProtectConfig, peer: Peer, rounds: int, folder: Path) -> dict[str, float]:
    """Time the steps of the two defences."""
    encoder, classifier = copy.deepcopy(peer.defence.client_model), copy.deepcopy(peer.server.model)
    fabric, decoder = launch(config.runtime), around(peer.defence.proxy_adv_model, encoder, pack.size)
    training = Training(fabric, pack, task_of(pack), config, Protector(encoder, classifier), folder)
    training.adversary = player(fabric, decoder, config.decoder_learning_rate, 0.0)
    pictures, labels = Batches(pack.private, pack.private.labels(), batch_size=config.batch_size, seed=0)(0)
    pictures, labels = pictures.contiguous(), labels.int().argmax(dim=1)
    turns = Turns(lambda: peer.defend(pictures, labels))
    for _ in range(WARM + rounds):
        training.play()
        training.step += 1
        turns()
    return turns.summary()


def attacks(pack: Pack, config: ProtectConfig, peer: Peer, rounds: int, folder: Path) -> dict[str, float]:
    """Time the steps of the two attacks, ours in its own loop: from one batch that its decoder reads to the next."""
    fabric, encoder = launch(config.runtime), copy.deepcopy(peer.defence.client_model)
    decoder = around(peer.attack.model, encoder, pack.size)
    box = BlackBox(encoder, fabric, pack.size)
    stored = {part.split: all_features(box, part) for part in (pack.public, pack.validation)}
    access = FeatureDump(stored, fabric.device, {"public": all_features(box, pack.public, mirrored=True)})
    pictures = Batches(pack.public, batch_size=config.batch_size, seed=0)(0)[0].contiguous()
    features = box(pictures)
    turns = Turns(lambda: peer.invert(features, pictures))
    decoder.register_forward_pre_hook(lambda network, _: turns() if network.training else None)
    schedule = InversionConfig(batch_size=config.batch_size, check_every=WARM + rounds, max_steps=WARM + rounds)
    place = Place(fabric=fabric, checkpoint=folder / "attack.safetensors", progress=False)
    invert(access, pack.public, pack.validation, decoder, schedule, place)
    return turns.summary()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True, help="clone of aidecentralized/InferenceBenchmark")
    parser.add_argument("--width", type=float, default=0.25, choices=(0.25, 0.5, 1.0), help="factor on the channels")
    parser.add_argument("--size", type=int, default=64, choices=(64, 128, 256), help="pixels a side")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each version")
    arguments = parser.parse_args()
    game = replace(small().game, decoder_batch_size=small().batch_size)
    config = replace(small(), game=game, runtime=RuntimeConfig(device="cpu", precision="32"))
    config = prescribe(config, "deepobfuscator")
    with tempfile.TemporaryDirectory() as folder:
        pack = prepare(synthetic_source(100, 4, 0), Path(folder) / "faces", size=arguments.size, progress=False)
        peer = open_peer(arguments.checkout, arguments.width, arguments.size, len(pack.attributes))
        results = {
            "defence": defences(pack, config, peer, arguments.rounds, Path(folder)),
            "attack": attacks(pack, config, peer, arguments.rounds, Path(folder)),
        }
    settings = {"width": arguments.width, "size": arguments.size, "batch": config.batch_size}
    machine = {"threads": torch.get_num_threads(), "machine": runs.provenance()["machine"]}
    print(json.dumps({**settings, **results, **machine}))


if __name__ == "__main__":
    main()
