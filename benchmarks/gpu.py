"""Try everything on one GPU in minutes: every command, the speed of a step, then control and recipe with their audits.

Three parts, each given by its name, all of them by default; each writes what it finds to a file of its own as it goes,
so that a machine that is taken away loses nothing:

- `smoke`: every command on drawn faces, and what must be refused.
- `steps`: our step beside the plain one in fp32, and torch.compile beside both; `benchmarks/step.py` says how.
- `whole`: control and recipe by ResNet-18 at full width, 128 px, and a brief audit of each by all judges, side by side.

A machine may lack, of what oneway needs beside torch 2.11: aggdraw, docstring-parser, lightning-fabric, onnx2torch,
pydantic (with pydantic-core, annotated-types, typing-inspection), and tyro (with typeguard).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.protection.config import small
from oneway.protection.recipes import names
from oneway.runtime import RuntimeConfig
from oneway.storage import runs
from step import measure

EXPORT = """
import sys, torch, oneway
run = oneway.Run.open(sys.argv[1])
encoder = run.load().encoder
grey = torch.full((2, 3, run.pack.size, run.pack.size), 0.5)
axes = {"pictures": {0: "n"}}
torch.onnx.export(encoder, (grey,), sys.argv[2], input_names=["pictures"], dynamic_axes=axes, dynamo=False)
"""
"""Writes the encoder of a run as ONNX."""
GENERATOR = """
import sys, torch
from torch import nn
torch.manual_seed(0)
reading = nn.Sequential(nn.Linear(16, 512), nn.LeakyReLU(), nn.Unflatten(1, (32, 4, 4)))
network = nn.Sequential(reading, nn.ConvTranspose2d(32, 3, 8, 8), nn.Sigmoid()).eval()
axes = {"latents": {0: "n"}}
torch.onnx.export(network, (torch.zeros(2, 16),), sys.argv[1], input_names=["latents"], dynamic_axes=axes, dynamo=False)
"""
"""Writes a generator of nothing in particular."""


class Notes:
    """What was found, one JSON object a line, on disk at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def add(self, **found: object) -> None:
        """Note what was found."""
        line = json.dumps(found)
        print(line, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")


def command(*words: object) -> list[str]:
    """Give the call of a command of ours."""
    return [sys.executable, "-m", "oneway", *map(str, words)]


def call(notes: Notes, name: str, words: Sequence[str], *, limit: float, refused: bool = False) -> bool:
    """Run one process, note how it ended and how long it took, and say whether it ended as it should."""
    begun = time.perf_counter()
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit, check=False)
        code, said = done.returncode, f"{done.stdout}\n{done.stderr}".strip()
    except subprocess.TimeoutExpired as late:
        code, said = -1, f"no end in {limit:.0f} s: {late.stderr!r}"
    good = (code in (1, 2) and "Traceback" not in said) if refused else code == 0
    notes.add(
        name=name,
        good=good,
        code=code,
        seconds=round(time.perf_counter() - begun, 1),
        said=said[-400 if good else -3000 :],
    )
    return good


def smoke(out: Path, judges: Sequence[Path]) -> None:
    """Try every command on drawn faces."""
    notes, judged = Notes(out / "smoke.jsonl"), [word for judge in judges for word in ("--verifier", judge)]
    few = ("--set", "steps=40")
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        faces, control, recipe = at / "faces", at / "u", at / "p"
        call(notes, "prepare", command("prepare", "synthetic", "--people", 700, "--shots", 3, "--out", faces), limit=60)
        call(
            notes, "control", command("protect", faces, "--defence", "none", "--steps", 150, "--out", control), limit=60
        )
        call(notes, "recipe", command("protect", faces, "--steps", 150, "--out", recipe), limit=60)
        killed(notes, faces, at / "killed")
        call(notes, "attack", command("attack", control, "--steps", 40, *judged[:2], "--out", at / "au"), limit=60)
        for name, victim in (("control", control), ("recipe", recipe)):
            call(
                notes,
                f"audit of the {name}",
                command(
                    "audit", victim, *judged, *few, "--set", "optimisation.steps=20", "--out", at / f"audit-{name}"
                ),
                limit=150,
            )
        call(notes, "export", [sys.executable, "-c", EXPORT, str(control), str(at / "u.onnx")], limit=60)
        call(
            notes,
            "audit of ONNX",
            command(
                "audit",
                at / "u.onnx",
                "--data",
                faces,
                "--set",
                "pixels=0..1",
                "--set",
                "brief=true",
                *judged,
                *few,
                "--out",
                at / "ao",
            ),
            limit=90,
        )
        call(notes, "generator", [sys.executable, "-c", GENERATOR, str(at / "g.onnx")], limit=60)
        imagined = ("--set", f"generator={at / 'g.onnx'}", "--set", "attackers=generative", "--set", "brief=true")
        call(
            notes,
            "audit with a generator",
            command("audit", recipe, *imagined, *judged, *few, "--out", at / "ag"),
            limit=90,
        )
        call(notes, "verifier", command("verifier", faces, "--steps", 40, "--out", at / "own.safetensors"), limit=60)
        two = command("protect", faces, "--steps", 20, "--set", "runtime.devices=2", "--out", at / "two")
        call(notes, "two processes on one GPU", two, limit=60, refused=True)
        for defence in sorted(set(names()) - {"none", "recipe"}):
            call(
                notes,
                f"defence {defence}",
                command("protect", faces, "--defence", defence, "--steps", 20, "--out", at / defence),
                limit=60,
            )
        fc = command("protect", faces, "--preset", "paper", "--cut", "fc", "--steps", 20, "--out", at / "paper")
        call(notes, "preset paper at fc", fc, limit=90)


