"""Time our protect step against the plain fp32 version of the same step, interleaved in one run.

The plain step is what one writes first: fp32, contiguous, `detach` instead of `no_grad`, every weight's gradient, the
encoder asked again for each decoder step. Prints one JSON object: medians in milliseconds and their ratio; what our
step computes, beside the rate of a large matrix product in the same run; and the share of it that waits for pictures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim import AdamW
from torch.utils.flop_counter import FlopCounterMode

from oneway.data.batches import Batches
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.devices import has_bf16
from oneway.models.decoder import mirror
from oneway.models.noise import Noisy
from oneway.protection.config import ProtectConfig, small
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.runtime import RuntimeConfig, launch
from oneway.storage import runs
from oneway.tasks.registry import task_of

SIDE = {"cpu": 2048, "cuda": 8192}
"""Rows of the matrices whose product says what the machine can do."""
WARM = 3
"""Steps of each version that are not counted."""


def begin(pack: Pack, config: ProtectConfig, folder: Path) -> Training:
    """Begin a run in the middle of the game."""
    protector = build(config, size=pack.size, num_logits=len(pack.attributes))
    training = Training(launch(config.runtime), pack, task_of(pack), config, protector, folder)
    training.step = training.warm_steps
    return training


def ours(training: Training) -> Callable[[], object]:
    """Give our step."""

    def step() -> None:
        torch.set_flush_denormal(True)
        training.play()
        training.step += 1

    return step


def plain(pack: Pack, config: ProtectConfig) -> Callable[[], object]:
    """Give the same step in fp32, with nothing done about its speed."""
    device = torch.device(config.runtime.device)
    protector = build(config, size=pack.size, num_logits=len(pack.attributes)).train()
    decoder = mirror(protector.encoder, pack.size).train().to(device)
    protector.to(device)
    encoder, classifier = protector.encoder, protector.classifier
    ours_optimizer = AdamW(protector.parameters(), lr=config.learning_rate, fused=False)
    theirs_optimizer = AdamW(decoder.parameters(), lr=config.decoder_learning_rate, fused=False)
    labels = pack.private.labels().astype("float32")
    private = Batches(pack.private, labels, batch_size=config.batch_size, seed=0, device=device)
    public = Batches(pack.public, batch_size=config.game.decoder_batch_size, seed=1, device=device)
    steps = itertools.count()

    def step() -> None:
        torch.set_flush_denormal(False)
        number = next(steps)
        for turn in range(config.game.decoder_steps):
            pictures = public(number * config.game.decoder_steps + turn)[0].contiguous()
            error = F.mse_loss(decoder(encoder(pictures).detach()), pictures)
            theirs_optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            theirs_optimizer.step()
        pictures, labels = private(number)
        pictures = pictures.contiguous()
        features = encoder(pictures)
        utility = F.binary_cross_entropy_with_logits(classifier(features), labels)
        loss = utility - config.game.pixel * F.mse_loss(decoder(features), pictures)
        ours_optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        ours_optimizer.step()

    return step


def pictures(training: Training) -> Callable[[], object]:
    """Give what our step does before it computes: the batches of both players."""

    def read() -> None:
        for turn in range(training.config.game.decoder_steps):
            training.public(training.step * training.config.game.decoder_steps + turn)
        training.private(training.step)

    return read


def product(training: Training) -> Callable[[], object]:
    """Give a large matrix product in the precision of our step."""
    side = SIDE[training.fabric.device.type]
    left, right = (torch.rand(side, side, device=training.fabric.device) for _ in range(2))

    def multiply() -> None:
        with training.fabric.autocast():
            left @ right

    return multiply


def compiled(training: Training) -> Training:
    """Let torch compile both players, all but the drawing of noise."""
    encoder = training.protector.network.encoder
    for network in (
        encoder.encoder if isinstance(encoder, Noisy) else encoder,
        training.protector.network.classifier,
        training.adversary.network,
    ):
        network.compile()
    return training


def wait(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def measure(pack: Pack, config: ProtectConfig, rounds: int, folder: Path, *, compiling: bool = False) -> dict[str, Any]:
    """Time the steps in turn, after some that do not count: medians in milliseconds, and what they are bounded by."""
    device = config.runtime.device
    training = begin(pack, config, folder)
    with FlopCounterMode(display=False) as counter:
        training.play()
    steps = {
        "ours": ours(training),
        "plain": plain(pack, config),
        "pictures": pictures(training),
        "product": product(training),
    }
    if compiling:
        steps["compiled"] = ours(compiled(begin(pack, config, folder)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + WARM):
        for name, step in steps.items():
            wait(device)
            begun = time.perf_counter()
            step()
            wait(device)
            if number >= WARM:
                times[name].append(1000 * (time.perf_counter() - begun))
    medians = {name: statistics.median(values) for name, values in times.items()}
    side = SIDE[device]
    best = 2 * side**3 / medians["product"] / 1e6
    figures: dict[str, Any] = {
        "gflop_a_step": round(counter.get_total_flops() / 1e9, 1),
        "gflop_a_second_of_a_product": round(best, 1),
        "share_for_pictures": round(medians["pictures"] / medians["ours"], 3),
        "plain_ms": round(medians["plain"], 1),
    }
    for name in ("ours", "compiled")[: 1 + compiling]:
        ratio = statistics.median(p / o for p, o in zip(times["plain"], times[name], strict=True))
        rate = counter.get_total_flops() / medians[name] / 1e6
        figures[name] = {
            "ms": round(medians[name], 1),
            "ratio": round(ratio, 2),
            "gflop_a_second": round(rate, 1),
            "share_of_a_product": round(rate / best, 3),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet18", help="resnet18, resnet34 or resnet50")
    parser.add_argument("--stem", default="small", choices=("small", "full"), help="as EncoderConfig takes it")
    parser.add_argument("--cut", default="layer2", help="layer after which features leave the device")
    parser.add_argument("--width", type=float, default=0.25, help="factor on the network's channels")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each version")
    parser.add_argument("--device", default="cpu", choices=tuple(SIDE), help="where both compute")
    parser.add_argument("--compile", action="store_true", help="time our step under torch.compile too")
    arguments = parser.parse_args()
    chosen = {name: getattr(arguments, name) for name in ("backbone", "stem", "cut", "width")}
    network = replace(small().network, **chosen)
    game = replace(small().game, pixel=0.1)
    config = replace(small(), network=network, game=game, runtime=RuntimeConfig(device=arguments.device))
    with tempfile.TemporaryDirectory() as folder:
        pack = prepare(synthetic_source(100, 4, 0), Path(folder) / "faces", size=arguments.size, progress=False)
        figures = measure(pack, config, arguments.rounds, Path(folder), compiling=arguments.compile)
    settings = {**vars(arguments), "batch": config.batch_size, "bf16": has_bf16(arguments.device)}
    print(json.dumps({"settings": settings, **figures, "machine": runs.provenance()["machine"]}))


if __name__ == "__main__":
    main()
