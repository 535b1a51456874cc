"""A headless Chromium, asked over a pipe by its own protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One tab, and all that it asked the network for."""

    def __init__(self, reading: int, writing: int) -> None:
        self._in, self._out, self._next = os.fdopen(reading, "rb"), os.fdopen(writing, "wb"), 0
        self._session: str | None = None
        self.requests: list[Any] = []
        self.said: list[Any] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "DOM"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **given: Any) -> Any:
        """Call a method and give what it returns; what happens meanwhile is kept."""
        self._next += 1
        call: Any = {"id": self._next, "method": method, "params": given}
        if self._session is not None:
            call["sessionId"] = self._session
        self._out.write(json.dumps(call).encode() + b"\0")
        self._out.flush()
        while True:
            message = json.loads(self._read())
            if message.get("id") == self._next:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"])
            elif message.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.said.append(message["params"])

    def _read(self) -> bytes:
        found = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "the browser ended"
            found += byte
        return bytes(found)

    def value(self, code: str) -> Any:
        """Give what a piece of JavaScript gives, awaited."""
        found = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, code: str, seconds: float = 180) -> Any:
        """Wait until a piece of JavaScript gives something true, and give that."""
        end = time.monotonic() + seconds
        while not (found := self.value(code)):
            assert time.monotonic() < end, (code, self.value("document.body.innerText"), self.said)
            time.sleep(0.1)
        return found


@contextmanager
def browser(folder: Path, *more: str) -> Iterator[Browser]:
    """Start Chromium with a profile in `folder`, and more flags."""
    assert CHROMIUM is not None
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe", *more]
    shell = f'exec "$@" 3<&{their_in} 4>&{their_out}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "chromium", CHROMIUM, *flags, f"--user-data-dir={folder}"],
        pass_fds=(their_in, their_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(their_in)
    os.close(their_out)
    try:
        yield Browser(our_in, our_out)
    finally:
        process.kill()
        process.wait()
