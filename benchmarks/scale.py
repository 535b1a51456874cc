"""Say whether an epoch's time grows with the number of pictures alone, and memory not at all.

Draws packs of several sizes, trains one epoch on each in a process of its own, and prints one JSON object: seconds an
epoch and a picture, and the peak of the memory that the process does not share with the disk's cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from oneway.data.packed import Pack
from oneway.data.prepare import prepare
from oneway.data.source import synthetic_source
from oneway.protection.config import small
from oneway.protection.recipes import prescribe
from oneway.protection.run import build
from oneway.protection.train import Training
from oneway.runtime import RuntimeConfig, launch
from oneway.storage import runs
from oneway.tasks.registry import task_of

SHOTS = 8


class Peak(threading.Thread):
    """Watches the anonymous memory of this process, in MB: what it has of files is the disk's cache."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.megabytes = 0.0

    def run(self) -> None:
        """Look fifty times a second."""
        while True:
            status = Path("/proc/self/status").read_text()
            now = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
            self.megabytes = max(self.megabytes, now / 1000)
            time.sleep(0.02)


def epoch(path: Path, width: float) -> dict[str, float]:
    """Train the unprotected encoder for one epoch of the private pictures."""
    peak = Peak()
    peak.start()
    pack = Pack.open(path)
    network = replace(small().network, width=width)
    config = prescribe(replace(small(), network=network, runtime=RuntimeConfig(device="cpu")), "none")
    steps = len(pack.private) // config.batch_size
    config = replace(config, steps=steps)
    protector = build(config, size=pack.size, num_logits=len(pack.attributes))
    with tempfile.TemporaryDirectory() as folder:
        training = Training(launch(config.runtime), pack, task_of(pack), config, protector, Path(folder))
        training.play()
        begun = time.perf_counter()
        while training.step < steps:
            training.play()
            training.step += 1
        seconds = time.perf_counter() - begun
    return {"pictures": len(pack.private), "seconds": seconds, "peak_mb": peak.megabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 20_000, 40_000, 80_000], help="pictures")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--width", type=float, default=0.125, help="factor on the channels")
    parser.add_argument("--rounds", type=int, default=2, help="epochs of each, in turn; the fastest counts")
    parser.add_argument("--epoch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.epoch is not None:
        print(json.dumps(epoch(arguments.epoch, arguments.width)))
        return
    with tempfile.TemporaryDirectory() as folder:
        packs = [Path(folder) / f"faces{count}" for count in arguments.counts]
        for count, path in zip(arguments.counts, packs, strict=True):
            prepare(synthetic_source(count // SHOTS, SHOTS, 0), path, size=arguments.size)
        rows: dict[str, dict[str, float]] = {}
        for _ in range(arguments.rounds):
            for path in packs:
                command = [sys.executable, __file__, "--epoch", str(path), "--width", str(arguments.width)]
                row = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                if path.name not in rows or row["seconds"] < rows[path.name]["seconds"]:
                    rows[path.name] = row
    for row in rows.values():
        row["microseconds_a_picture"] = round(1e6 * row["seconds"] / row["pictures"], 1)
        row["seconds"], row["peak_mb"] = round(row["seconds"], 2), round(row["peak_mb"], 1)
    print(json.dumps({"epochs": list(rows.values()), "machine": runs.provenance()["machine"]}))


if __name__ == "__main__":
    main()
