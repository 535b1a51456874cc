"""Time our protect step against the plain fp32 version of the same step, interleaved in one run.

The plain step is what one writes first: fp32, contiguous, `detach` instead of `no_grad`, every weight's gradient, the
encoder asked again for each decoder step. Prints one JSON object: medians in milliseconds and their ratio.
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

import torch
import torch.nn.functional as F
from torch.optim import AdamW

from oneway import runs
from oneway.data.batches import Batches
from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.models.decoder import mirror
from oneway.protection.config import ProtectConfig, small
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.runtime import RuntimeConfig, launch


def ours(pack: Pack, config: ProtectConfig, folder: Path) -> Callable[[], object]:
    """Give our step, in the middle of the game."""
    fabric = launch(config.runtime)
    protector = build(config, size=pack.size, num_attributes=len(pack.attributes))
    training = Training(fabric, pack, pack.attributes, config, protector, folder)
    training.step = training.warm_steps

    def step() -> None:
        torch.set_flush_denormal(True)
        training.play()
        training.step += 1

    return step


def plain(pack: Pack, config: ProtectConfig) -> Callable[[], object]:
    """Give the same step in fp32, with nothing done about its speed."""
    protector = build(config, size=pack.size, num_attributes=len(pack.attributes)).train()
    encoder, classifier = protector.encoder, protector.classifier
    decoder = mirror(encoder, pack.size, width=config.game.decoder_width).train()
    ours_optimizer = AdamW(protector.parameters(), lr=config.learning_rate, fused=False)
    theirs_optimizer = AdamW(decoder.parameters(), lr=config.decoder_learning_rate, fused=False)
    private = Batches(pack.private, pack.private.labels().astype("float32"), batch_size=config.batch_size, seed=0)
    public = Batches(pack.public, batch_size=config.game.decoder_batch_size, seed=1)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cut", default="layer2", help="layer after which features leave the device")
    parser.add_argument("--width", type=float, default=0.25, help="factor on the network's channels")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each version")
    arguments = parser.parse_args()
    network = replace(small().network, cut=arguments.cut, width=arguments.width)
    config = replace(small(), network=network, runtime=RuntimeConfig(device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        pack = prepare(synthetic_source(100, 4, 0), Path(folder) / "faces", size=arguments.size, progress=False)
        steps = {"ours": ours(pack, config, Path(folder)), "plain": plain(pack, config)}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(arguments.rounds + 2):
            for name, step in steps.items():
                begun = time.perf_counter()
                step()
                if number >= 2:
                    times[name].append(1000 * (time.perf_counter() - begun))
    medians = {f"{name}_ms": round(statistics.median(values), 1) for name, values in times.items()}
    ratio = statistics.median(p / o for p, o in zip(times["plain"], times["ours"], strict=True))
    settings = {"cut": arguments.cut, "width": arguments.width, "size": arguments.size, "batch": config.batch_size}
    print(json.dumps({**settings, **medians, "ratio": round(ratio, 2), "machine": runs.provenance()["machine"]}))


if __name__ == "__main__":
    main()