def killed(notes: Notes, faces: Path, out: Path) -> None:
    """Kill a run once it has a checkpoint, and go on with it."""
    words = command("protect", faces, "--steps", 100, "--set", "runtime.checkpoint_seconds=0", "--out", out)
    begun = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (out / runs.CHECKPOINT).exists() and begun.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    begun.kill()
    begun.wait()
    call(notes, "resume", [*words, "--resume"], limit=60)


def steps(out: Path, sides: Sequence[int], backbones: Sequence[str], runtime: RuntimeConfig, rounds: int) -> None:
    """Time steps at full width: first as they are, and then compiled, which takes longer."""
    notes, base = Notes(out / "steps.jsonl"), small()
    with tempfile.TemporaryDirectory() as folder:
        packs = {
            side: prepare(synthetic_source(100, 4, 0), Path(folder) / f"faces{side}", size=side, progress=False)
            for side in sides
        }
        for compiling, (side, pack), backbone, batch in itertools.product(
            (False, True), packs.items(), backbones, (32, 256)
        ):
            game = replace(base.game, pixel=0.1, decoder_batch_size=batch // 2)
            network = replace(base.network, backbone=backbone, width=1.0, stem="full", cut="layer2")
            config = replace(base, network=network, game=game, batch_size=batch, runtime=runtime)
            about = {"backbone": backbone, "size": side, "batch": batch}
            try:
                figures = measure(pack, config, rounds, Path(folder) / "run", compiling=compiling)
            except Exception as error:  # the other settings are still worth their time
                figures = {"failed": f"{type(error).__name__}: {error}"[:2000]}
            notes.add(**about, **figures)


def whole(out: Path, faces: Path, judges: Sequence[Path], limit: float, steps: int) -> None:
    """Train control and recipe side by side, then audit both, side by side too; each is noted when it ends."""
    judged = [word for judge in judges for word in ("--verifier", judge)]
    shape = [word for name in ("width=1.0", "stem=full") for word in ("--set", f"network.{name}")]
    notes, until = Notes(out / "whole.jsonl"), time.monotonic() + limit

    def chain(name: str, *chosen: str) -> None:
        run, audit = out / name, out / f"audit-{name}"
        trained = command("protect", faces, "--cut", "layer2", *chosen, *shape, "--steps", steps, "--out", run)
        audited = command("audit", run, *judged, "--set", "brief=true", "--out", audit)
        for words in (trained, audited):
            if not call(notes, f"{words[3]} {name}", words, limit=max(1.0, until - time.monotonic())):
                break
        for part in sorted(audit.glob("parts/*.json")):  # of one that was cut off, the attackers that were done
            notes.add(name=f"{name}: {part.stem}", found=json.loads(part.read_text()))

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(chain, "control", "--defence", "none"), pool.submit(chain, "recipe")]:
            done.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="smoke, steps, whole; all by default")
    parser.add_argument("--out", type=Path, required=True, help="folder of what is found")
    parser.add_argument("--faces", type=Path, help="a pack, for `whole`")
    parser.add_argument("--verifier", type=Path, action="append", default=[], help="a judge; several times for several")
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"), help="cpu to try the script itself")
    parser.add_argument("--size", type=int, action="append", help="pixels a side, for `steps`; 64 and 128 by default")
    parser.add_argument("--backbone", action="append", help="for `steps`; resnet18 and resnet50 by default")
    parser.add_argument("--rounds", type=int, default=15, help="timed steps of each version")
    parser.add_argument("--train", type=int, default=3000, help="steps of control and recipe, for `whole`")
    parser.add_argument("--limit", type=float, default=420, help="seconds that `whole` may take")
    asked = parser.parse_args()
    parts = asked.parts or ["smoke", "steps", "whole"]
    asked.out.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONUNBUFFERED"] = "1"
    if "smoke" in parts:
        smoke(asked.out, asked.verifier)
    if "steps" in parts:
        steps(
            asked.out,
            asked.size or (64, 128),
            asked.backbone or ("resnet18", "resnet50"),
            RuntimeConfig(device=asked.device),
            asked.rounds,
        )
    if "whole" in parts:
        whole(asked.out, asked.faces, asked.verifier, asked.limit, asked.train)


if __name__ == "__main__":
    main()
