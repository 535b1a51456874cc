"""Say what an audit's attackers gain by reading one record of the encoder's answers, and what that is bounded by.

Trains each of the panel's decoders for some steps, in turn on recorded features and on an encoder that is asked at
every step, as each would alone. Prints one JSON object: what the encoder and a step of each attacker compute, medians
in milliseconds a step, and the ratio of the whole panel.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from oneway.attacks.access import Access, BlackBox, FeatureDump, all_features
from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.attacks.panel import attackers
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.models.decoder import stages_of
from oneway.protection.config import small
from oneway.protection.recipes import prescribe
from oneway.protection.run import build
from oneway.runtime import RuntimeConfig, launch
from oneway.storage import runs

PANEL = {
    name: attacker.config
    for name, attacker in attackers().items()
    if attacker.config and not attacker.sees and name != "gan"
}
"""The decoders of a panel by default, by name."""
STEPS = 10


def gigaflop(work: Callable[[], object]) -> float:
    """Count what a piece of work computes."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9


def learn(decoder: nn.Module, features: Tensor) -> None:
    """Draw pictures and find how to draw them better."""
    decoder(features).square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18", help="resnet18, resnet34 or resnet50")
    parser.add_argument("--cut", default="layer2", help="layer after which features leave the device")
    parser.add_argument("--width", type=float, default=0.25, help="factor on the network's channels")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of 10 steps of each")
    arguments = parser.parse_args()
    network = replace(small().network, backbone=arguments.backbone, cut=arguments.cut, width=arguments.width)
    config = prescribe(replace(small(), network=network, runtime=RuntimeConfig(device="cpu")), "none")
    fabric = launch(config.runtime)
    with tempfile.TemporaryDirectory() as folder:
        pack = prepare(synthetic_source(100, 4, 0), Path(folder) / "faces", size=arguments.size, progress=False)
        encoder = build(config, size=pack.size, num_logits=len(pack.attributes)).encoder
        asked = BlackBox(encoder, fabric, pack.size)
        stored = {part.split: all_features(asked, part) for part in (pack.public, pack.validation)}
        mirrored = {"public": all_features(asked, pack.public, mirrored=True)}
        accesses: dict[str, Access] = {"recorded": FeatureDump(stored, fabric.device, mirrored), "asked": asked}

        pictures = torch.rand(InversionConfig().batch_size, 3, pack.size, pack.size)
        computed = [gigaflop(partial(asked, pictures))]
        for config_of in PANEL.values():
            decoder = draw_decoder(config_of, asked.shape, stages_of(encoder, pack.size), pack.size)
            computed.append(gigaflop(partial(learn, decoder, asked(pictures))))

        def attack(name: str, access: Access) -> None:
            chosen = replace(PANEL[name], max_steps=STEPS, check_every=STEPS)
            decoder = draw_decoder(chosen, access.shape, stages_of(encoder, pack.size), pack.size)
            checkpoint = Path(folder) / "attack.safetensors"
            place = Place(fabric=fabric, checkpoint=checkpoint, progress=False)
            invert(access, pack.public, pack.validation, decoder, chosen, place)
            checkpoint.unlink(missing_ok=True)

        times: dict[str, dict[str, list[float]]] = {name: {how: [] for how in accesses} for name in PANEL}
        for number in range(arguments.rounds + 1):
            for name, taken in times.items():
                for how, access in accesses.items():
                    begun = time.perf_counter()
                    attack(name, access)
                    if number:
                        taken[how].append(1000 * (time.perf_counter() - begun) / STEPS)
    medians = {name: {how: statistics.median(values) for how, values in taken.items()} for name, taken in times.items()}
    whole = {how: sum(taken[how] for taken in medians.values()) for how in accesses}
    print(
        json.dumps(
            {
                "settings": vars(arguments),
                "gflop_of_the_encoder": round(computed[0], 2),
                "gflop_of_a_step": dict(zip(PANEL, (round(value, 2) for value in computed[1:]), strict=True)),
                "ms_a_step": {
                    name: {how: round(value, 1) for how, value in taken.items()} for name, taken in medians.items()
                },
                "ratio_of_the_panel": round(whole["asked"] / whole["recorded"], 2),
                "machine": runs.provenance()["machine"],
            }
        )
    )


if __name__ == "__main__":
    main()
