"""Say how many messages a server answers a second, how long the slowest wait, and whether its memory grows.

Starts `oneway serve` on a bundle, and asks it from so many clients at once over loopback, each one message after the
other. With --restart the server is killed halfway and started again, and every client asks again until it is answered.
Prints one JSON object: answers a second, milliseconds (median, 99 % and most), processor time that the server took for
an answer, resident memory after a tenth of the time and at the end, what was sent again, and how busy the machine was
with other work before.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oneway.shipping.contract import CONTRACT, read_contract


@dataclass
class Counted:
    """What the clients saw.

    Attributes:
        seconds: of every answer.
        refused: answers of another status than 200.
        repeated: messages that were sent again, since the connection broke.

    """

    seconds: list[float] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    repeated: int = 0


def start(bundle: Path, port: int, *options: str) -> subprocess.Popen[str]:
    """Start the server, and wait until it listens."""
    command = [sys.executable, "-u", "-m", "oneway", "serve", str(bundle), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    print(process.stdout.readline().strip(), file=sys.stderr)
    return process


async def ask(port: int, headers: str, messages: list[bytes], end: float, counted: Counted) -> None:
    """Send one message after the other until the time is over; a message is sent until it is answered."""
    reader = writer = None
    while time.monotonic() < end:
        body, identity, begun = messages[secrets.randbelow(len(messages))], secrets.token_hex(16), time.perf_counter()
        while True:
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(f"{headers}Oneway-Request: {identity}\r\n\r\n".encode() + body)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
                break
            except (OSError, asyncio.IncompleteReadError):
                reader = writer = None
                counted.repeated += 1
                await asyncio.sleep(0.1)
        status = int(head.split(" ", 2)[1])
        if status != 200:
            counted.refused.append(status)
        counted.seconds.append(time.perf_counter() - begun)
    if writer is not None:
        writer.close()


def resident(process: subprocess.Popen[str]) -> float:
    """Give the megabytes that a process holds in memory."""
    lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def worked(process: subprocess.Popen[str]) -> float:
    """Give the seconds that processors worked for a process, which other work on the machine hardly changes."""
    fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(bundle: Path, clients: int, seconds: float, restart: bool, *options: str) -> dict[str, object]:
    contract, counted = read_contract(bundle), Counted()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    random, top = np.random.default_rng(0), contract.quantisation.top
    levels = random.integers(-top, top + 1, (256, contract.numbers)).astype(np.int8)
    messages = [contract.quantisation.pack(row[None]).tobytes() for row in levels]
    headers = (
        "POST /decide HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {contract.num_bytes}\r\n"
        f"Oneway-Bundle: {hashlib.sha256((bundle / CONTRACT).read_bytes()).hexdigest()}\r\n"
    )
    process = start(bundle, port, *options)
    try:
        begun, load = time.monotonic(), os.getloadavg()[0]
        end = begun + seconds
        work = asyncio.gather(*[ask(port, headers, messages, end, counted) for _ in range(clients)])
        await asyncio.sleep(seconds / 10)
        first, begun_at, seen = resident(process), worked(process), len(counted.seconds)
        if restart:
            await asyncio.sleep(seconds * 0.4)
            process.kill()
            process.wait()
            process = await asyncio.to_thread(start, bundle, port, *options)
            begun_at, seen = worked(process), len(counted.seconds)
        await asyncio.sleep(max(0, end - time.monotonic() - 0.5))
        last, busy = resident(process), (worked(process) - begun_at) / max(1, len(counted.seconds) - seen)
        await work
        took = time.monotonic() - begun
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    times = np.array(counted.seconds) * 1000
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "bytes": contract.num_bytes,
        "columns": len(contract.columns),
        "answers_a_second": round(len(times) / took, 1),
        "decisions_a_second": round(len(times) * len(contract.columns) / took),
        "milliseconds": {
            name: round(float(np.percentile(times, at)), 1) for name, at in (("median", 50), ("p99", 99), ("most", 100))
        },
        "server_milliseconds": round(1000 * busy, 2),
        "memory_mb": [round(first, 1), round(last, 1)],
        "refused": {status: counted.refused.count(status) for status in set(counted.refused)},
        "sent_again": counted.repeated,
        "load_before": round(load, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--restart", action="store_true", help="kill the server halfway, and start it again")
    parser.epilog = "All else is given to the server, for instance --set remembered=1000."
    given, options = parser.parse_known_args()
    print(
        json.dumps(asyncio.run(measure(given.bundle, given.clients, given.seconds, given.restart, *options)), indent=1)
    )


if __name__ == "__main__":
    main()
